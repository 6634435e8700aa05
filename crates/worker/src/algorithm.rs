//! What an algorithm is to the frame.

use async_trait::async_trait;
use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, UnitKey};
use cellmill_core::unit::Output;

use crate::{Cause, Context};

/// Turns the input of a unit into outputs.
///
/// Duties: outputs are a pure function of the unit's frozen input; [`Context::should_stop`] is looked at
/// every few seconds; a single bad input is [`rejected`](Context::rejected), not a failed unit. One that works for
/// many minutes leaves [checkpoints](Context::write_checkpoint) and goes on from [those that are there](Unit::checkpoints);
/// a training looks at [`Context::should_finish`] too.
#[async_trait]
pub trait Algorithm: Send + Sync {
    /// The kinds of jobs whose units it works on.
    fn kinds(&self) -> &[JobKind];

    /// Does it compute between its awaits? Then it gets a thread of its own, and the heartbeat goes on beside it. One
    /// that only waits, for a child process or for storage, says no and is spared the thread.
    fn computes(&self) -> bool {
        true
    }

    /// Does it need the device, which a training has for hours? While one runs, no other unit is claimed that would only
    /// wait for it.
    fn needs_device(&self) -> bool {
        false
    }

    /// Works on one unit. The future is dropped at an await when the unit is cancelled or lost.
    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure>;
}

/// The piece of a job that one worker holds.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Which one.
    pub key: UnitKey,
    /// The fence: part of the path of its outputs.
    pub attempt: u32,
    /// The job as it was when the unit was claimed, with its parameters.
    pub job: JobRecord,
    /// Where earlier attempts say that this one may go on, oldest first.
    pub checkpoints: Vec<Checkpoint>,
}

/// What a finished unit leaves; the commit names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// As [`Context::write_output`] and [`Context::write_shared`] gave them.
    pub outputs: Vec<Output>,
}

/// How a unit ended without an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another attempt may succeed: a full disk, a storage that does not answer.
    #[error("{what}")]
    Temporary {
        /// What could not be done.
        what: String,
        /// Why.
        #[source]
        source: Option<Cause>,
    },
    /// No attempt can succeed: bad settings, a missing model. Ends the unit at once.
    #[error("{what}")]
    Permanent {
        /// What could not be done.
        what: String,
        /// Why.
        #[source]
        source: Option<Cause>,
    },
    /// It was asked to stop, and did.
    #[error("the unit was stopped")]
    Stopped,
    /// A person wants the best so far ([`Context::should_finish`]), and there is nothing yet: the job ends as cancelled.
    #[error("stopped before there was anything to keep")]
    NothingToKeep,
}

impl Failure {
    /// A [`Failure::Temporary`] with its cause.
    pub fn temporary(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Temporary {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// A [`Failure::Permanent`] with its cause.
    pub fn permanent(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Permanent {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// The failure that a storage error is, in the middle of doing `what`. Only what no repetition can heal
    /// is permanent: a missing object may be on its way, and three attempts end a unit anyway.
    pub fn of_store(what: impl Into<String>, error: cellmill_store::Error) -> Self {
        use cellmill_store::Error as Store;
        match error {
            Store::Malformed { .. } | Store::Unwritable { .. } | Store::BadKey { .. } => {
                Self::permanent(what, error)
            }
            _ => Self::temporary(what, error),
        }
    }
}
