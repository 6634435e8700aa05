//! Carrying a plan out.

use cellmill_core::ids::{Dir, UlidText};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_store::uploads::Sessions;
use cellmill_store::{Decision, Error as StoreError, Store};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Removal, Remove, Retention};
use crate::Error;

/// Deletions at once: each is one small request, so the wait for storage is what costs.
const PARALLEL_DELETES: usize = 32;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub n_objects: u64,
    pub bytes: u64,
}

impl Retention {
    /// Carries a plan out. What can't be removed stops nothing else; the first such error is told at the end.
    pub async fn perform(
        &self,
        removals: &[Removal],
        now: DateTime<Utc>,
    ) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let mut first_error = None;
        for removal in removals {
            match self.remove(&removal.what, now).await {
                Ok(true) => {
                    tracing::info!(
                        what = removal.what.subject(),
                        why = removal.why,
                        n_objects = removal.n_objects,
                        bytes = removal.bytes,
                        "janitor removes"
                    );
                    removed.n_objects += removal.n_objects;
                    removed.bytes += removal.bytes;
                }
                Ok(false) => {
                    tracing::info!(
                        what = removal.what.subject(),
                        "janitor leaves what is needed again"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        what = removal.what.subject(),
                        error = cellmill_service::report(&error),
                        "not removed, the next sweep goes on"
                    );
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(removed), |error| Err(Error::Store(error)))
    }

    async fn remove(&self, what: &Remove, now: DateTime<Utc>) -> Result<bool, StoreError> {
        match what {
            Remove::ClearJob { kind, dir, keys } => {
                if !self.mark_cleared(*kind, dir, now).await? {
                    return Ok(false);
                }
                delete_all(&self.store, keys).await?;
            }
            Remove::RemoveOrphan { key }
            | Remove::RemovePack { key }
            | Remove::RemoveWorker { key } => self.store.delete(key).await?,
            Remove::GiveUpUpload { id, keys } => return self.give_up(id, keys).await,
        }
        Ok(true)
    }

    /// Marks a job, judged once more on its fresh record. `false`: it was retried meanwhile.
    async fn mark_cleared(
        &self,
        kind: JobKind,
        dir: &Dir,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let key = ObjectKey::job(kind, dir);
        let Some(seen) = self.store.read::<JobRecord>(&key).await? else {
            return Ok(false);
        };
        let written = seen.last_modified;
        let swapped = self
            .store
            .swap::<JobRecord>(&key, |stored| {
                match stored.and_then(|it| it.clear(written, self.kept, now)) {
                    Some(next) => Decision::Write(next),
                    None => Decision::Keep,
                }
            })
            .await?;
        Ok(swapped
            .stored
            .is_some_and(|it| it.value.cleared.is_some()))
    }

    async fn give_up(&self, id: &UlidText, keys: &[String]) -> Result<bool, StoreError> {
        let Some(home) = &self.uploads else {
            return Ok(false);
        };
        let sessions = Sessions {
            store: self.store.clone(),
            home: home.clone(),
        };
        sessions.remove(id, keys).await?;
        Ok(true)
    }
}

impl Remove {
    /// What it is about, as one text.
    pub fn subject(&self) -> String {
        match self {
            Self::ClearJob { kind, dir, .. } => format!("{} {dir}", kind.as_str()),
            Self::RemoveOrphan { key } | Self::RemovePack { key } | Self::RemoveWorker { key } => {
                key.clone()
            }
            Self::GiveUpUpload { id, .. } => format!("upload {id}"),
        }
    }
}

/// Deletes objects. Those that are gone already are no error.
pub(crate) async fn delete_all(store: &Store, keys: &[String]) -> Result<(), StoreError> {
    stream::iter(keys)
        .map(|key| store.delete(key))
        .buffer_unordered(PARALLEL_DELETES)
        .try_collect()
        .await
}
