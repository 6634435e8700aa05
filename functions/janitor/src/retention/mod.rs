//! The daily sweep: removes what nobody can need again. The rules are `cellmill_core::retention`.
//!
//! It walks the store in key order, a slice at a time, and remembers one job and one unit at once, so it takes the same
//! memory whatever lies there. Killed at any point, the next run finds the rest: a job is marked before anything of it
//! goes, and everything else is judged by documents that stay.

mod carry_out;
mod packs;
mod units;

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::document::Document;
use cellmill_core::ids::{Dir, UlidText};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix};
use cellmill_core::retention::why_gone;
use cellmill_core::timing::Timing;
use cellmill_core::uploads::KEPT_FOR;
use cellmill_service::Settings;
use cellmill_store::uploads::{PartUploads, left_over};
use cellmill_store::{Error as StoreError, Listed, Store, Versioned};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::Error;

pub(crate) use carry_out::delete_all;
pub use carry_out::{Removed, Swept};
use packs::Packs;
use units::Units;

/// What the sweep works with.
#[derive(Clone, Debug)]
pub struct Retention {
    pub store: Store,
    /// Keeps the parts of unfinished uploads. Without one, uploads are left alone.
    pub uploads: Option<Arc<dyn PartUploads>>,
    pub timing: Timing,
    /// How long what a job's units left beside the result stays after it ended.
    pub kept: Duration,
}

/// One slice of the sweep.
#[derive(Clone, Debug)]
pub struct SweepRetention {
    /// Go on behind this key; `None` begins anew.
    pub from: Option<String>,
    /// Look at no more objects than this.
    pub budget: usize,
}

/// Objects that one slice looks at: some seconds of listing, and at most as many keys in memory.
pub const SLICE: usize = 5_000;

impl Default for SweepRetention {
    fn default() -> Self {
        Self {
            from: None,
            budget: SLICE,
        }
    }
}

/// What a slice found.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    pub removals: Vec<Removal>,
    pub n_objects: usize,
    /// Where the next slice begins; `None` when everything was seen.
    pub next: Option<String>,
}

/// One thing to remove, with the reason for a person who reads a dry run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Removal {
    #[serde(flatten)]
    pub what: Remove,
    pub why: String,
    pub n_objects: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Remove {
    /// What a job's units left, of a job that ended long ago. Its record is marked first; when it has been retried
    /// meanwhile, nothing is removed.
    ClearJob {
        kind: JobKind,
        dir: Dir,
        keys: Vec<String>,
    },
    /// An output of an attempt that is over, which no record names.
    RemoveOrphan { key: String },
    /// A pack that a finished data set does not list.
    RemovePack { key: String },
    /// The record of a worker that was killed.
    RemoveWorker { key: String },
    /// An upload that nobody has ended.
    GiveUpUpload { id: UlidText, keys: Vec<String> },
}

/// The parts of the store that are walked, in this order: a cursor names its part by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Units,
    Packs,
    Workers,
}

impl Part {
    const ALL: [Self; 3] = [Self::Units, Self::Packs, Self::Workers];

    fn prefix(self) -> String {
        match self {
            Self::Units => Prefix::Units.to_path(),
            Self::Packs => Prefix::Datasets.to_path(),
            Self::Workers => Prefix::Workers.to_path(),
        }
    }

    fn position(key: &str) -> usize {
        let found = Self::ALL
            .iter()
            .position(|it| key.starts_with(&it.prefix()));
        found.unwrap_or(0)
    }
}

impl Retention {
    /// The sweep with what the settings say.
    pub fn new(store: Store, uploads: Arc<dyn PartUploads>, settings: &Settings) -> Self {
        Self {
            store,
            uploads: Some(uploads),
            timing: settings.timing,
            kept: settings.units_kept,
        }
    }

    /// Looks at one slice, as of `now`. Nothing is changed.
    pub async fn plan(&self, sweep: &SweepRetention, now: DateTime<Utc>) -> Result<Slice, Error> {
        self.look(sweep, now).await.map_err(Error::Store)
    }

