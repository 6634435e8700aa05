//! The job record and its life: `assembling -> queued -> running -> collecting -> done | failed | cancelled`.
//!
//! Every change is a pure function of the record and an event. Whoever swaps the record sends the hints
//! that the change asks for, afterwards (DESIGN 4, 5).

mod life;
mod parameters;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bitmap::Bitmap;
use crate::document::Stamp;
use crate::formats::ProjectKeys;
use crate::ids::Dir;
use crate::impl_document;
use crate::keys::JobKind;
use crate::messages::UnitClass;

pub use life::{DEFAULT_WINDOW, Effects, JobEvent, NotAllowed};
pub use parameters::{DataParameters, DataType, JobParameters};

/// `datasets/<dir>/data.json`, `projects/<dir>/train.json` and their like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub kind: JobKind,
    pub dir: Dir,
    /// The counted number of the data set or project.
    pub number: u64,
    #[serde(default)]
    pub description: String,
    pub parameters: JobParameters,
    pub state: JobState,
    /// Grows with every retry.
    #[serde(default)]
    pub round: u32,
    /// Which workers serve its units.
    pub class: UnitClass,
    #[serde(default)]
    pub units: Units,
    #[serde(default)]
    pub wishes: Wishes,
    /// How far assembling or collecting came; a swap of it is a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// The hash of the frozen input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Of a prediction: the list of its classes, as legacy readers want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// What else is to be said about the result: figures, counts, what was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub by: String,
    pub times: Times,
    /// Since when what its units left beside the result is being removed, or is gone: it can't be retried any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<DateTime<Utc>>,
    /// Since when its result is being erased with a case, or is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<DateTime<Utc>>,
    /// The last [`JobRecord::MAX_HISTORY`] changes, oldest first.
    #[serde(default)]
    pub history: Vec<Change>,
    /// Of a project: the keys that readers of the legacy `train.json` and `predict.json` look for.
    #[serde(flatten)]
    pub project: Option<ProjectKeys>,
}

impl_document!(JobRecord);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Assembling,
    Queued,
    Running,
    Collecting,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// `queued`: as it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assembling => "assembling",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Collecting => "collecting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The predecessor's numbers: 0 init, 1 ready, 2 processing, 3 error, 4 done (FORMATS A.3).
    pub const fn legacy_status(self) -> u8 {
        match self {
            Self::Assembling => 0,
            Self::Queued => 1,
            Self::Running | Self::Collecting => 2,
            Self::Failed | Self::Cancelled => 3,
            Self::Done => 4,
        }
    }
}

/// Units of a job and which of them ended, in this round or an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    pub count: u32,
    #[serde(default)]
    pub done: Bitmap,
    #[serde(default)]
    pub failed: Bitmap,
}

impl Units {
    pub fn is_ended(&self, unit: u32) -> bool {
        self.done.contains(unit) || self.failed.contains(unit)
    }

    pub fn n_ended(&self) -> u32 {
        self.done.len() + self.failed.len()
    }

    pub fn all_ended(&self) -> bool {
        self.n_ended() >= self.count
    }

    /// The lowest `size` numbers that are not ended: those that should be out as hints.
    pub fn window(&self, size: usize) -> Vec<u32> {
        (0..self.count)
            .filter(|&unit| !self.is_ended(unit))
            .take(size)
            .collect()
    }
}

/// What people want of a running job. They live in the job only; units look them up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    #[serde(default)]
    pub cancel: bool,
    #[serde(default)]
    pub stop: bool,
    #[serde(default)]
    pub urgent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What is being done: `inputs`, `cells`, ...
    pub step: String,
    /// How many pieces of it are done.
    pub at: u64,
    pub of: u64,
}

/// When the job changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub created: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collecting: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

/// One line of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: DateTime<Utc>,
    pub what: String,
}

impl JobRecord {
    pub const MAX_HISTORY: usize = 50;

    /// A job as it is accepted.
    pub fn accepted(
        dir: Dir,
        number: u64,
        parameters: JobParameters,
        class: UnitClass,
        by: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            stamp: Stamp::default(),
            kind: parameters.kind(),
            dir,
            number,
            description: String::new(),
            parameters,
            state: JobState::Assembling,
            round: 0,
            class,
            units: Units::default(),
            wishes: Wishes::default(),
            cursor: None,
            snapshot: None,
            result: None,
            report: None,
            error: None,
            times: Times {
                created: now,
                queued: None,
                started: None,
                collecting: None,
                ended: None,
            },
            cleared: None,
            erased: None,
            history: vec![Change {
                at: now,
                what: format!("accepted from {by}"),
            }],
            by,
            project: None,
        }
    }

    /// Percent for people: 0 to 99 until done, by ended units; 100 only when done.
    pub fn percent(&self) -> u8 {
        match self.state {
            JobState::Done => 100,
            JobState::Collecting => 99,
            _ if self.units.count == 0 => 0,
            _ => (u64::from(self.units.done.len()) * 99 / u64::from(self.units.count)) as u8,
        }
    }
}
