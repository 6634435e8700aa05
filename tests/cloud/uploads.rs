//! Signed uploads against S3 itself, which is an emulator that checks signatures.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::uploads::UploadSession;
use cellmill_store::presign::S3Uploads;
use cellmill_store::uploads::{
    Download, NewSession, PartUploads as _, Received, Sessions, Sha256Hex, SignDownloads as _,
    SignUploads as _, SignedUpload, UploadGrant, UploadRefusal,
};
use cellmill_store::{Store, s3};
use chrono::{TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

/// The least part of S3.
const PART: usize = 5 << 20;

struct Home {
    store: Store,
    uploads: S3Uploads,
    sessions: Sessions,
    bucket: String,
    http: reqwest::Client,
}

/// A fresh bucket of the emulator.
async fn home() -> Home {
    super::check_endpoint();
    let bucket = super::fresh_name("uploads");
    s3::create_bucket(&bucket)
        .await
        .expect("the bucket is made");
    let store = Store::open(&format!("s3://{bucket}"))
        .await
        .expect("the bucket opens");
    let uploads = S3Uploads::open(&bucket).await.expect("uploads are signed");
    let sessions = Sessions {
        store: store.clone(),
        home: Arc::new(uploads.clone()),
    };
    Home {
        store,
        uploads,
        sessions,
        bucket,
        http: reqwest::Client::new(),
    }
}

/// What looks at a bucket from beside.
pub(crate) async fn admin() -> aws_sdk_s3::Client {
    let shared = cellmill_aws::load().await;
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

fn hash_of(bytes: &[u8]) -> Sha256Hex {
    Sha256Hex::of(Sha256::new_with_prefix(bytes))
}

fn grant(bytes: &[u8]) -> UploadGrant {
    UploadGrant {
        key: "scratch/img/b1/m1/Images/%E7%97%85 a+b#1.png".to_owned(),
        size: bytes.len() as u64,
        sha256: hash_of(bytes),
        content_type: "image/png".to_owned(),
        expires: Utc::now() + TimeDelta::minutes(15),
        create_only: true,
    }
}

impl Home {
    /// Sends bytes as a grant says; gives status and S3's code.
    async fn send(&self, signed: &SignedUpload, bytes: &[u8]) -> (u16, String) {
        let method = signed.method.parse().unwrap();
        let mut request = self.http.request(method, &signed.url);
        for (name, value) in &signed.headers {
            if name != "content-length" {
                request = request.header(name, value);
            }
        }
        // A stream of known length, as large files are sent.
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
            bytes.chunks(64 << 10).map(|it| Ok(it.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let request = request.header("content-length", bytes.len()).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map_or_else(String::new, |(code, _)| code.to_owned());
        (status, code)
    }

    async fn put(&self, grant: &UploadGrant, bytes: &[u8]) -> (u16, String) {
        let signed = self.uploads.sign(grant).await.unwrap();
        self.send(&signed, bytes).await
    }

    async fn send_part(&self, session: &UploadSession, number: u32, bytes: &[u8]) -> u16 {
        let wanted = [(number, hash_of(bytes))];
        let expires = Utc::now() + TimeDelta::minutes(15);
        let signed = self.sessions.sign(&session.id(), &wanted, expires).await;
        self.send(&signed.unwrap()[0], bytes).await.0
    }

    async fn exists(&self, key: &str) -> bool {
        self.store.head(key).await.unwrap().is_some()
    }
}

fn with_header(signed: &SignedUpload, name: &str, value: Option<&str>) -> SignedUpload {
    let mut changed = signed.clone();
    let n_before = changed.headers.len();
    changed.headers.retain(|(it, _)| it != name);
    assert!(
        changed.headers.len() < n_before,
        "{name} is no header of it"
    );
    changed
        .headers
        .extend(value.map(|it| (name.to_owned(), it.to_owned())));
    changed
}

#[tokio::test]
async fn a_signed_put_is_taken_once_and_declares_its_hash() {
    let home = home().await;
    let bytes = b"the granted bytes";
    let grant = grant(bytes);
    assert_eq!(home.put(&grant, bytes).await.0, 200);
    let object = home.store.get(&grant.key).await.unwrap();
    assert_eq!(&object.bytes[..], bytes);
    assert_eq!(
        object.head.declared_sha256.as_deref(),
        Some(grant.sha256.as_str())
    );
    let again = home.put(&grant, bytes).await;
    assert_eq!(again, (412, "PreconditionFailed".to_owned()));
    let replacing = UploadGrant {
        create_only: false,
        sha256: hash_of(b"other"),
        size: 5,
        ..grant.clone()
    };
    assert_eq!(home.put(&replacing, b"other").await.0, 200);
    assert_eq!(home.store.get_bytes(&grant.key).await.unwrap(), "other");
}

#[tokio::test]
async fn anything_but_the_granted_put_is_refused() {
    let home = home().await;
    let bytes = b"the granted bytes";
    let grant = grant(bytes);
    let signed = home.uploads.sign(&grant).await.unwrap();
    let longer = home.send(&signed, b"the granted bytes and more").await;
    assert_eq!(longer.0, 403, "{longer:?}");
    let shorter = home.send(&signed, b"the granted").await;
    assert_eq!(shorter.0, 403, "{shorter:?}");
    let other = home.send(&signed, b"quite other bytes").await;
    assert_eq!(other.0, 400, "{other:?}");

    let other_hash = hash_of(b"quite other bytes").to_base64();
    let changes = [
        ("content-type", Some("text/html")),
        ("x-amz-checksum-sha256", Some(&*other_hash)),
        ("x-amz-checksum-sha256", None),
        ("x-amz-meta-sha256", Some("00")),
        ("if-none-match", None),
    ];
    for (name, value) in changes {
        let changed = with_header(&signed, name, value);
        let refused = home.send(&changed, bytes).await;
        assert_eq!(refused.0, 403, "{name}: {value:?}: {refused:?}");
    }
    let changes = [
        ("Images/", "Images/x"),
        ("X-Amz-Expires=", "X-Amz-Expires=1"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ];
    for (from, to) in changes {
        let changed = SignedUpload {
            url: signed.url.replacen(from, to, 1),
            ..signed.clone()
        };
        assert_ne!(changed.url, signed.url);
        let refused = home.send(&changed, bytes).await;
        assert_eq!(refused.0, 403, "{to}: {refused:?}");
    }
    let late = UploadGrant {
        expires: Utc::now() - TimeDelta::seconds(3),
        ..grant.clone()
    };
    let refused = home.put(&late, bytes).await;
    assert_eq!(refused.0, 403, "{refused:?}");
    assert!(!home.exists(&grant.key).await);
    assert_eq!(home.send(&signed, bytes).await.0, 200, "as it was signed");
}

fn wish(bytes: &[u8]) -> NewSession {
    NewSession {
        key: "img/b1/c1/Images/large.tif".to_owned(),
        bytes: bytes.len() as u64,
        sha256: hash_of(bytes),
        content_type: "image/tiff".to_owned(),
        part_bytes: PART as u64,
        create_only: true,
        by: "test".to_owned(),
    }
}

fn large(shade: u8) -> Vec<u8> {
    let mut bytes = vec![shade; 2 * PART + 1000];
    for (at, piece) in bytes.chunks_mut(PART).enumerate() {
        piece[0] = at as u8;
    }
    bytes
}

#[tokio::test]
async fn a_large_file_resumes_where_it_broke_off() {
    let home = home().await;
    let bytes = large(7);
    let wish = wish(&bytes);
    let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
    let session = home.sessions.open(&wish).await.unwrap();
    assert_eq!(session.n_parts(), 3);
    assert_eq!(home.send_part(&session, 3, parts[2]).await, 200);
    assert_eq!(home.send_part(&session, 1, parts[0]).await, 200);

    // A part in the place of another, and bytes in the place of others.
    let expires = Utc::now() + TimeDelta::minutes(15);
    let second = [(2, hash_of(parts[1]))];
    let signed = home.sessions.sign(&session.id(), &second, expires).await;
    let signed = signed.unwrap().remove(0);
    assert_eq!(home.send(&signed, parts[0]).await.0, 400, "other bytes");
    assert_eq!(home.send(&signed, b"short").await.0, 403, "another length");
    let as_third = SignedUpload {
        url: signed.url.replace("partNumber=2", "partNumber=3"),
        ..signed.clone()
    };
    assert_ne!(as_third.url, signed.url);
    assert_eq!(home.send(&as_third, parts[1]).await.0, 403);

    // Completing too early costs nothing.
    let early = home.sessions.complete(&session.id()).await;
    assert!(
        matches!(
            early,
            Err(UploadRefusal::PartsMissing {
                n_missing: 1,
                first: 2,
                ..
            })
        ),
        "{early:?}"
    );
    assert!(!home.exists(&wish.key).await);

    let again = home.sessions.open(&wish).await.unwrap();
    assert_eq!(again, session, "another process finds the same session");
    let (_, there) = home.sessions.find(&session.id()).await.unwrap();
    let shown: Vec<_> = there.iter().map(|it| (it.number, it.bytes)).collect();
    assert_eq!(shown, [(1, PART as u64), (3, 1000)]);
    assert_eq!(there[0].sha256.as_ref(), Some(&hash_of(parts[0])));
    assert_eq!(home.send(&signed, parts[1]).await.0, 200);

    let (done, received) = home.sessions.complete(&session.id()).await.unwrap();
    assert_eq!(received, Received::Stored);
    assert!(done.stored_at.is_some());
    let (_, received) = home.sessions.complete(&session.id()).await.unwrap();
    assert_eq!(received, Received::AlreadyThere);
    let object = home.store.get(&wish.key).await.unwrap();
    assert!(object.bytes == bytes);
    assert_eq!(
        object.head.declared_sha256.as_deref(),
        Some(wish.sha256.as_str())
    );
}

/// The answer of a completion was lost before the session could be marked.
#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_the_same_success() {
    let home = home().await;
    let bytes = large(8);
    let session = home.sessions.open(&wish(&bytes)).await.unwrap();
    for (part, number) in bytes.chunks(PART).zip(1..) {
        assert_eq!(home.send_part(&session, number, part).await, 200);
    }
    let (_, parts) = home.sessions.find(&session.id()).await.unwrap();
    home.uploads.assemble(&session, &parts).await.unwrap();
    let (_, received) = home.sessions.complete(&session.id()).await.unwrap();
    assert_eq!(received, Received::AlreadyThere);

    let other = large(9);
    let session = home.sessions.open(&wish(&other)).await.unwrap();
    for (part, number) in other.chunks(PART).zip(1..) {
        assert_eq!(home.send_part(&session, number, part).await, 200);
    }
    let refused = home.sessions.complete(&session.id()).await;
    assert!(
        matches!(refused, Err(UploadRefusal::Exists { .. })),
        "an image is never replaced: {refused:?}"
    );
    let kept = home.store.get_bytes(&session.key).await.unwrap();
    assert!(kept == bytes);
}

#[tokio::test]
async fn an_upload_that_s3_forgot_begins_again_under_the_same_session() {
    let home = home().await;
    let bytes = large(7);
    let wish = wish(&bytes);
    let at_once = futures::future::join_all((0..4).map(|_| home.sessions.open(&wish))).await;
    let session = home.sessions.open(&wish).await.unwrap();
    for other in at_once {
        assert_eq!(other.unwrap().storage_id, session.storage_id);
    }
    let admin = admin().await;
    let open = admin.list_multipart_uploads().bucket(&home.bucket);
    let open = open.send().await.unwrap();
    assert_eq!(open.uploads().len(), 1, "the others were given back");

    home.uploads.discard(&session).await.unwrap();
    let gone = home.sessions.complete(&session.id()).await;
    assert!(
        matches!(gone, Err(UploadRefusal::Forgotten { .. })),
        "{gone:?}"
    );
    let (_, parts) = home.sessions.find(&session.id()).await.unwrap();
    assert!(parts.is_empty());
    let again = home.sessions.open(&wish).await.unwrap();
    assert_eq!(again.id(), session.id());
    assert_ne!(again.storage_id, session.storage_id);
    assert_eq!(home.send_part(&again, 3, &bytes[2 * PART..]).await, 200);

    home.sessions.give_up(&again.id()).await.unwrap();
    home.sessions.give_up(&again.id()).await.unwrap();
    let gone = home.sessions.find(&again.id()).await;
    assert!(
        matches!(gone, Err(UploadRefusal::NoSession { .. })),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_signed_read_says_what_the_bytes_are() {
    let home = home().await;
    let bytes = b"<html>";
    let grant = grant(bytes);
    assert_eq!(home.put(&grant, bytes).await.0, 200);
    let download = Download {
        key: grant.key.clone(),
        content_type: "application/octet-stream".to_owned(),
        is_attachment: true,
        ttl: Duration::from_mins(1),
    };
    let url = home.uploads.downloads().sign(&download).await.unwrap();
    let answer = home.http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.headers()["content-disposition"], "attachment");
    assert_eq!(&answer.bytes().await.unwrap()[..], bytes);
    let changed = url.replace("attachment", "inline");
    assert_ne!(changed, url);
    let refused = home.http.get(&changed).send().await.unwrap();
    assert_eq!(refused.status(), 403);
}
