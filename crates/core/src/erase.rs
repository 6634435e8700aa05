//! The erasure of a case: the record of it, and which jobs it reaches.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::Stamp;
use crate::ids::{BatchId, CaseId, Dir, UlidText};
use crate::impl_document;
use crate::job::{DataParameters, JobRecord, JobState};
use crate::keys::{CsvKey, ImageKey, ObjectKey};

/// One patient's slides in one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    pub batch: BatchId,
    pub case: CaseId,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.batch, self.case)
    }
}

impl Case {
    /// Is it the case of this image?
    pub fn has_image(&self, key: &ImageKey) -> bool {
        (&self.batch, &self.case) == (&key.batch, &key.case)
    }

    /// Is it the case of these points?
    pub fn has_points(&self, key: &CsvKey) -> bool {
        (&self.batch, &self.case) == (&key.batch, &key.case)
    }

    /// Is this the key of one of its images?
    pub fn has_image_key(&self, key: &str) -> bool {
        matches!(ObjectKey::parse(key), Ok(Some(ObjectKey::Image(key))) if self.has_image(&key))
    }

    /// Would a data set with these parameters take it? What was frozen knows better.
    pub fn is_chosen_by(&self, parameters: &DataParameters) -> bool {
        parameters.batches.contains(&self.batch)
            && (parameters.cases.is_empty() || parameters.cases.contains(&self.case))
    }
}

/// `erased/<batch>/<case>.json`: written before anything is removed, so that whoever comes after a crash finishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    #[serde(flatten)]
    pub stamp: Stamp,
    #[serde(flatten)]
    pub case: Case,
    pub by: String,
    pub begun: DateTime<Utc>,
    /// The id of its entry in the audit trail, so that there is one however often it is begun.
    pub audit: UlidText,
    /// What there was when it was begun.
    pub counts: ErasedCounts,
    /// Data sets and projects that go with it.
    pub datasets: Vec<Dir>,
    pub projects: Vec<Dir>,
    /// Models that learned from it, which stay.
    pub models: Vec<String>,
    /// When nothing was left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
}

impl_document!(Erasure);

/// How much is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedCounts {
    /// Photographs among the objects.
    pub n_images: u64,
    pub n_objects: u64,
    pub bytes: u64,
}

impl JobRecord {
    /// The record of a job whose result is erased with a case. `None`: it has not ended, or says so already.
    ///
    /// It counts as failed, so that nobody looks for its result, and can't be retried. What it said of its result goes.
    pub fn erase(&self, case: &Case, by: &str, now: DateTime<Utc>) -> Option<Self> {
        if !self.state.is_ended() || self.erased.is_some() {
            return None;
        }
        let mut next = self.clone();
        if next.state == JobState::Done {
            next.state = JobState::Failed;
        }
        next.erased = Some(now);
        next.cleared.get_or_insert(now);
        next.result = None;
        next.report = None;
        let what = format!("its result was erased with case {case} by {by}");
        next.error = Some(what.clone());
        next.note(now, what);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobEvent, JobParameters};
    use crate::messages::UnitClass;

    fn case(batch: &str, case: &str) -> Case {
        Case {
            batch: BatchId::parse(batch).unwrap(),
            case: CaseId::parse(case).unwrap(),
        }
    }

    fn parameters(batches: &[&str], cases: &[&str]) -> DataParameters {
        DataParameters {
            batches: batches
                .iter()
                .map(|it| BatchId::parse(it).unwrap())
                .collect(),
            cases: cases.iter().map(|it| CaseId::parse(it).unwrap()).collect(),
            ..DataParameters::default()
        }
    }

    #[test]
    fn a_data_set_of_whole_batches_takes_every_case_of_them() {
        let it = case("b", "c");
        for (batches, cases, want) in [
            (&["b"][..], &[][..], true),
            (&["a", "b"], &["d", "c"], true),
            (&["b"], &["d"], false),
            (&["a"], &["c"], false),
        ] {
            assert_eq!(
                it.is_chosen_by(&parameters(batches, cases)),
                want,
                "{batches:?} {cases:?}"
            );
        }
        assert!(it.has_image_key("img/b/c/Images/x.jpg"));
        assert!(it.has_image_key("scratch/img/b/c/Images/x.jpg"));
        assert!(!it.has_image_key("img/b/cc/Images/x.jpg"));
        assert!(!it.has_image_key("labels/img/b/c/Images/x.jpg.label"));
    }

    #[test]
    fn an_erased_job_has_no_result_and_no_way_back() {
        let now = DateTime::UNIX_EPOCH;
        let job = JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            1,
            JobParameters::Data(parameters(&["b"], &[])),
            UnitClass::cpu(),
            "me".to_owned(),
            now,
        );
        assert_eq!(job.erase(&case("b", "c"), "me", now), None, "it runs");
        let mut done = job;
        done.state = JobState::Done;
        done.result = Some(serde_json::json!({ "rows": 1 }));
        let erased = done.erase(&case("b", "c"), "me", now).unwrap();
        assert_eq!((erased.state, &erased.result), (JobState::Failed, &None));
        assert!(erased.error.as_deref().unwrap().contains("case b/c by me"));
        let retry = JobEvent::Retried {
            by: "me".to_owned(),
        };
        assert!(erased.apply(retry, 2, now).is_err());
        assert_eq!(erased.erase(&case("b", "c"), "me", now), None, "once");
    }
}
