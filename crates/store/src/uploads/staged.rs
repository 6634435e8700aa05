//! Parts in homes that keep none themselves: memory and folder.
//!
//! A part is an object of its own, `uploads/<session>/<nnnnn>-<sha256>`, so it appears whole or not at all, survives
//! `kill -9`, and says in its name what it holds. (A staged file under `.cellmill/tmp` would be nobody's after a
//! crash, and is swept a day later.) A part that was sent twice with different bytes is there twice; the later counts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use cellmill_core::ids::UlidText;
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::uploads::UploadSession;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::{
    PartGrant, PartUploads, Received, Sha256Hex, SignedUpload, Signer, StoredPart, UploadGrant,
    UploadRefusal, WantedPart, receive,
};
use crate::{Error, Store};

/// Parts that our own api takes at `<endpoint>/<token>` and keeps in the store itself.
#[derive(Clone, Debug)]
pub struct StagedParts {
    /// Where they are kept.
    pub store: Store,
    /// Signs.
    pub signer: Signer,
    /// The URL (or path) below which the api takes parts, without a slash at the end.
    pub endpoint: String,
}

/// Takes the bytes that a verified grant allows, as [`receive`] does for a whole file. Sending a part again is
/// sending it once.
pub async fn receive_part<S, E>(
    store: &Store,
    grant: &PartGrant,
    body: S,
) -> Result<Received, UploadRefusal>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync + 'static>> + Send,
{
    let failed = |source| UploadRefusal::Store {
        key: grant.key.clone(),
        source,
    };
    let session = ObjectKey::Upload(grant.upload.clone());
    let session = store.read::<UploadSession>(&session).await;
    match session.map_err(failed)?.map(|it| it.value) {
        None => {
            return Err(UploadRefusal::NoSession {
                id: grant.upload.to_string(),
            });
        }
        Some(session) if session.stored_at.is_some() => {
            return Err(UploadRefusal::Complete { key: session.key });
        }
        Some(_) => {}
    }
    let part = ObjectKey::UploadPart {
        upload: grant.upload.clone(),
        number: grant.number,
        sha256: grant.sha256.to_string(),
    };
    let whole = UploadGrant {
        key: part.to_path(),
        size: grant.size,
        sha256: grant.sha256.clone(),
        content_type: String::new(),
        expires: grant.expires,
        // Written again it is the latest again, whatever other bytes came as this part meanwhile.
        create_only: false,
    };
    receive(store, &whole, body).await
}

#[async_trait]
impl PartUploads for StagedParts {
    async fn begin(&self, _session: &UploadSession) -> Result<Option<String>, Error> {
        Ok(None)
    }

    async fn sign_part(
        &self,
        session: &UploadSession,
        part: &WantedPart,
    ) -> Result<SignedUpload, Error> {
        let grant = PartGrant {
            upload: session.id(),
            key: session.key.clone(),
            number: part.number,
            size: part.bytes,
            sha256: part.sha256.clone(),
            expires: part.expires,
        };
        Ok(SignedUpload {
            method: "PUT".to_owned(),
            url: format!("{}/{}", self.endpoint, self.signer.sign_part(&grant)),
            headers: vec![("content-length".to_owned(), part.bytes.to_string())],
            expires: part.expires,
        })
    }

    async fn parts(&self, session: &UploadSession) -> Result<Option<Vec<StoredPart>>, Error> {
        let mut listed = self.store.list(&folder(&session.id()));
        let mut latest: BTreeMap<u32, (DateTime<Utc>, StoredPart)> = BTreeMap::new();
        while let Some(object) = listed.try_next().await? {
            let Ok(Some(ObjectKey::UploadPart { number, sha256, .. })) =
                ObjectKey::parse(&object.key)
            else {
                continue;
            };
            let is_older = latest
                .get(&number)
                .is_some_and(|(at, _)| *at > object.last_modified);
            if is_older {
                continue;
            }
            let part = StoredPart {
                number,
                bytes: object.size,
                sha256: Sha256Hex::parse(&sha256).ok(),
                tag: object.key,
            };
            latest.insert(number, (object.last_modified, part));
        }
        Ok(Some(latest.into_values().map(|(_, part)| part).collect()))
    }

    async fn assemble(
        &self,
        session: &UploadSession,
        parts: &[StoredPart],
    ) -> Result<Received, UploadRefusal> {
        let sha256 = Sha256Hex::parse(&session.sha256).map_err(|source| UploadRefusal::Store {
            key: session.key.clone(),
            source: Error::unusable(&session.key, source),
        })?;
        let grant = UploadGrant {
            key: session.key.clone(),
            size: session.bytes,
            sha256,
            content_type: session.content_type.clone(),
            expires: DateTime::<Utc>::MAX_UTC,
            create_only: session.create_only,
        };
        let keys: Vec<String> = parts.iter().map(|it| it.tag.clone()).collect();
        let body = content(self.store.clone(), keys);
        match receive(&self.store, &grant, body).await {
            // Here the sender is our own store.
            Err(UploadRefusal::BrokenOff { key, source }) => Err(match source.downcast() {
                Ok(source) => UploadRefusal::Store {
                    key,
                    source: *source,
                },
                Err(source) => UploadRefusal::BrokenOff { key, source },
            }),
            received => received,
        }
    }

    async fn discard(&self, session: &UploadSession) -> Result<(), Error> {
        let prefix = folder(&session.id());
        let keys: Vec<String> = self
            .store
            .list(&prefix)
            .map_ok(|it| it.key)
            .try_collect()
            .await?;
        for key in keys {
            self.store.delete(&key).await?;
        }
        Ok(())
    }
}

fn folder(upload: &UlidText) -> String {
    Prefix::UploadParts(upload.clone()).to_path()
}

/// The bytes of some objects, one after the other.
fn content(store: Store, keys: Vec<String>) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::iter(keys)
        .then(move |key| {
            let store = store.clone();
            async move { Ok::<_, Error>(store.get_stream(&key).await?.1) }
        })
        .try_flatten()
        .boxed()
}
