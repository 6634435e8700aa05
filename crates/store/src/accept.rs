//! How a job is accepted: number, mark, record, in this order (DESIGN 5.1); the message is the caller's.
//!
//! The job is accepted once its record is durable. What is written before and never followed by a record
//! is harmless: a number without a job is a gap that lists skip, a mark without one is removed after an
//! hour. What is lost afterwards is found: the janitor takes up jobs that stay silent.

use cellmill_core::document::Stamp;
use cellmill_core::formats::ProjectKeys;
use cellmill_core::ids::Dir;
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{JobKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::{ActiveMark, NumberRecord};
use futures::TryStreamExt as _;
use ulid::Ulid;

use crate::{Created, Error, Store};

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
    /// Of a project: what legacy readers of its record look for. Its number is filled in.
    pub project: Option<ProjectKeys>,
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
    Store(#[source] Error),
}

impl From<Error> for AcceptError {
    fn from(error: Error) -> Self {
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

impl Store {
    /// Accepts a job. The caller sends it to be assembled.
    pub async fn accept_job(&self, submission: Submission) -> Result<JobRecord, AcceptError> {
        let kind = submission.parameters.kind();
        let dir = match submission.dir.clone() {
            Some(dir) => dir,
            None => made_up_dir(),
        };
        let key = ObjectKey::job(kind, &dir);
        // The create below decides; asked here, a taken directory costs no number.
        if self.head(&key).await?.is_some() {
            return Err(AcceptError::Taken { kind, dir });
        }
        let Submission {
            parameters,
            description,
            class,
            by,
            project,
            ..
        } = submission;
        let number = self
            .take_number(number_kind(kind), dir.as_str(), &description, &by)
            .await?;
        self.mark_active(kind, &dir, 0).await?;
        let mut job = JobRecord::accepted(dir.clone(), number, parameters, class, by, self.now());
        job.description = description;
        job.project = project.map(|it| ProjectKeys { id: number, ..it });
        match self.create(&key, job).await? {
            Created::Won(stored) => Ok(stored.value),
            Created::Exists(_) => Err(AcceptError::Taken { kind, dir }),
        }
    }

    /// Writes the mark of a job's round, before anything else shows that the round exists.
    pub async fn mark_active(&self, kind: JobKind, dir: &Dir, round: u32) -> Result<(), Error> {
        let key = ObjectKey::Active {
            kind,
            dir: dir.clone(),
            round,
        };
        let mark = ActiveMark {
            stamp: Stamp::default(),
            at: self.now(),
        };
        self.create(&key, mark).await?;
        Ok(())
    }

    /// Takes the next number: whoever creates its record first has it. `dir` is the directory that it stands for.
    pub async fn take_number(
        &self,
        kind: NumberKind,
        dir: &str,
        description: &str,
        by: &str,
    ) -> Result<u64, Error> {
        let mut number = self
            .last_number(kind)
            .await?
            .map_or(kind.first(), |last| (last + 1).max(kind.first()));
        loop {
            let record = NumberRecord {
                stamp: Stamp::default(),
                number,
                dir: dir.to_owned(),
                description: description.to_owned(),
                by: by.to_owned(),
                at: self.now(),
            };
            let created = self
                .create(&ObjectKey::Number(kind, number), record)
                .await?;
            if created.is_ours() {
                return Ok(number);
            }
            number += 1;
        }
    }

    async fn last_number(&self, kind: NumberKind) -> Result<Option<u64>, Error> {
        // Numbers are padded, so the last key is the highest number.
        let last =
            self.list(&Prefix::Numbers(kind).to_path())
                .try_fold(None, |last, it| async move {
                    Ok(match ObjectKey::parse(&it.key) {
                        Ok(Some(ObjectKey::Number(_, number))) => last.max(Some(number)),
                        _ => last,
                    })
                });
        last.await
    }
}

/// Eight letters or digits, as the lab's own directories look: 40 random bits.
pub fn made_up_dir() -> Dir {
    // The last characters of a ULID are its random part.
    let text = Ulid::generate().to_string();
    Dir::parse(&text[text.len() - 8..]).expect("letters and digits make a directory")
}
