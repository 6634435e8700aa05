//! Sessions: the documents by which a large file is sent in parts, whoever sends it and however often they are killed.

use std::sync::Arc;

use cellmill_core::document::Stamp;
use cellmill_core::ids::UlidText;
use cellmill_core::keys::ObjectKey;
use cellmill_core::uploads::{UploadSession, part_bytes, session_id};
use chrono::{DateTime, Utc};

use super::receive::hash_of;
use super::{
    PartUploads, Received, Sha256Hex, SignedUpload, StoredPart, UploadRefusal, WantedPart,
};
use crate::{Decision, Error, Store};

/// A file that somebody wants to send in parts. The caller has checked that they may, and that the key is one
/// for uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The key under which the object will be.
    pub key: String,
    /// Its exact length in bytes.
    pub bytes: u64,
    /// Of its whole content.
    pub sha256: Sha256Hex,
    /// What it is.
    pub content_type: String,
    /// The least length of a part; it grows where there would be too many.
    pub part_bytes: u64,
    /// Whether an object that is there stays.
    pub create_only: bool,
    /// Who asks.
    pub by: String,
}

/// The uploads in parts of one home.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Keeps the documents.
    pub store: Store,
    /// Keeps the parts.
    pub home: Arc<dyn PartUploads>,
}

impl Sessions {
    /// The session of a file: the one that is open, or a new one. Parts that are there stay there.
    pub async fn open(&self, wish: &NewSession) -> Result<UploadSession, Error> {
        let id = session_id(&wish.key, wish.bytes, wish.sha256.as_str());
        let known = self.read(&id).await?;
        if let Some(known) = &known
            && known.stored_at.is_none()
            && self.home.parts(known).await?.is_some()
        {
            return self.agreed(known, wish).await;
        }
        let mut fresh = UploadSession {
            stamp: Stamp::default(),
            key: wish.key.clone(),
            bytes: wish.bytes,
            sha256: wish.sha256.to_string(),
            content_type: wish.content_type.clone(),
            part_bytes: part_bytes(wish.bytes, wish.part_bytes),
            create_only: wish.create_only,
            by: wish.by.clone(),
            at: self.store.now(),
            storage_id: None,
            stored_at: None,
        };
        fresh.storage_id = self.home.begin(&fresh).await?;
        // Whoever wrote since we looked has begun the upload as well, and theirs counts.
        let write_of = |it: Option<&UploadSession>| it.map(|it| it.stamp.write.clone());
        let seen = write_of(known.as_ref());
        let swapped = self
            .store
            .swap(&ObjectKey::Upload(id), |stored: Option<&UploadSession>| {
                if write_of(stored) == seen {
                    Decision::Write(fresh.clone())
                } else {
                    Decision::Keep
                }
            })
            .await?;
        let stored = swapped.stored.map_or_else(|| fresh.clone(), |it| it.value);
        if fresh.storage_id.is_some() && fresh.storage_id != stored.storage_id {
            self.forget(&fresh).await;
        }
        Ok(stored)
    }

    /// The open session, with what the one who asks now may do: an image that was rejected since may be replaced.
    async fn agreed(
        &self,
        known: &UploadSession,
        wish: &NewSession,
    ) -> Result<UploadSession, Error> {
        if known.create_only == wish.create_only {
            return Ok(known.clone());
        }
        let decide = |stored: Option<&UploadSession>| match stored {
            Some(it) if it.create_only != wish.create_only => Decision::Write(UploadSession {
                create_only: wish.create_only,
                ..it.clone()
            }),
            _ => Decision::Keep,
        };
        let key = ObjectKey::Upload(known.id());
        let stored = self.store.swap(&key, decide).await?.stored;
        Ok(stored.map_or_else(|| known.clone(), |it| it.value))
    }

    /// A session and the parts of it that are there. A complete one has none.
    pub async fn find(
        &self,
        id: &UlidText,
    ) -> Result<(UploadSession, Vec<StoredPart>), UploadRefusal> {
        let session = self.session(id).await?;
        if session.stored_at.is_some() {
            return Ok((session, Vec::new()));
        }
        let parts = self.home.parts(&session).await;
        let parts = parts.map_err(failed(&session))?;
        Ok((session, parts.unwrap_or_default()))
    }

    /// Signs parts, in the order asked.
    pub async fn sign(
        &self,
        id: &UlidText,
        wanted: &[(u32, Sha256Hex)],
        expires: DateTime<Utc>,
    ) -> Result<Vec<SignedUpload>, UploadRefusal> {
        let session = self.session(id).await?;
        if session.stored_at.is_some() {
            return Err(UploadRefusal::Complete { key: session.key });
        }
        let mut signed = Vec::with_capacity(wanted.len());
        for (number, sha256) in wanted {
            let Some(bytes) = session.part_length(*number) else {
                return Err(UploadRefusal::NoSuchPart {
                    key: session.key.clone(),
                    number: *number,
                    n_parts: session.n_parts(),
                });
            };
            let part = WantedPart {
                number: *number,
                bytes,
                sha256: sha256.clone(),
                expires,
            };
            let upload = self.home.sign_part(&session, &part).await;
            signed.push(upload.map_err(failed(&session))?);
        }
        Ok(signed)
    }

