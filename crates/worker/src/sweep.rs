//! Looking for forgotten units when no hint comes: a lost message costs time, never work.

use std::collections::BTreeMap;

use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{ObjectKey, Prefix, UnitKey};
use cellmill_store::Versioned;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use crate::Error;
use crate::claim::{Claimed, Lease};
use crate::inner::Inner;

impl Inner {
    /// Walks `active/` and claims the first unit that nobody works on, urgent jobs first.
    ///
    /// Only units of the window are looked at, and only those are read whose record was silent for longer
    /// than a lease; one that was never claimed counts when its whole job was.
    pub(crate) async fn sweep(&self) -> Result<Option<Lease>, Error> {
        for job in self.open_jobs().await? {
            for key in self.forgotten_units(&job).await? {
                let Ok(device) = self.reserve(key.kind, job.value.wishes.urgent) else {
                    break;
                };
                if let Claimed::Mine(mut lease) = self.claim(&key).await? {
                    tracing::info!(unit = %key, "unit found without a hint");
                    lease.device = device;
                    return Ok(Some(*lease));
                }
            }
        }
        Ok(None)
    }

    /// The jobs that this worker serves and that wait for units, urgent ones first, then older ones.
    async fn open_jobs(&self) -> Result<Vec<Versioned<JobRecord>>, Error> {
        let prefix = Prefix::Active.to_path();
        let marks: Vec<_> = self
            .store
            .list(&prefix)
            .try_collect()
            .await
            .map_err(Error::store("list active jobs"))?;
        let mut jobs = Vec::new();
        for mark in marks {
            let Ok(Some(ObjectKey::Active { kind, dir, round })) = ObjectKey::parse(&mark.key)
            else {
                continue;
            };
            if !self.algorithms.contains_key(&kind) {
                continue;
            }
            let job = self
                .store
                .read_job(kind, &dir)
                .await
                .map_err(Error::store("read an active job"))?;
            jobs.extend(job.filter(|it| it.value.round == round && self.waits_for_us(&it.value)));
        }
        jobs.sort_by_key(|it| (!it.value.wishes.urgent, it.value.times.created));
        Ok(jobs)
    }

    fn waits_for_us(&self, job: &JobRecord) -> bool {
        matches!(job.state, JobState::Queued | JobState::Running)
            && self.options.classes.contains(&job.class)
    }

    async fn forgotten_units(&self, job: &Versioned<JobRecord>) -> Result<Vec<UnitKey>, Error> {
        let written = self.unit_stamps(&job.value).await?;
        let (timing, now) = (self.options.timing, self.store.now());
        let moved = written.values().copied().chain([job.last_modified]).max();
        let is_quiet = moved.is_none_or(|at| timing.is_over(at, now));
        let units = job.value.units.window(self.options.window).into_iter();
        let forgotten = units.filter(|unit| {
            written
                .get(unit)
                .map_or(is_quiet, |&at| timing.is_over(at, now))
        });
        let JobRecord { dir, kind, .. } = &job.value;
        Ok(forgotten
            .map(|unit| UnitKey {
                dir: dir.clone(),
                kind: *kind,
                unit,
            })
            .collect())
    }

    /// When each unit record of a job was last written.
    async fn unit_stamps(&self, job: &JobRecord) -> Result<BTreeMap<u32, DateTime<Utc>>, Error> {
        let prefix = Prefix::UnitsOfJob(job.dir.clone()).to_path();
        let level = self
            .store
            .list_level(&prefix)
            .await
            .map_err(Error::store("list the units of a job"))?;
        let stamp = |it: cellmill_store::Listed| match ObjectKey::parse(&it.key) {
            Ok(Some(ObjectKey::Unit(key))) if key.kind == job.kind => {
                Some((key.unit, it.last_modified))
            }
            _ => None,
        };
        Ok(level.objects.into_iter().filter_map(stamp).collect())
    }
}
