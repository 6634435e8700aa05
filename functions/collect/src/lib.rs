//! The function `collect`: units ended (DESIGN 5.5).
//!
//! It carries ended units into the job's bitmaps, lets the next hints out, and when all are done writes the
//! result files: a pure function of the committed units, without time or host, so that two collectors at
//! once write the same bytes.

mod data;
mod legacy;
mod outputs;
mod predict;
mod train;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cellmill_core::disposition::Disposition;
use cellmill_core::ids::Dir;
use cellmill_core::job::{JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix, UnitKey};
use cellmill_core::messages::CollectHint;
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_queue::{Queue, hints};
use cellmill_service::Settings;
use cellmill_store::Store;
use cellmill_store::jobs::Applied;
use futures::{StreamExt as _, TryStreamExt as _, stream};

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Collect {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    /// Units of a job that should be out as hints.
    pub window: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("collecting job `{dir}`")]
    Store {
        dir: Dir,
        #[source]
        source: cellmill_store::Error,
    },
    #[error("sending the hints of job `{dir}`")]
    Queue {
        dir: Dir,
        #[source]
        source: cellmill_queue::Error,
    },
    /// A committed unit's output is not what its commit says.
    #[error("output `{key}` of job `{dir}` can't be used: {why}")]
    BadOutput { dir: Dir, key: String, why: String },
}

impl Error {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Store { source, .. } if source.is_transient() => {
                Disposition::retry(cellmill_service::report(self))
            }
            Self::Queue { .. } => Disposition::retry(cellmill_service::report(self)),
            Self::Store { .. } | Self::BadOutput { .. } => Disposition::Reject {
                reason: self.to_string(),
            },
        }
    }
}

/// What a batch of messages says about one job.
#[derive(Debug, Default)]
struct Asked {
    units: BTreeSet<u32>,
    /// "Look at the whole job."
    whole: bool,
    /// Places of the messages in the batch.
    messages: Vec<usize>,
}

const PARALLEL_READS: usize = 32;

impl Collect {
    /// The function with what the settings say.
    pub fn new(store: Store, queue: Arc<dyn Queue>, settings: &Settings) -> Self {
        Self {
            store,
            queue,
            window: settings.window,
        }
    }

    /// Handles a batch of messages of the queue `collect`: one swap of each job, whatever their number.
    pub async fn handle(&self, bodies: &[String]) -> Vec<Disposition> {
        let mut outcomes = vec![Disposition::Done; bodies.len()];
        let mut jobs: BTreeMap<(JobKind, Dir), Asked> = BTreeMap::new();
        for (place, body) in bodies.iter().enumerate() {
            match serde_json::from_str::<CollectHint>(body) {
                Ok(hint) => {
                    let asked = jobs.entry((hint.kind, hint.dir)).or_default();
                    asked.whole |= hint.unit.is_none();
                    asked.units.extend(hint.unit);
                    asked.messages.push(place);
                }
                Err(error) => {
                    outcomes[place] = Disposition::Reject {
                        reason: format!("no collect hint: {error}"),
                    }
                }
            }
        }
        for ((kind, dir), asked) in jobs {
            let mut round = None;
            let Err(error) = self.job(kind, &dir, &asked, &mut round).await else {
                continue;
            };
            let outcome = self.fail(kind, &dir, round, &error).await;
            for place in asked.messages {
                outcomes[place] = outcome.clone();
            }
        }
        outcomes
    }

    /// What no repetition can mend fails the job, while it is in the round in which it was met.
    async fn fail(
        &self,
        kind: JobKind,
        dir: &Dir,
        round: Option<u32>,
        error: &Error,
    ) -> Disposition {
        let text = cellmill_service::report(error);
        tracing::warn!(%dir, error = text, "job not collected");
        let disposition = error.disposition();
        if disposition.is_final()
            && let Err(error) = self
                .store
                .change_job_if(
                    kind,
                    dir,
                    JobEvent::Failed { error: text },
                    self.window,
                    |job| round.is_none_or(|it| it == job.round),
                )
                .await
        {
            let error = cellmill_service::report(&error);
            tracing::error!(%dir, error, "job can't be failed");
            return Disposition::retry(error);
        }
        disposition
    }

