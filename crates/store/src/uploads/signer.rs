//! Tokens that carry a grant and cannot be changed.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngCore as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use super::{PartGrant, UploadGrant, UploadRefusal};
use crate::{Error, Store};

const SECRET_BYTES: usize = 32;

/// Say what is signed, so that the same secret can sign other things without one passing for the other.
const WHOLE: &[u8] = b"cellmill upload grant 1\n";
const PART: &[u8] = b"cellmill upload part grant 1\n";

/// Signs and verifies grants with a secret that every process of the home shares.
#[derive(Clone)]
pub struct Signer {
    secret: Arc<[u8; SECRET_BYTES]>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// The signer of a home: a folder keeps its secret under `.cellmill/secret`, made by whoever comes first;
    /// any other has a new one, good while the process lives.
    pub async fn of_home(store: &Store) -> Result<Self, Error> {
        let Some(root) = store.root() else {
            return Ok(Self::with_secret(fresh_secret()));
        };
        let own = root.join(".cellmill");
        let opened = tokio::task::spawn_blocking(move || open_secret(&own)).await;
        match opened.map_err(io::Error::from).flatten() {
            Ok(secret) => Ok(Self::with_secret(secret)),
            Err(source) => Err(Error::Open {
                url: root.join(".cellmill/secret").display().to_string(),
                source: source.into(),
            }),
        }
    }

    /// A signer with a given secret.
    pub fn with_secret(secret: [u8; SECRET_BYTES]) -> Self {
        Self {
            secret: Arc::new(secret),
        }
    }

    /// The token of a grant: its JSON and the signature of that, both base64url, with a dot between them.
    pub fn sign(&self, grant: &UploadGrant) -> String {
        self.token(WHOLE, grant)
    }

    /// The grant of a token, if it was signed here and is still good at `now`. Takes the same time wherever
    /// a wrong signature differs.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<UploadGrant, UploadRefusal> {
        let grant: UploadGrant = self.read(WHOLE, token)?;
        check_expiry(now, grant.expires, &grant.key)?;
        Ok(grant)
    }

    /// As [`sign`](Self::sign), for one part of a file.
    pub fn sign_part(&self, grant: &PartGrant) -> String {
        self.token(PART, grant)
    }

    /// As [`verify`](Self::verify), for one part of a file.
    pub fn verify_part(&self, token: &str, now: DateTime<Utc>) -> Result<PartGrant, UploadRefusal> {
        let grant: PartGrant = self.read(PART, token)?;
        check_expiry(now, grant.expires, &grant.key)?;
        Ok(grant)
    }

    fn token(&self, purpose: &[u8], grant: &impl Serialize) -> String {
        let json = serde_json::to_vec(grant).expect("a grant is plain text and numbers");
        let payload = BASE64_URL_SAFE_NO_PAD.encode(json);
        let signature = self.mac(purpose, &payload).finalize().into_bytes();
        format!("{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn read<G: DeserializeOwned>(&self, purpose: &[u8], token: &str) -> Result<G, UploadRefusal> {
        let malformed = || UploadRefusal::Malformed;
        let (payload, signature) = token.split_once('.').ok_or_else(malformed)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| malformed())?;
        self.mac(purpose, payload)
            .verify_slice(&signature)
            .map_err(|_| UploadRefusal::BadSignature)?;
        let json = BASE64_URL_SAFE_NO_PAD.decode(payload);
        serde_json::from_slice(&json.map_err(|_| malformed())?).map_err(|_| malformed())
    }

    fn mac(&self, purpose: &[u8], payload: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&*self.secret).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.update(payload.as_bytes());
        mac
    }
}

fn check_expiry(
    now: DateTime<Utc>,
    expires: DateTime<Utc>,
    key: &str,
) -> Result<(), UploadRefusal> {
    if now < expires {
        return Ok(());
    }
    Err(UploadRefusal::Expired {
        key: key.to_owned(),
        expired: expires,
    })
}

fn fresh_secret() -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut secret);
    secret
}

/// Reads the secret in the folder `own`, or makes it: written whole under another name, readable by the owner
/// only, then linked, so that of two processes that start together both end with the same one.
fn open_secret(own: &FsPath) -> io::Result<[u8; SECRET_BYTES]> {
    let path = own.join("secret");
    match read_secret(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    let staged = own.join("tmp").join(ulid::Ulid::generate().to_string());
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(&fresh_secret())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&staged, &path);
    std::fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read_secret(&path),
    }
}

fn read_secret(path: &FsPath) -> io::Result<[u8; SECRET_BYTES]> {
    let mut bytes = Vec::with_capacity(SECRET_BYTES);
    File::open(path)?
        .take(SECRET_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|bytes: Vec<u8>| {
        let message = format!(
            "the secret is {} bytes long, not {SECRET_BYTES}",
            bytes.len()
        );
        io::Error::new(ErrorKind::InvalidData, message)
    })
}

/// A request that stores the granted bytes when it is sent as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUpload {
    /// The HTTP method.
    pub method: String,
    /// Where to send it.
    pub url: String,
    /// Headers that must be sent, or the storage refuses.
    pub headers: Vec<(String, String)>,
    /// Until when.
    pub expires: DateTime<Utc>,
}

