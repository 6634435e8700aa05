//! What is to happen in one schedule: a list drawn from a seed, whose items can be left out one by one.

use std::time::Duration;

use cellmill_core::job::JobState;
use cellmill_store::fault::Kind;
use serde::Serialize;

/// Everything that a schedule is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub home: Home,
    /// Images of each data set; one unit each.
    pub jobs: Vec<u32>,
    /// Is a prediction submitted that waits for the first data set?
    pub predicts: bool,
    /// Is a training submitted that waits for the first data set?
    pub trains: bool,
    /// Does the last data set come only when the training runs?
    pub is_late: bool,
    pub window: usize,
    pub items: Vec<Item>,
}

/// Whose clock makes the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Home {
    /// The bucket's: whole seconds, told by every answer.
    Bucket,
    /// The folder's machine: one clock for all.
    Folder,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// To the n-th call of a kind that a machine makes.
    Call {
        machine: usize,
        of: Of,
        nth: u32,
        moment: Moment,
        deed: Deed,
    },
    /// To the n-th message that anybody sends into such a queue.
    Message { of: Lane, nth: u32, fate: Fate },
    /// No message of a kind arrives before the calm.
    Silence { of: Lane },
    /// A machine's process is killed, or stands still for so long.
    Hit {
        machine: usize,
        job: usize,
        when: When,
        freeze: Option<Duration>,
    },
    /// A worker is asked to end.
    Term { machine: usize, at: Duration },
    /// A person wants something.
    User { job: usize, when: When, verb: Verb },
    /// The algorithm fails on a unit this often in each round it is in.
    Failing {
        job: usize,
        unit: u32,
        times: u32,
        is_permanent: bool,
        /// In later rounds it works.
        is_healed_by_retry: bool,
    },
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Any,
    /// Writes of job records.
    JobWrite,
    /// Writes of unit records.
    UnitWrite,
    /// Writes of anything else.
    FileWrite,
    Read,
    Queue,
}

impl Of {
    pub const ALL: [Self; 6] = [
        Self::Any,
        Self::JobWrite,
        Self::UnitWrite,
        Self::FileWrite,
        Self::Read,
        Self::Queue,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing happened.
    Before,
    /// It happened, and nobody was told.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The caller gets an error.
    Fail(Kind),
    /// The caller gets an error, and the write is done so much later.
    Late(Duration),
    /// The call takes so long.
    Slow(Duration),
    /// The whole process stands still for so long.
    Freeze(Duration),
    /// The process is gone, and another one starts later.
    Crash,
    /// As a crash, but the write is on its way and is done so much later.
    LastWrite(Duration),
}

/// The queues by what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Units,
    Assemble,
    Collect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    /// It comes twice, the second time so much later.
    Twice(Duration),
    Late(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(Duration),
    /// So long after the job was first in this state.
    Reached(JobState, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verb {
    Cancel,
    Stop,
    Raise,
    Retry,
    Look,
}

impl Verb {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Raise => "raise",
            Self::Retry => "retry",
            Self::Look => "look",
        }
    }
}

/// Machines by number: the workers, then those of the functions and of the api.
pub const WORKERS: usize = 3;
pub const ASSEMBLERS: [usize; 2] = [3, 4];
pub const COLLECTORS: [usize; 2] = [5, 6];
pub const JANITORS: [usize; 2] = [7, 8];
pub const API: usize = 9;
pub const MACHINES: usize = 10;

impl Item {
    /// The job that it is about.
    pub fn job(&self) -> Option<usize> {
        match self {
            Self::User { job, .. } | Self::Hit { job, .. } | Self::Failing { job, .. } => {
                Some(*job)
            }
            _ => None,
        }
    }
}
