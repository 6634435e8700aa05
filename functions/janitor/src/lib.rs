//! The janitor: finds what lost messages and lost processes left behind, and sends it on its way again.
//!
//! `plan` looks, `decide_*` are pure, `perform` acts; a dry run prints the plan. Everything here is
//! idempotent: two janitors at once, or one twice, only send hints that are met by documents which know better.

mod aging;
pub mod erase;
mod images;
mod jobs;
mod load;
pub mod retention;
mod trainings;

use std::sync::Arc;

use cellmill_core::disposition::Disposition;
use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::ids::{Dir, TableName};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::messages::{ASSEMBLE, JobHint, POINTS, UPLOADS};
use cellmill_core::timing::Timing;
use cellmill_queue::{Outgoing, Queue, QueueName, hints};
use cellmill_service::Settings;
use cellmill_store::Store;
use serde::Serialize;

pub use images::{SweepImages, Swept};
pub use jobs::{JobSeen, SweptJobs, UnitSeen, decide_job, decide_silent_unit};
pub use load::{Load, Loads};

/// What the janitor works with.
#[derive(Clone, Debug)]
pub struct Janitor {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    pub timing: Timing,
    /// Units of a job that should be out as hints.
    pub window: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sweeping the store")]
    Store(#[source] cellmill_store::Error),
    #[error("sending what the sweep found")]
    Queue(#[source] cellmill_queue::Error),
}

impl Error {
    /// The next sweep is the retry.
    pub fn disposition(&self) -> Disposition {
        Disposition::retry(self.to_string())
    }
}

/// One thing to do, with the reason for a person who reads a dry run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    #[serde(flatten)]
    pub what: What,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum What {
    /// Send the job to `assemble` again.
    Assemble { kind: JobKind, dir: Dir },
    /// Send the unit, or the job, to `collect` again.
    Collect {
        kind: JobKind,
        dir: Dir,
        unit: Option<u32>,
    },
    /// Send the unit's hint again.
    Hint {
        kind: JobKind,
        dir: Dir,
        unit: u32,
        #[serde(skip)]
        job: Box<JobRecord>,
    },
    /// It waited long enough behind others: let it go before them.
    Raise { kind: JobKind, dir: Dir },
    /// The lease of a legacy job's unit is over: it waits for another worker, or is given up.
    EndLease { kind: JobKind, dir: Dir, unit: u32 },
    /// The mark's job round has ended.
    RemoveMark { key: String },
    /// Send an image to `uploads` again.
    Ingest { key: String },
    /// Send a CSV to `points` again.
    Label { key: String },
    /// Start the periodic training of a label type.
    Train { label_type: TableName },
}

impl Janitor {
    /// The janitor with what the settings say.
    pub fn new(store: Store, queue: Arc<dyn Queue>, settings: &Settings) -> Self {
        Self {
            store,
            queue,
            timing: settings.timing,
            window: settings.window,
        }
    }

    /// The sweep over units, marks and silent jobs.
    pub async fn plan_jobs(&self) -> Result<SweptJobs, Error> {
        jobs::plan(&self.store, self.timing, self.window)
            .await
            .map_err(Error::Store)
    }

    /// Every job that is not ended is looked at once, silent or not: what a process does that starts again
    /// after it may have been killed with messages in its hands.
    pub async fn plan_wake(&self) -> Result<Vec<Action>, Error> {
        jobs::plan_wake(&self.store).await.map_err(Error::Store)
    }

    /// Label types whose training is due, or was asked for.
    pub async fn plan_trainings(&self) -> Result<Vec<Action>, Error> {
        trainings::plan(&self.store).await.map_err(Error::Store)
    }

    /// One slice of the sweep over images and points; `from` is where the last slice ended.
    pub async fn plan_images(&self, sweep: &SweepImages) -> Result<Swept, Error> {
        images::plan(&self.store, sweep).await.map_err(Error::Store)
    }

    /// Carries a plan out.
    pub async fn perform(&self, actions: &[Action]) -> Result<(), Error> {
        for action in actions {
            let what = serde_json::to_string(&action.what).unwrap_or_default();
            tracing::info!(action = what, why = action.why, "janitor acts");
            self.act(&action.what).await?;
        }
        Ok(())
    }

    async fn act(&self, what: &What) -> Result<(), Error> {
        match what {
            What::Assemble { kind, dir } => {
                let hint = serde_json::to_string(&JobHint::new(*kind, dir.clone()))
                    .expect("a hint is plain text");
                self.send(ASSEMBLE, hint).await
            }
            What::Collect { kind, dir, unit } => {
                hints::send_collect_of(&*self.queue, *kind, dir, *unit)
                    .await
                    .map_err(Error::Queue)
            }
            What::Hint { unit, job, .. } => hints::send_units(&*self.queue, job, &[*unit])
                .await
                .map_err(Error::Queue),
            What::Raise { kind, dir } => aging::raise(self, *kind, dir).await,
            What::EndLease { kind, dir, unit } => {
                let (dir, kind, unit) = (dir.clone(), *kind, *unit);
                jobs::end_lease(self, UnitKey { dir, kind, unit }).await
            }
            What::RemoveMark { key } => self.store.delete(key).await.map_err(Error::Store),
            What::Ingest { key } => self.send(UPLOADS, created(key)).await,
            What::Label { key } => self.send(POINTS, created(key)).await,
            What::Train { label_type } => trainings::start(self, label_type).await,
        }
    }

    async fn send(&self, queue: &'static str, body: String) -> Result<(), Error> {
        self.queue
            .send(&QueueName::from_static(queue), &[Outgoing::now(body)])
            .await
            .map_err(Error::Queue)
    }
}

fn created(key: &str) -> String {
    events::print(&ObjectCreated {
        key: key.to_owned(),
        etag: None,
        size: None,
        version_id: None,
        sequencer: None,
    })
}

/// Marks, as far as a sweep reads them.
pub(crate) fn parse_mark(key: &str) -> Option<(JobKind, Dir, u32)> {
    match ObjectKey::parse(key) {
        Ok(Some(ObjectKey::Active { kind, dir, round })) => Some((kind, dir, round)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
