//! Erasing a case: a patient's photographs and everything that was made of them.
//!
//! `look` finds what there is, [`decide`] says whether it may be removed and what goes along, `perform` removes it. A
//! tombstone is written before anything is removed, and what leads to other things goes after them, so that whoever
//! comes after a crash finds the rest by the same look.
//!
//! A data set holds cells of many cases, in packs and tables named by their content: one case can't be taken out of it
//! and leave it what its name says. So it goes whole, with the projects that stand on it, and only when that is asked
//! for. A model keeps what it learned; it is named, and a person decides.

mod carry_out;
mod look;

use std::collections::BTreeSet;

use cellmill_core::erase::{Case, ErasedCounts, Erasure};
use cellmill_core::ids::{Dir, UlidText};
use cellmill_core::job::JobState;
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_store::Listed;
use chrono::{DateTime, Utc};
use serde::Serialize;

pub use carry_out::{EraseCase, Error};
pub use look::look;

/// An object that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    pub key: String,
    pub bytes: u64,
}

impl From<Listed> for Found {
    fn from(listed: Listed) -> Self {
        Self {
            key: listed.key,
            bytes: listed.size,
        }
    }
}

/// A job whose input or result holds cells of the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSeen {
    pub kind: JobKind,
    pub dir: Dir,
    pub state: JobState,
    /// Its record says that it is erased.
    pub is_erased: bool,
    /// The number of the model that it made.
    pub mid: Option<u64>,
}

impl JobSeen {
    /// As people name it.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.dir)
    }
}

/// Everything there is of a case.
#[derive(Clone, Debug, Default)]
pub struct CaseSeen {
    /// Everything in its own folders.
    pub own: Vec<Found>,
    /// Thumbnails that no image of another case has.
    pub cached: Vec<Found>,
    /// Unfinished uploads, with their keys.
    pub uploads: Vec<(UlidText, Vec<Found>)>,
    /// Data sets that contain it, and projects that stand on those.
    pub jobs: Vec<JobSeen>,
    /// What lies in their folders, but for the jobs' records.
    pub of_jobs: Vec<Found>,
    /// Files of the models that those projects made.
    pub models: Vec<String>,
    /// That it was erased before, or begun to be.
    pub tombstone: Option<Erasure>,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub case: Case,
    pub counts: ErasedCounts,
    pub own: Vec<Found>,
    pub cached: Vec<Found>,
    pub uploads: Vec<(UlidText, Vec<Found>)>,
    /// Jobs whose records are marked.
    pub jobs: Vec<(JobKind, Dir)>,
    pub of_jobs: Vec<Found>,
    pub datasets: Vec<Dir>,
    pub projects: Vec<Dir>,
    /// Models that learned from the case. They stay.
    pub models: Vec<String>,
}

impl Plan {
    /// Is there nothing left to do?
    pub fn is_empty(&self) -> bool {
        self.counts.n_objects == 0 && self.jobs.is_empty()
    }
}

/// Why a case is not erased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is nothing of case {case}{}", said_of(erased.as_ref()))]
    Unknown {
        case: Case,
        /// When it was erased, and by whom.
        erased: Option<(DateTime<Utc>, String)>,
    },
    #[error("case {case} is worked on by {}", jobs.join(", "))]
    Active { case: Case, jobs: Vec<String> },
    #[error(
        "case {case} is in data sets ({}){}, which would go with it",
        names(datasets),
        if projects.is_empty() { String::new() } else { format!(" and projects ({})", names(projects)) }
    )]
    InDatasets {
        case: Case,
        datasets: Vec<Dir>,
        projects: Vec<Dir>,
    },
}

impl Refusal {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown {
                erased: Some(_), ..
            } => "nothing of it has come since, so there is nothing to do",
            Self::Unknown { .. } => {
                "a case is named by its batch and its own name, as under img/<batch>/<case>/"
            }
            Self::Active { .. } => "wait for them, or cancel them: `cellmill jobs cancel`",
            Self::InDatasets { .. } => {
                "`--with-datasets` removes those data sets and projects whole; models that learned from them stay"
            }
        }
    }
}

fn said_of(erased: Option<&(DateTime<Utc>, String)>) -> String {
    erased.map_or(String::new(), |(at, by)| {
        format!(": {by} erased it at {}", at.format("%Y-%m-%dT%H:%M:%SZ"))
    })
}

fn names(dirs: &[Dir]) -> String {
    let names: Vec<&str> = dirs.iter().map(Dir::as_str).collect();
    names.join(", ")
}

/// What is removed of a case, or why nothing is.
///
/// What was begun is ended, with the data sets that it was begun with.
pub fn decide(case: &Case, seen: CaseSeen, with_datasets: bool) -> Result<Plan, Refusal> {
    let case = case.clone();
    let active = seen.jobs.iter().filter(|it| !it.state.is_ended());
    let active: Vec<String> = active.map(JobSeen::name).collect();
    if !active.is_empty() {
        return Err(Refusal::Active { case, jobs: active });
    }
    let open: Vec<&JobSeen> = seen.jobs.iter().filter(|it| !it.is_erased).collect();
    let begun = seen.tombstone.as_ref().filter(|it| it.ended.is_none());
    let was_with_datasets = begun.is_some_and(|it| !it.datasets.is_empty());
    let (mut datasets, mut projects) = (BTreeSet::new(), BTreeSet::new());
    for it in &open {
        let of_kind = if it.kind == JobKind::Data {
            &mut datasets
        } else {
            &mut projects
        };
        of_kind.insert(it.dir.clone());
    }
    if !open.is_empty() && !with_datasets && !was_with_datasets {
        return Err(Refusal::InDatasets {
            case,
            datasets: datasets.into_iter().collect(),
            projects: projects.into_iter().collect(),
        });
    }
    let counts = counts_of(&seen);
    if counts.n_objects == 0 && open.is_empty() && begun.is_none() {
        let erased = seen.tombstone.and_then(|it| it.ended.map(|at| (at, it.by)));
        return Err(Refusal::Unknown { case, erased });
    }
    let jobs = open.iter().map(|it| (it.kind, it.dir.clone())).collect();
    if let Some(begun) = begun {
        datasets.extend(begun.datasets.iter().cloned());
        projects.extend(begun.projects.iter().cloned());
    }
    Ok(Plan {
        case,
        counts,
        jobs,
        datasets: datasets.into_iter().collect(),
        projects: projects.into_iter().collect(),
        own: seen.own,
        cached: seen.cached,
        uploads: seen.uploads,
        of_jobs: seen.of_jobs,
        models: seen.models,
    })
}

fn counts_of(seen: &CaseSeen) -> ErasedCounts {
    let uploads = seen.uploads.iter().flat_map(|(_, found)| found);
    let all = seen.own.iter().chain(&seen.cached).chain(&seen.of_jobs);
    let mut counts = ErasedCounts::default();
    for found in all.chain(uploads) {
        counts.n_objects += 1;
        counts.bytes += found.bytes;
        if let Ok(Some(ObjectKey::Image(_))) = ObjectKey::parse(&found.key) {
            counts.n_images += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests;