/// Turns grants into requests: by our own api, or presigned by a bucket.
#[async_trait]
pub trait SignUploads: Send + Sync + std::fmt::Debug {
    /// Signs a grant. The caller has checked that whoever asks may upload there.
    async fn sign(&self, grant: &UploadGrant) -> Result<SignedUpload, Error>;
}

/// Signed uploads that our own api takes at `<endpoint>/<token>`.
#[derive(Clone, Debug)]
pub struct ApiUploads {
    /// Signs.
    pub signer: Signer,
    /// The URL (or path) below which the api takes uploads, without a slash at the end.
    pub endpoint: String,
}

#[async_trait]
impl SignUploads for ApiUploads {
    async fn sign(&self, grant: &UploadGrant) -> Result<SignedUpload, Error> {
        Ok(SignedUpload {
            method: "PUT".to_owned(),
            url: format!("{}/{}", self.endpoint, self.signer.sign(grant)),
            headers: vec![
                ("content-type".to_owned(), grant.content_type.clone()),
                ("content-length".to_owned(), grant.size.to_string()),
            ],
            expires: grant.expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::uploads::Sha256Hex;

    fn grant() -> UploadGrant {
        UploadGrant {
            key: "scratch/img/b1/m1/Images/病例 1.png".to_owned(),
            size: 3,
            sha256: Sha256Hex::parse(&"ab".repeat(32)).unwrap(),
            content_type: "image/png".to_owned(),
            expires: "2026-08-21T10:15:00Z".parse().unwrap(),
            create_only: true,
        }
    }

    fn before() -> DateTime<Utc> {
        "2026-08-21T10:14:59Z".parse().unwrap()
    }

    #[test]
    fn a_token_gives_its_grant_back_until_it_expires() {
        let signer = Signer::with_secret([7; 32]);
        let token = signer.sign(&grant());
        assert_eq!(signer.verify(&token, before()).unwrap(), grant());
        let late = signer.verify(&token, grant().expires);
        assert!(
            matches!(late, Err(UploadRefusal::Expired { .. })),
            "{late:?}"
        );
    }

    #[test]
    fn a_changed_or_foreign_token_is_refused() {
        let signer = Signer::with_secret([7; 32]);
        let token = signer.sign(&grant());
        let foreign = Signer::with_secret([8; 32]).sign(&grant());
        let bigger = UploadGrant { size: 4, ..grant() };
        let (payload, _) = token.split_once('.').unwrap();
        let (_, signature) = token.split_once('.').unwrap();
        let (bigger, _) = signer
            .sign(&bigger)
            .split_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        for forged in [
            foreign,
            format!("{bigger}.{signature}"),
            format!("{payload}."),
        ] {
            let refused = signer.verify(&forged, before());
            assert!(
                matches!(refused, Err(UploadRefusal::BadSignature)),
                "{refused:?}"
            );
        }
        for garbage in ["", "abc", "a b.c d", "\u{e9}.\u{e9}"] {
            let refused = signer.verify(garbage, before());
            assert!(
                matches!(refused, Err(UploadRefusal::Malformed)),
                "{garbage}: {refused:?}"
            );
        }
    }

    /// The same secret signs both, and a part would let its holder write anywhere.
    #[test]
    fn a_part_is_no_whole_and_a_whole_no_part() {
        let signer = Signer::with_secret([7; 32]);
        let part = PartGrant {
            upload: cellmill_core::uploads::session_id("k", 3, "00"),
            key: grant().key,
            number: 1,
            size: 3,
            sha256: grant().sha256,
            expires: grant().expires,
        };
        let token = signer.sign_part(&part);
        assert_eq!(signer.verify_part(&token, before()).unwrap(), part);
        let late = signer.verify_part(&token, part.expires);
        assert!(
            matches!(late, Err(UploadRefusal::Expired { .. })),
            "{late:?}"
        );
        let crossed = signer.verify(&token, before());
        assert!(
            matches!(crossed, Err(UploadRefusal::BadSignature)),
            "{crossed:?}"
        );
        let crossed = signer.verify_part(&signer.sign(&grant()), before());
        assert!(
            matches!(crossed, Err(UploadRefusal::BadSignature)),
            "{crossed:?}"
        );
    }

    #[tokio::test]
    async fn every_process_of_a_folder_shares_one_secret_that_only_the_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path()).await.unwrap();
        let opened = (0..16).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { Signer::of_home(&store).await.unwrap().sign(&grant()) })
        });
        let tokens: Vec<_> = futures::future::join_all(opened).await;
        let first = tokens[0].as_ref().unwrap();
        assert!(tokens.iter().all(|token| token.as_ref().unwrap() == first));
        let mode = std::fs::metadata(folder.path().join(".cellmill/secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        std::fs::write(folder.path().join(".cellmill/secret"), "short").unwrap();
        assert!(Signer::of_home(&store).await.is_err());
    }

    #[tokio::test]
    async fn a_signed_upload_binds_type_and_length() {
        let uploads = ApiUploads {
            signer: Signer::with_secret([7; 32]),
            endpoint: "/api/uploads".to_owned(),
        };
        let signed = uploads.sign(&grant()).await.unwrap();
        let token = signed.url.strip_prefix("/api/uploads/").unwrap();
        assert_eq!(uploads.signer.verify(token, before()).unwrap(), grant());
        assert!(
            signed
                .headers
                .contains(&("content-length".to_owned(), "3".to_owned()))
        );
    }
}
