//! The function `assemble`: a job was submitted (DESIGN 5.1).
//!
//! It freezes the input first, piece by piece and create-if-absent, so that a second run, or one that goes
//! on after a crash, reads what the first one froze. Only then it swaps the number of units into the job
//! and lets the first hints out.

mod choose;
mod freeze;
mod project;

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::disposition::Disposition;
use cellmill_core::ids::Dir;
use cellmill_core::job::{Cursor, DataParameters, JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::JobKind;
use cellmill_core::messages::JobHint;
use cellmill_queue::{Queue, hints};
use cellmill_service::Settings;
use cellmill_store::Store;
use cellmill_store::jobs::Applied;
use tokio::time::Instant;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Assemble {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    /// Units of a job that should be out as hints.
    pub window: usize,
    /// Images of one unit: about 2 minutes of work.
    pub images_per_unit: usize,
    /// After this long the rest is left to another message.
    pub slice: Duration,
}

/// A job is cut into at most this many units; more images make larger ones (DESIGN 1).
pub const MAX_UNITS: usize = 10_000;

/// Units frozen between two swaps of the cursor, which is the sign of life.
const UNITS_PER_SWAP: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("assembling job `{dir}`")]
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
    /// The job can't be done as it was asked for: it fails with this text.
    #[error("{reason}")]
    Unusable { reason: String },
}

impl Error {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Store { source, .. } if !source.is_transient() => Disposition::Reject {
                reason: self.to_string(),
            },
            Self::Store { .. } | Self::Queue { .. } => {
                Disposition::retry(cellmill_service::report(self))
            }
            Self::Unusable { .. } => Disposition::Done,
        }
    }
}

/// Assembling leaves the rest to another message after this long, so that jobs take turns.
const SLICE: Duration = Duration::from_secs(30);

impl Assemble {
    /// The function with what the settings say.
    pub fn new(store: Store, queue: Arc<dyn Queue>, settings: &Settings) -> Self {
        Self {
            store,
            queue,
            window: settings.window,
            images_per_unit: settings.images_per_unit,
            slice: SLICE,
        }
    }

    /// Handles one message of the queue `assemble`.
    pub async fn handle(&self, body: &str) -> Disposition {
        let hint: JobHint = match serde_json::from_str(body) {
            Ok(hint) => hint,
            Err(error) => {
                return Disposition::Reject {
                    reason: format!("no job hint: {error}"),
                };
            }
        };
        let mut round = None;
        match self.job(hint.kind, &hint.dir, &mut round).await {
            Ok(()) => Disposition::Done,
            Err(error) => self.fail(&hint, round, error).await,
        }
    }

    /// What no repetition can mend fails the job, with the reason for whoever asked for it; but not one that others
    /// have assembled or retried meanwhile.
    async fn fail(&self, hint: &JobHint, round: Option<u32>, error: Error) -> Disposition {
        let text = cellmill_service::report(&error);
        let disposition = error.disposition();
        if !disposition.is_final() {
            tracing::warn!(dir = %hint.dir, error = text, "job not assembled");
            return disposition;
        }
        match self
            .store
            .change_job_if(
                hint.kind,
                &hint.dir,
                JobEvent::Failed { error: text },
                self.window,
                |job| job.state == JobState::Assembling && round.is_none_or(|it| it == job.round),
            )
            .await
        {
            Ok(_) => Disposition::Done,
            Err(error) => {
                let error = cellmill_service::report(&error);
                tracing::error!(dir = %hint.dir, error, "job can't be failed");
                Disposition::retry(error)
            }
        }
    }

    /// Assembles a job, or goes on with it. `round` becomes that of the job as it was read.
    async fn job(&self, kind: JobKind, dir: &Dir, round: &mut Option<u32>) -> Result<(), Error> {
        let Some(job) = self
            .store
            .read_job(kind, dir)
            .await
            .map_err(|it| failed(dir, it))?
        else {
            return Ok(());
        };
        if job.value.state != JobState::Assembling {
            return Ok(());
        }
        *round = Some(job.value.round);
        match &job.value.parameters {
            JobParameters::Data(parameters) => self.data(&job.value, parameters).await,
            JobParameters::Train(it) => project::assemble(self, &job.value, &it.ddir).await,
            JobParameters::Predict(it) => project::assemble(self, &job.value, &it.ddir).await,
        }
    }

    async fn data(&self, job: &JobRecord, parameters: &DataParameters) -> Result<(), Error> {
        let dir = &job.dir;
        let list = freeze::file_list(&self.store, dir, parameters)
            .await
            .map_err(|it| failed(dir, it))?;
        if list.is_empty() {
            return Err(Error::Unusable {
                reason: choose::why_empty(parameters),
            });
        }
        let per_unit = if job.class.is_legacy() {
            // Handed out whole.
            list.len()
        } else {
            let per_unit = self.images_per_unit;
            per_unit.max(list.len().div_ceil(MAX_UNITS)).max(1)
        };
        let units = list.len().div_ceil(per_unit) as u32;
        let first = job.cursor.as_ref().map_or(0, |it| it.at as u32);
        let began = Instant::now();
        for unit in first..units {
            if unit % UNITS_PER_SWAP == 0 {
                let cursor = Cursor {
                    step: "inputs".to_owned(),
                    at: u64::from(unit),
                    of: u64::from(units),
                };
                if !self.progressed(job, cursor).await? {
                    return Ok(());
                }
                if began.elapsed() > self.slice {
                    return hints::send_assemble(&*self.queue, job)
                        .await
                        .map_err(|it| unsent(dir, it));
                }
            }
            let images = list.chunks(per_unit).nth(unit as usize).unwrap_or_default();
            freeze::unit_input(&self.store, dir, unit, images)
                .await
                .map_err(|it| failed(dir, it))?;
        }
        let snapshot = freeze::snapshot(&self.store, job, parameters, units, &list)
            .await
            .map_err(|it| failed(dir, it))?;
        freeze::info(&self.store, job, parameters)
            .await
            .map_err(|it| failed(dir, it))?;
        self.apply(job, JobEvent::Assembled { units, snapshot })
            .await
    }

    /// Shows a sign of life. `false`: the job is not being assembled any more.
    async fn progressed(&self, job: &JobRecord, cursor: Cursor) -> Result<bool, Error> {
        let applied = self
            .store
            .change_job(
                job.kind,
                &job.dir,
                JobEvent::Progressed(cursor),
                self.window,
            )
            .await;
        Ok(matches!(
            applied.map_err(|it| failed(&job.dir, it))?,
            Applied::Changed(..)
        ))
    }

    async fn apply(&self, job: &JobRecord, event: JobEvent) -> Result<(), Error> {
        let applied = self
            .store
            .change_job(job.kind, &job.dir, event, self.window)
            .await;
        if let Applied::Changed(job, effects) = applied.map_err(|it| failed(&job.dir, it))? {
            hints::carry_out(&*self.queue, &job.value, &effects)
                .await
                .map_err(|it| unsent(&job.value.dir, it))?;
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

fn unsent(dir: &Dir, source: cellmill_queue::Error) -> Error {
    Error::Queue {
        dir: dir.clone(),
        source,
    }
}
