//! How a job is accepted: number, mark, record, message, in this order (DESIGN 5.1).
//!
//! The job is accepted once its record is durable. What is written before and never followed by a record
//! is harmless: a number without a job is a gap that lists skip, a mark without one is removed after an
//! hour. What is lost afterwards is found: the janitor takes up jobs that stay silent.

use cellmill_core::document::Stamp;
use cellmill_core::ids::Dir;
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{JobKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::{ActiveMark, NumberRecord};
use cellmill_queue::{Queue, hints};
use cellmill_store::{Created, Store};
use futures::TryStreamExt as _;
use rand::Rng as _;
use serde_json::json;

use crate::audit;

/// A job that somebody wants. Its parameters were checked by whoever submits it.
#[derive(Clone, Debug)]
pub struct Submission {
    pub parameters: JobParameters,
    pub description: String,
    /// `None`: one is made up.
    pub dir: Option<Dir>,
    /// Which workers serve its units.
    pub class: UnitClass,
    /// Who wants it.
    pub by: String,
}

/// Why a job is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The directory holds a job of this kind already.
    #[error("directory `{dir}` has a {} job already", kind.as_str())]
    Taken {
        /// What it does.
        kind: JobKind,
        /// As asked for.
        dir: Dir,
    },
    /// Storage did not do what was asked. The job may have been accepted or not.
    #[error("storage could not accept the job")]
    Store(#[source] cellmill_store::Error),
}

impl From<cellmill_store::Error> for AcceptError {
    fn from(error: cellmill_store::Error) -> Self {
        Self::Store(error)
    }
}

/// What is counted for jobs of a kind.
pub const fn number_kind(kind: JobKind) -> NumberKind {
    match kind {
        JobKind::Data => NumberKind::Datasets,
        JobKind::Train | JobKind::Predict | JobKind::Segment | JobKind::Index => {
            NumberKind::Projects
        }
    }
}

/// Accepts a job and sends it to be assembled.
pub async fn accept(
    store: &Store,
    queue: &dyn Queue,
    submission: Submission,
) -> Result<JobRecord, AcceptError> {
    let kind = submission.parameters.kind();
    let dir = match submission.dir.clone() {
        Some(dir) => dir,
        None => made_up_dir(),
    };
    let key = ObjectKey::job(kind, &dir);
    // The create below decides; asked here, a taken directory costs no number.
    if store.head(&key).await?.is_some() {
        return Err(AcceptError::Taken { kind, dir });
    }
    let number = take_number(store, number_kind(kind), &dir, &submission).await?;
    mark_active(store, kind, &dir, 0).await?;
    let Submission {
        parameters,
        description,
        class,
        by,
        ..
    } = submission;
    let mut job = JobRecord::accepted(dir.clone(), number, parameters, class, by, store.now());
    job.description = description;
    let Created::Won(stored) = store.create(&key, job).await? else {
        return Err(AcceptError::Taken { kind, dir });
    };
    let job = stored.value;
    if let Err(error) = hints::send_assemble(queue, &job).await {
        tracing::error!(%dir, "send the job to be assembled: {}", cellmill_service::report(&error));
    }
    let action = format!("{}.create", kind.as_str());
    let details = json!({ "number": number });
    audit::record_done(store, &job.by, &action, &key.to_path(), details).await;
    Ok(job)
}

/// Writes the mark of a job's round, before anything else shows that the round exists.
pub async fn mark_active(
    store: &Store,
    kind: JobKind,
    dir: &Dir,
    round: u32,
) -> Result<(), cellmill_store::Error> {
    let key = ObjectKey::Active {
        kind,
        dir: dir.clone(),
        round,
    };
    let mark = ActiveMark {
        stamp: Stamp::default(),
        at: store.now(),
    };
    store.create(&key, mark).await?;
    Ok(())
}

/// Takes the next number: whoever creates its record first has it.
async fn take_number(
    store: &Store,
    kind: NumberKind,
    dir: &Dir,
    submission: &Submission,
) -> Result<u64, cellmill_store::Error> {
    let mut number = last_number(store, kind)
        .await?
        .map_or(kind.first(), |last| (last + 1).max(kind.first()));
    loop {
        let record = NumberRecord {
            stamp: Stamp::default(),
            number,
            dir: dir.to_string(),
            description: submission.description.clone(),
            by: submission.by.clone(),
            at: store.now(),
        };
        let created = store
            .create(&ObjectKey::Number(kind, number), record)
            .await?;
        if created.is_ours() {
            return Ok(number);
        }
        number += 1;
    }
}

async fn last_number(
    store: &Store,
    kind: NumberKind,
) -> Result<Option<u64>, cellmill_store::Error> {
    // Numbers are padded, so the last key is the highest number.
    let last = store
        .list(&Prefix::Numbers(kind).to_path())
        .try_fold(None, |last, it| async move {
            Ok(match ObjectKey::parse(&it.key) {
                Ok(Some(ObjectKey::Number(_, number))) => last.max(Some(number)),
                _ => last,
            })
        });
    last.await
}

/// Eight letters or digits, as the lab's own directories look.
fn made_up_dir() -> Dir {
    let text: String = rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(8)
        .map(char::from)
        .collect();
    Dir::parse(&text).expect("letters and digits make a directory")
}