    /// `round` becomes that of the job as it was read.
    async fn job(
        &self,
        kind: JobKind,
        dir: &Dir,
        asked: &Asked,
        round: &mut Option<u32>,
    ) -> Result<(), Error> {
        let Some(mut job) = self
            .store
            .read_job(kind, dir)
            .await
            .map_err(|it| failed(dir, it))?
            .map(|it| it.value)
        else {
            return Ok(());
        };
        *round = Some(job.round);
        while matches!(job.state, JobState::Queued | JobState::Running) {
            job = self.count_units(job, asked).await?;
            if round.replace(job.round) == Some(job.round) {
                break;
            }
            // It was retried while its units were read: what failed before does not count any more.
        }
        if job.state == JobState::Collecting {
            self.write_results(&job).await?;
        }
        Ok(())
    }

    /// Carries ended units into the bitmaps and lets the next hints out. A job that comes back in another round than
    /// it was given is as it was found.
    async fn count_units(&self, job: JobRecord, asked: &Asked) -> Result<JobRecord, Error> {
        let mut units = asked.units.clone();
        if asked.whole {
            units.extend(
                self.units_with_records(&job)
                    .await
                    .map_err(|it| failed(&job.dir, it))?,
            );
        }
        units.retain(|unit| !job.units.is_ended(*unit));
        let ended = self
            .ended_units(&job, units)
            .await
            .map_err(|it| failed(&job.dir, it))?;
        let applied = self
            .store
            .change_job_if(job.kind, &job.dir, ended, self.window, |it| {
                it.round == job.round
            })
            .await
            .map_err(|it| failed(&job.dir, it))?;
        match applied {
            Applied::Changed(job, effects) => {
                if job.value.state.is_ended() {
                    waiting::wake(self, &job.value).await?;
                }
                hints::carry_out(&*self.queue, &job.value, &effects)
                    .await
                    .map_err(|source| Error::Queue {
                        dir: job.value.dir.clone(),
                        source,
                    })?;
                Ok(job.value)
            }
            Applied::Unchanged(job) => Ok(job.value),
            Applied::NotAllowed(_) | Applied::Absent => Ok(job),
        }
    }

    async fn units_with_records(&self, job: &JobRecord) -> Result<Vec<u32>, cellmill_store::Error> {
        let level = self
            .store
            .list_level(&Prefix::UnitsOfJob(job.dir.clone()).to_path())
            .await?;
        let unit = |key: &str| match ObjectKey::parse(key) {
            Ok(Some(ObjectKey::Unit(it))) if it.kind == job.kind => Some(it.unit),
            _ => None,
        };
        Ok(level
            .objects
            .iter()
            .filter_map(|it| unit(&it.key))
            .collect())
    }

    /// Reads units and says which of them ended in this round.
    async fn ended_units(
        &self,
        job: &JobRecord,
        units: BTreeSet<u32>,
    ) -> Result<JobEvent, cellmill_store::Error> {
        let records: Vec<(u32, Option<UnitRecord>)> = stream::iter(units)
            .map(|unit| async move {
                let key = UnitKey {
                    dir: job.dir.clone(),
                    kind: job.kind,
                    unit,
                };
                let record = self.store.read::<UnitRecord>(&ObjectKey::Unit(key)).await?;
                Ok::<_, cellmill_store::Error>((unit, record.map(|it| it.value)))
            })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (unit, record) in records {
            match record {
                Some(it) if it.state == UnitState::Done => done.push(unit),
                Some(it) if it.state == UnitState::Failed && it.round >= job.round => {
                    failed.push(unit);
                }
                _ => {}
            }
        }
        Ok(JobEvent::UnitsEnded { done, failed })
    }

    async fn write_results(&self, job: &JobRecord) -> Result<(), Error> {
        let (result, report) = match &job.parameters {
            JobParameters::Data(parameters) => (data::write(self, job, parameters).await?, None),
            JobParameters::Train(parameters) if job.class.is_legacy() => {
                legacy::training(self, job, parameters).await?
            }
            JobParameters::Train(parameters) => train::write(self, job, parameters).await?,
            JobParameters::Predict(parameters) => predict::write(self, job, parameters).await?,
        };
        let event = JobEvent::Collected { result, report };
        let applied = self
            .store
            .change_job(job.kind, &job.dir, event, self.window)
            .await
            .map_err(|it| failed(&job.dir, it))?;
        if let Applied::Changed(job, _) = applied {
            waiting::wake(self, &job.value).await?;
        }
        Ok(())
    }
}

fn failed(dir: &Dir, source: cellmill_store::Error) -> Error {
    Error::Store {
        dir: dir.clone(),
        source,
    }
}