    /// Makes the object of its parts. Again, or after an answer that was lost, the same success is answered.
    pub async fn complete(
        &self,
        id: &UlidText,
    ) -> Result<(UploadSession, Received), UploadRefusal> {
        let session = self.session(id).await?;
        if session.stored_at.is_some() {
            let is_there = self.is_stored(&session).await;
            if is_there.map_err(failed(&session))? {
                return Ok((session, Received::AlreadyThere));
            }
            // It was there, and was removed or replaced since.
            return Err(UploadRefusal::Forgotten { key: session.key });
        }
        let received = match self.assemble(&session).await {
            Ok(received) => received,
            Err(refusal) if may_be_done(&refusal) => {
                let is_there = self.is_stored(&session).await;
                if !is_there.map_err(failed(&session))? {
                    return Err(refusal);
                }
                Received::AlreadyThere
            }
            Err(refusal) => {
                // Nobody can tell which part is wrong, so all of them are sent anew.
                if matches!(refusal, UploadRefusal::OtherContent { .. }) {
                    self.forget(&session).await;
                }
                return Err(refusal);
            }
        };
        let marked = self.mark_stored(&session).await.map_err(failed(&session))?;
        // Only now: who misses parts from here on finds the mark.
        self.forget(&session).await;
        Ok((marked, received))
    }

    async fn assemble(&self, session: &UploadSession) -> Result<Received, UploadRefusal> {
        let parts = self.home.parts(session).await;
        let Some(parts) = parts.map_err(failed(session))? else {
            return Err(UploadRefusal::Forgotten {
                key: session.key.clone(),
            });
        };
        let parts = whole(session, parts)?;
        self.home.assemble(session, &parts).await
    }

    /// Gives an upload up: its parts and its document go. One that is complete loses only its document.
    pub async fn give_up(&self, id: &UlidText) -> Result<(), Error> {
        let key = ObjectKey::Upload(id.clone());
        if let Some(session) = self.read(id).await? {
            // First, so that no part is taken for it any more.
            self.store.delete(&key).await?;
            self.home.discard(&session).await?;
        }
        Ok(())
    }

    /// Whether the very bytes of a session lie under its key.
    async fn is_stored(&self, session: &UploadSession) -> Result<bool, Error> {
        let Some(head) = self.store.head(&session.key).await? else {
            return Ok(false);
        };
        if head.size != session.bytes {
            return Ok(false);
        }
        Ok(match head.declared_sha256 {
            Some(declared) => declared == session.sha256,
            None => hash_of(&self.store, &session.key).await?.as_str() == session.sha256,
        })
    }

    async fn mark_stored(&self, session: &UploadSession) -> Result<UploadSession, Error> {
        let now = self.store.now();
        let decide = |stored: Option<&UploadSession>| match stored {
            Some(it) if it.stored_at.is_none() => Decision::Write(UploadSession {
                stored_at: Some(now),
                ..it.clone()
            }),
            _ => Decision::Keep,
        };
        let key = ObjectKey::Upload(session.id());
        let stored = self.store.swap(&key, decide).await?.stored;
        Ok(stored.map_or_else(|| session.clone(), |it| it.value))
    }

    /// Removes parts that nobody needs; what resists is swept later.
    async fn forget(&self, session: &UploadSession) {
        if let Err(error) = self.home.discard(session).await {
            tracing::warn!(key = session.key, error = %error, "parts of an upload not removed");
        }
    }

    async fn session(&self, id: &UlidText) -> Result<UploadSession, UploadRefusal> {
        let found = self.read(id).await;
        let found = found.map_err(|source| UploadRefusal::Store {
            key: id.to_string(),
            source,
        })?;
        found.ok_or_else(|| UploadRefusal::NoSession { id: id.to_string() })
    }

    async fn read(&self, id: &UlidText) -> Result<Option<UploadSession>, Error> {
        let stored = self.store.read(&ObjectKey::Upload(id.clone())).await?;
        Ok(stored.map(|it| it.value))
    }
}

/// The parts, when they are all there and as long as they should be.
fn whole(
    session: &UploadSession,
    parts: Vec<StoredPart>,
) -> Result<Vec<StoredPart>, UploadRefusal> {
    let is_right = |part: &StoredPart| session.part_length(part.number) == Some(part.bytes);
    let right: Vec<StoredPart> = parts.into_iter().filter(is_right).collect();
    let n_parts = session.n_parts();
    if right.len() as u64 == n_parts {
        return Ok(right);
    }
    let numbers = right.iter().map(|it| u64::from(it.number));
    let first = (1..).zip(numbers).find(|(at, number)| at != number);
    Err(UploadRefusal::PartsMissing {
        key: session.key.clone(),
        n_missing: n_parts - right.len() as u64,
        first: first.map_or(right.len() as u64 + 1, |(at, _)| at),
        n_parts,
    })
}

/// Whether a refusal may mean that somebody made the object already: another sender of the same file, or an
/// earlier call whose answer was lost.
fn may_be_done(refusal: &UploadRefusal) -> bool {
    match refusal {
        UploadRefusal::PartsMissing { .. }
        | UploadRefusal::Forgotten { .. }
        | UploadRefusal::Exists { .. } => true,
        // A part that went away under our hands.
        UploadRefusal::Store { source, .. } => source.is_not_found(),
        _ => false,
    }
}

fn failed(session: &UploadSession) -> impl Fn(Error) -> UploadRefusal {
    let key = session.key.clone();
    move |source| UploadRefusal::Store {
        key: key.clone(),
        source,
    }
}
