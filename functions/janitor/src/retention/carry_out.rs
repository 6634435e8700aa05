//! Carrying a plan out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cellmill_core::ids::{Dir, UlidText};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::unit::UnitRecord;
use cellmill_store::uploads::Sessions;
use cellmill_store::{Decision, Error as StoreError, Store};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Removal, Remove, Retention, SweepRetention, read_or_skip};
use crate::Error;

/// Deletions at once: each is one small request, so the wait for storage is what costs.
const PARALLEL_DELETES: usize = 32;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub n_objects: u64,
    pub bytes: u64,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    pub n_seen: u64,
    pub removed: Removed,
    /// Where it stopped when its time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Retention {
    /// Sweeps slice by slice, from a key on, until everything was seen or `longest` is over. What can't be removed
    /// stops nothing else.
    pub async fn run(&self, from: Option<String>, longest: Duration) -> Result<Swept, Error> {
        let began = Instant::now();
        let mut sweep = SweepRetention {
            from,
            ..SweepRetention::default()
        };
        let (mut swept, mut first_error) = (Swept::default(), None);
        loop {
            let now = self.store.now();
            let slice = self.plan(&sweep, now).await?;
            swept.n_seen += slice.n_objects as u64;
            match self.perform(&slice.removals, now).await {
                Ok(removed) => {
                    swept.removed.n_objects += removed.n_objects;
                    swept.removed.bytes += removed.bytes;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
            match slice.next {
                Some(next) if began.elapsed() < longest => sweep.from = Some(next),
                next => {
                    swept.next = next;
                    break;
                }
            }
        }
        first_error.map_or(Ok(swept), Err)
    }

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
        let error = self.unit_error(&seen.value).await?;
        let swapped = self
            .store
            .swap::<JobRecord>(&key, |stored| {
                match stored.and_then(|it| it.clear(written, self.kept, now, error.as_deref())) {
                    Some(next) => Decision::Write(next),
                    None => Decision::Keep,
                }
            })
            .await?;
        Ok(swapped.stored.is_some_and(|it| it.value.cleared.is_some()))
    }

    /// Why the first failed unit failed: the job's record takes that over, as the unit's goes.
    async fn unit_error(&self, job: &JobRecord) -> Result<Option<String>, StoreError> {
        let Some(unit) = job.units.failed.iter().next() else {
            return Ok(None);
        };
        let key = ObjectKey::Unit(UnitKey {
            dir: job.dir.clone(),
            kind: job.kind,
            unit,
        });
        let record = read_or_skip::<UnitRecord>(&self.store, &key).await?;
        Ok(record.and_then(|it| it.value.error))
    }

    async fn give_up(&self, id: &UlidText, keys: &[String]) -> Result<bool, StoreError> {
        let Some(home) = &self.uploads else {
            return Ok(false);
        };
        let sessions = Sessions {
            store: self.store.clone(),
            home: Arc::clone(home),
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
    stream::iter(keys.to_vec())
        .map(|key| async move { store.delete(&key).await })
        .buffer_unordered(PARALLEL_DELETES)
        .try_collect()
        .await
}