    async fn look(&self, sweep: &SweepRetention, now: DateTime<Utc>) -> Result<Slice, StoreError> {
        let mut slice = Slice::default();
        let first = sweep.from.as_deref().map_or(0, Part::position);
        for part in Part::ALL.into_iter().skip(first) {
            let prefix = part.prefix();
            let from = sweep.from.as_deref();
            let from = from.filter(|it| it.starts_with(&prefix));
            let left = sweep.budget.saturating_sub(slice.n_objects);
            if let Some(last) = self.walk(part, from, left, now, &mut slice).await? {
                slice.next = Some(last);
                return Ok(slice);
            }
        }
        slice.removals.extend(self.uploads(now).await?);
        Ok(slice)
    }

    /// Walks a part. `Some`: the budget was spent at this key.
    async fn walk(
        &self,
        part: Part,
        from: Option<&str>,
        budget: usize,
        now: DateTime<Utc>,
        slice: &mut Slice,
    ) -> Result<Option<String>, StoreError> {
        let (mut units, mut packs) = (Units::new(self, now), Packs::new(self, now));
        let prefix = part.prefix();
        let listing = match from {
            Some(from) => self.store.list_from(&prefix, from),
            None => self.store.list(&prefix),
        };
        let mut listing = listing.take(budget);
        let (mut n_seen, mut last) = (0, from.map(str::to_owned));
        while let Some(listed) = listing.try_next().await? {
            n_seen += 1;
            let found = match part {
                Part::Units => units.look(&listed).await?,
                Part::Packs => packs.look(&listed).await?,
                Part::Workers => self.worker(&listed, now),
            };
            if let Some(found) = found {
                slice.add(found);
            }
            last = Some(listed.key);
        }
        slice.n_objects += n_seen;
        // A slice that begins at the very end of its budget says where it stood.
        Ok((n_seen == budget).then(|| last.unwrap_or(prefix)))
    }

    fn worker(&self, listed: &Listed, now: DateTime<Utc>) -> Option<Removal> {
        let Ok(Some(ObjectKey::Worker(_))) = ObjectKey::parse(&listed.key) else {
            return None;
        };
        let why = why_gone(listed.last_modified, self.timing, now)?;
        let key = listed.key.clone();
        Some(Removal::of(Remove::RemoveWorker { key }, why, listed.size))
    }

    /// Uploads are few, and judged whole: they take no part in the budget.
    async fn uploads(&self, now: DateTime<Utc>) -> Result<Vec<Removal>, StoreError> {
        if self.uploads.is_none() {
            return Ok(Vec::new());
        }
        let (found, _) = left_over(&self.store, now).await?;
        let removal = |it: cellmill_store::uploads::LeftOver| Removal {
            why: format!(
                "nothing of the upload moved for {} days",
                (now - it.newest).num_days().max(KEPT_FOR.num_days())
            ),
            n_objects: it.keys.len() as u64,
            bytes: it.bytes,
            what: Remove::GiveUpUpload {
                id: it.upload,
                keys: it.keys,
            },
        };
        Ok(found.into_iter().map(removal).collect())
    }
}

impl Removal {
    fn of(what: Remove, why: String, bytes: u64) -> Self {
        Self {
            what,
            why,
            n_objects: 1,
            bytes,
        }
    }
}

impl Slice {
    /// What is cleared of one job is one removal.
    fn add(&mut self, found: Removal) {
        if let (
            Some(Removal {
                what: Remove::ClearJob { kind, dir, keys },
                n_objects,
                bytes,
                ..
            }),
            Remove::ClearJob {
                kind: other_kind,
                dir: other_dir,
                keys: more,
            },
        ) = (self.removals.last_mut(), &found.what)
            && (&*kind, &*dir) == (other_kind, other_dir)
        {
            keys.extend_from_slice(more);
            *n_objects += found.n_objects;
            *bytes += found.bytes;
            return;
        }
        self.removals.push(found);
    }
}

/// A document, or nothing when it can't be read as one: nothing is removed on the word of what nobody understands,
/// and nothing else stops for it.
async fn read_or_skip<D: Document>(
    store: &Store,
    key: &ObjectKey,
) -> Result<Option<Versioned<D>>, StoreError> {
    match store.read(key).await {
        Err(error @ (StoreError::Malformed { .. } | StoreError::TooNew { .. })) => {
            tracing::warn!(key = %key, error = cellmill_service::report(&error), "document passed over");
            Ok(None)
        }
        read => read,
    }
}

#[cfg(test)]
mod tests;
