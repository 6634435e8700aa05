//! What lies under `units/`: everything of jobs that ended long ago, and orphans of the others.

use std::collections::BTreeSet;

use cellmill_core::ids::Dir;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::retention::{ORPHAN_AGE, keys_named_by, why_clear, why_orphan};
use cellmill_core::unit::UnitRecord;
use cellmill_store::{Error, Listed};
use chrono::{DateTime, Utc};

use super::{Removal, Remove, Retention, read_or_skip};

/// Goes through the keys in their order: those of one job stand together, and so do those of one unit, its record first.
pub(super) struct Units<'a> {
    sweep: &'a Retention,
    now: DateTime<Utc>,
    job: Option<Job>,
    unit: Option<Unit>,
}

/// The job that the last key belonged to.
struct Job {
    kind: JobKind,
    dir: Dir,
    /// Without its record nobody knows what is needed.
    is_known: bool,
    why_clear: Option<String>,
}

/// The unit that the last aged output belonged to.
struct Unit {
    key: UnitKey,
    record: Option<(UnitRecord, BTreeSet<String>)>,
}

impl<'a> Units<'a> {
    pub(super) const fn new(sweep: &'a Retention, now: DateTime<Utc>) -> Self {
        Self {
            sweep,
            now,
            job: None,
            unit: None,
        }
    }

    pub(super) async fn look(&mut self, listed: &Listed) -> Result<Option<Removal>, Error> {
        let (unit, attempt) = match ObjectKey::parse(&listed.key) {
            Ok(Some(ObjectKey::Unit(unit))) => (unit, None),
            Ok(Some(ObjectKey::UnitOutput { unit, attempt, .. })) => (unit, Some(attempt)),
            _ => return Ok(None),
        };
        let job = self.job_of(&unit).await?;
        if let Some(why) = &job.why_clear {
            let what = Remove::ClearJob {
                kind: unit.kind,
                dir: unit.dir,
                keys: vec![listed.key.clone()],
            };
            return Ok(Some(Removal::of(what, why.clone(), listed.size)));
        }
        match attempt {
            Some(attempt) if job.is_known => self.orphan(unit, attempt, listed).await,
            _ => Ok(None),
        }
    }

    async fn orphan(
        &mut self,
        unit: UnitKey,
        attempt: u32,
        listed: &Listed,
    ) -> Result<Option<Removal>, Error> {
        let written = listed.last_modified;
        // Most outputs are young or belong to a unit that was read already.
        if self.now - written <= ORPHAN_AGE {
            return Ok(None);
        }
        let now = self.now;
        let Some((record, named)) = &self.unit_of(unit).await?.record else {
            return Ok(None);
        };
        let key = listed.key.clone();
        let why = why_orphan(record, named, attempt, &key, written, now);
        Ok(why.map(|why| Removal::of(Remove::RemoveOrphan { key }, why, listed.size)))
    }

    async fn job_of(&mut self, unit: &UnitKey) -> Result<&Job, Error> {
        let is_known = |job: &Job| job.kind == unit.kind && job.dir == unit.dir;
        let job = match self.job.take().filter(is_known) {
            Some(job) => job,
            None => self.read_job(unit).await?,
        };
        Ok(self.job.insert(job))
    }

    async fn read_job(&self, unit: &UnitKey) -> Result<Job, Error> {
        let key = ObjectKey::job(unit.kind, &unit.dir);
        let read = read_or_skip::<JobRecord>(&self.sweep.store, &key).await?;
        let why_clear = read
            .as_ref()
            .and_then(|it| why_clear(&it.value, it.last_modified, self.sweep.kept, self.now));
        Ok(Job {
            kind: unit.kind,
            dir: unit.dir.clone(),
            is_known: read.is_some(),
            why_clear,
        })
    }

    /// The record as it is now, which is after the output was listed.
    async fn unit_of(&mut self, unit: UnitKey) -> Result<&Unit, Error> {
        let unit = match self.unit.take().filter(|it| it.key == unit) {
            Some(unit) => unit,
            None => self.read_unit(unit).await?,
        };
        Ok(self.unit.insert(unit))
    }

    async fn read_unit(&self, key: UnitKey) -> Result<Unit, Error> {
        let read =
            read_or_skip::<UnitRecord>(&self.sweep.store, &ObjectKey::Unit(key.clone())).await?;
        let record = read.map(|it| {
            let named = keys_named_by(&it.value);
            (it.value, named)
        });
        Ok(Unit { key, record })
    }
}
