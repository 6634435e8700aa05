//! Taking the bytes of a granted upload.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::{Sha256Hex, UploadGrant, UploadRefusal};
use crate::{Error, ObjectWriter, Put, Store};

/// How an upload ended that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The object is new.
    Stored,
    /// It was there already with the same bytes, so sending it twice is sending it once.
    AlreadyThere,
}

/// Takes the bytes that a verified grant allows. Reads at most one chunk more than granted; the object is
/// visible only when length and hash are right, and nothing of it stays otherwise.
pub async fn receive<S, E>(
    store: &Store,
    grant: &UploadGrant,
    body: S,
) -> Result<Received, UploadRefusal>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync + 'static>> + Send,
{
    let put = if grant.create_only {
        Put::Create
    } else {
        Put::Overwrite
    };
    let mut writer = store
        .writer(&grant.key, put)
        .map_err(|error| stored(grant, error))?;
    if let Err(refusal) = copy_checked(&mut writer, grant, body).await {
        if let Err(error) = writer.abort().await {
            tracing::warn!(key = grant.key, error = %error, "refused upload could not be aborted");
        }
        return Err(refusal);
    }
    match writer.finish().await {
        Ok(_) => Ok(Received::Stored),
        Err(Error::Exists { .. }) => {
            let existing = hash_of(store, &grant.key).await;
            if existing.map_err(|error| stored(grant, error))? == grant.sha256 {
                Ok(Received::AlreadyThere)
            } else {
                Err(UploadRefusal::Exists {
                    key: grant.key.clone(),
                })
            }
        }
        Err(error) => Err(stored(grant, error)),
    }
}

async fn copy_checked<S, E>(
    writer: &mut ObjectWriter,
    grant: &UploadGrant,
    body: S,
) -> Result<(), UploadRefusal>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync + 'static>> + Send,
{
    let key = || grant.key.clone();
    let mut hasher = Sha256::new();
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| UploadRefusal::BrokenOff {
            key: key(),
            source: error.into(),
        })?;
        if writer.written() + chunk.len() as u64 > grant.size {
            return Err(UploadRefusal::TooLong {
                key: key(),
                granted: grant.size,
            });
        }
        hasher.update(&chunk);
        writer
            .write(&chunk)
            .await
            .map_err(|error| stored(grant, error))?;
    }
    if writer.written() < grant.size {
        return Err(UploadRefusal::TooShort {
            key: key(),
            granted: grant.size,
            received: writer.written(),
        });
    }
    let received = Sha256Hex::of(hasher);
    if received != grant.sha256 {
        return Err(UploadRefusal::OtherContent {
            key: key(),
            granted: grant.sha256.clone(),
            received,
        });
    }
    Ok(())
}

pub(super) async fn hash_of(store: &Store, key: &str) -> Result<Sha256Hex, Error> {
    let (_, mut stream) = store.get_stream(key).await?;
    let mut hasher = Sha256::new();
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(Sha256Hex::of(hasher))
}

fn stored(grant: &UploadGrant, source: Error) -> UploadRefusal {
    UploadRefusal::Store {
        key: grant.key.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn grant_of(content: &[u8]) -> UploadGrant {
        UploadGrant {
            key: "scratch/img/b1/m1/Images/a#1.png".to_owned(),
            size: content.len() as u64,
            sha256: Sha256Hex::of(Sha256::new_with_prefix(content)),
            content_type: "image/png".to_owned(),
            expires: chrono::DateTime::<chrono::Utc>::MAX_UTC,
            create_only: true,
        }
    }

    fn body(content: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let chunks: Vec<_> = content
            .chunks(1000)
            .map(Bytes::copy_from_slice)
            .map(Ok)
            .collect();
        stream::iter(chunks)
    }

    #[tokio::test]
    async fn the_granted_bytes_are_stored_once_and_for_all() {
        let folder = tempfile::tempdir().unwrap();
        for store in [
            Store::memory(),
            Store::open_folder(folder.path()).await.unwrap(),
        ] {
            // Above one part, so that it is staged rather than held in memory.
            for length in [0, 5000, 20 << 20] {
                let content = vec![42; length];
                let grant = UploadGrant {
                    key: format!("up/{length}"),
                    ..grant_of(&content)
                };
                let first = receive(&store, &grant, body(&content)).await.unwrap();
                assert_eq!(first, Received::Stored);
                let again = receive(&store, &grant, body(&content)).await.unwrap();
                assert_eq!(again, Received::AlreadyThere);
                assert!(store.get_bytes(&grant.key).await.unwrap() == content);

                let other = vec![43; length + 1];
                let grant = UploadGrant {
                    key: grant.key,
                    ..grant_of(&other)
                };
                let refused = receive(&store, &grant, body(&other)).await;
                assert!(
                    matches!(refused, Err(UploadRefusal::Exists { .. })),
                    "{refused:?}"
                );
                assert!(store.get_bytes(&grant.key).await.unwrap() == content);
            }
        }
    }

    #[tokio::test]
    async fn anything_but_the_granted_bytes_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path()).await.unwrap();
        let content = vec![42; 9 << 20];
        let grant = grant_of(&content);

        let longer = receive(&store, &grant, body(&[&content[..], b"x"].concat())).await;
        assert!(
            matches!(longer, Err(UploadRefusal::TooLong { .. })),
            "{longer:?}"
        );
        let shorter = receive(&store, &grant, body(&content[1..])).await;
        assert!(
            matches!(shorter, Err(UploadRefusal::TooShort { .. })),
            "{shorter:?}"
        );
        let other = receive(&store, &grant, body(&vec![41; 9 << 20])).await;
        assert!(
            matches!(other, Err(UploadRefusal::OtherContent { .. })),
            "{other:?}"
        );
        let half: Vec<Result<Bytes, &str>> = vec![Ok(content.clone().into()), Err("reset")];
        let broken = receive(&store, &grant, stream::iter(half)).await;
        assert!(
            matches!(broken, Err(UploadRefusal::BrokenOff { .. })),
            "{broken:?}"
        );

        assert_eq!(store.head(&grant.key).await.unwrap(), None);
        let staged = std::fs::read_dir(folder.path().join(".cellmill/tmp"))
            .unwrap()
            .count();
        assert_eq!(staged, 0);
    }

    /// An endless body must not be read to its end.
    #[tokio::test]
    async fn an_endless_upload_is_stopped_at_the_granted_size() {
        let store = Store::memory();
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 100])));
        let refused = receive(&store, &grant_of(&[1; 250]), endless).await;
        assert!(
            matches!(refused, Err(UploadRefusal::TooLong { granted: 250, .. })),
            "{refused:?}"
        );
    }
}
