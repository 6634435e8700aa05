//! Packs of data sets: those that a finished one does not list, and all of those that never got a result and are
//! cleared.

use std::collections::BTreeSet;

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey};
use cellmill_core::records::PackList;
use cellmill_core::retention::{why_clear, why_stray_pack};
use cellmill_store::{Error, Listed};
use chrono::{DateTime, Utc};

use super::{Removal, Remove, Retention, read_or_skip};

pub(super) struct Packs<'a> {
    sweep: &'a Retention,
    now: DateTime<Utc>,
    dataset: Option<Dataset>,
}

/// The data set that the last pack belonged to.
struct Dataset {
    dir: Dir,
    job: Option<JobRecord>,
    /// Its packs, when it is done and says which.
    listed: Option<BTreeSet<String>>,
    /// Why its packs are cleared, when it has no result and never will.
    why_clear: Option<String>,
}

impl<'a> Packs<'a> {
    pub(super) const fn new(sweep: &'a Retention, now: DateTime<Utc>) -> Self {
        Self {
            sweep,
            now,
            dataset: None,
        }
    }

    pub(super) async fn look(&mut self, listed: &Listed) -> Result<Option<Removal>, Error> {
        let Ok(Some(ObjectKey::Dataset(dir, DatasetFile::Pack(_)))) = ObjectKey::parse(&listed.key)
        else {
            return Ok(None);
        };
        let now = self.now;
        let dataset = self.dataset_of(&dir).await?;
        let key = listed.key.clone();
        if let Some(why) = &dataset.why_clear {
            let what = Remove::ClearJob {
                kind: JobKind::Data,
                dir,
                keys: vec![key],
            };
            return Ok(Some(Removal::of(what, why.clone(), listed.size)));
        }
        let (Some(job), Some(packs)) = (&dataset.job, &dataset.listed) else {
            return Ok(None);
        };
        let why = why_stray_pack(job, packs.contains(&key), listed.last_modified, now);
        Ok(why.map(|why| Removal::of(Remove::RemovePack { key }, why, listed.size)))
    }

    async fn dataset_of(&mut self, dir: &Dir) -> Result<&Dataset, Error> {
        let dataset = match self.dataset.take().filter(|it| it.dir == *dir) {
            Some(dataset) => dataset,
            None => self.read(dir).await?,
        };
        Ok(self.dataset.insert(dataset))
    }

    async fn read(&self, dir: &Dir) -> Result<Dataset, Error> {
        let store = &self.sweep.store;
        let key = ObjectKey::job(JobKind::Data, dir);
        let job = read_or_skip::<JobRecord>(store, &key).await?;
        let is_done = job
            .as_ref()
            .is_some_and(|it| it.value.state == JobState::Done);
        let why_clear = job
            .as_ref()
            .filter(|_| !is_done)
            .and_then(|it| why_clear(&it.value, it.last_modified, self.sweep.kept, self.now));
        let listed = if is_done {
            self.listed(dir).await?
        } else {
            None
        };
        Ok(Dataset {
            dir: dir.clone(),
            job: job.map(|it| it.value),
            listed,
            why_clear,
        })
    }

    /// A list that is not there or can't be read lists nothing, and nothing is removed by it.
    async fn listed(&self, dir: &Dir) -> Result<Option<BTreeSet<String>>, Error> {
        let key = ObjectKey::Dataset(dir.clone(), DatasetFile::Packs);
        let list = match self.sweep.store.read_json::<PackList>(&key).await {
            Err(error @ Error::Malformed { .. }) => {
                tracing::warn!(key = %key, error = cellmill_service::report(&error), "document passed over");
                None
            }
            read => read?,
        };
        Ok(list.map(|it| it.value.packs.into_iter().map(|pack| pack.key).collect()))
    }
}
