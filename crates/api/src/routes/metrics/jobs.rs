//! Jobs and their units, as one look after the other sees them.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::load::{self, Load, Loads};
use cellmill_core::timing::Timing;
use cellmill_store::Store;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::edge::Error;
use crate::routes::documents::READS_AT_ONCE;
use crate::routes::job_view::seconds_between;
use crate::routes::jobs::{COUNTED, Counted, job_of_number, numbers};
use crate::routes::waiting::{marked, read_jobs};

/// How many there are of each kind and state.
pub(super) type ByState = BTreeMap<(JobKind, &'static str), u64>;

/// What a look found.
#[derive(Clone, Debug, Default)]
pub(super) struct JobsSeen {
    /// Those that are not ended.
    pub(super) open: ByState,
    /// Those that ended since the first look.
    pub(super) ended: ByState,
    pub(super) loads: Loads,
    pub(super) oldest_waiting_s: BTreeMap<String, u64>,
}

/// What is remembered from look to look, so that ended jobs are counted once and without reading all that there are.
#[derive(Debug, Default)]
pub(super) struct JobsWatch {
    /// The highest number of each kind that was seen; empty before the first look.
    last: BTreeMap<NumberKind, u64>,
    /// Jobs that were not ended.
    open: BTreeSet<(JobKind, Dir)>,
    /// Rounds whose end was counted while their mark is still there.
    counted: BTreeSet<(JobKind, Dir, u32)>,
    ended: ByState,
}

impl JobsWatch {
    pub(super) async fn look(
        &mut self,
        store: &Store,
        now: DateTime<Utc>,
        timing: Timing,
    ) -> Result<JobsSeen, Error> {
        let is_first = self.last.is_empty();
        let marked = marked(store).await?;
        let (last, new) = self.new_jobs(store).await?;
        let mut keys: BTreeSet<(JobKind, Dir)> = &self.open | &marked;
        for job in &new {
            keys.remove(&(job.kind, job.dir.clone()));
        }
        let mut jobs = read_jobs(store, keys).await?;
        jobs.extend(new);
        let seen = units_of(store, &jobs, now, timing).await?;
        // Only now, when everything was read: a look that failed is repeated as a whole.
        self.last = last;
        Ok(self.note(seen, &jobs, &marked, is_first))
    }

    /// Counts what ended, and remembers what has not.
    fn note(
        &mut self,
        mut seen: JobsSeen,
        jobs: &[JobRecord],
        marked: &BTreeSet<(JobKind, Dir)>,
        is_first: bool,
    ) -> JobsSeen {
        self.open.clear();
        let before = std::mem::take(&mut self.counted);
        for job in jobs {
            let key = (job.kind, job.dir.clone());
            let counted = (job.kind, job.dir.clone(), job.round);
            let by_state = (job.kind, job.state.as_str());
            if !job.state.is_ended() {
                *seen.open.entry(by_state).or_default() += 1;
                self.open.insert(key);
                continue;
            }
            if !is_first && !before.contains(&counted) {
                *self.ended.entry(by_state).or_default() += 1;
            }
            if marked.contains(&key) {
                self.counted.insert(counted);
            }
        }
        seen.ended.clone_from(&self.ended);
        seen
    }

    /// The highest numbers now, and the jobs whose numbers came since the look before; none at the first.
    async fn new_jobs(
        &self,
        store: &Store,
    ) -> Result<(BTreeMap<NumberKind, u64>, Vec<JobRecord>), Error> {
        let mut last = BTreeMap::new();
        let mut new = Vec::new();
        for (number_kind, kinds) in COUNTED {
            let Some(&before) = self.last.get(&number_kind) else {
                let highest = numbers(store, number_kind).await?;
                last.insert(number_kind, highest.first().copied().unwrap_or(0));
                continue;
            };
            let numbers = numbers_after(store, number_kind, before).await?;
            last.insert(number_kind, numbers.last().copied().unwrap_or(before));
            for number in numbers {
                for kind in kinds {
                    let job = job_of_number(store, Counted::new(*kind, number)).await?;
                    new.extend(job.map(|it| it.value));
                }
            }
        }
        Ok((last, new))
    }
}

/// The numbers that were given since, the newest last.
async fn numbers_after(store: &Store, kind: NumberKind, last: u64) -> Result<Vec<u64>, Error> {
    let prefix = Prefix::Numbers(kind).to_path();
    let listed = store.list_from(&prefix, &ObjectKey::Number(kind, last).to_path());
    let listed: Vec<_> = listed.try_collect().await?;
    let numbers = listed
        .iter()
        .filter_map(|it| match ObjectKey::parse(&it.key) {
            Ok(Some(ObjectKey::Number(_, number))) if number > last => Some(number),
            _ => None,
        });
    Ok(numbers.collect())
}

/// Loads and ages by class.
async fn units_of(
    store: &Store,
    jobs: &[JobRecord],
    now: DateTime<Utc>,
    timing: Timing,
) -> Result<JobsSeen, Error> {
    let loads: Vec<Option<Load>> = stream::iter(0..jobs.len())
        .map(|at| load_of(store, &jobs[at], now, timing))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut seen = JobsSeen::default();
    for (job, of_job) in jobs.iter().zip(loads) {
        let Some(of_job) = of_job else { continue };
        load::add(&mut seen.loads, job, of_job);
        if of_job.waiting > 0 {
            let released = job.times.queued.unwrap_or(job.times.created);
            let class = job.class.as_str().to_owned();
            let oldest = seen.oldest_waiting_s.entry(class).or_default();
            *oldest = (*oldest).max(seconds_between(released, now));
        }
    }
    Ok(seen)
}

async fn load_of(
    store: &Store,
    job: &JobRecord,
    now: DateTime<Utc>,
    timing: Timing,
) -> Result<Option<Load>, Error> {
    if !matches!(job.state, JobState::Queued | JobState::Running) {
        return Ok(None);
    }
    let prefix = Prefix::UnitsOfJob(job.dir.clone()).to_path();
    let level = store.list_level(&prefix).await?;
    let written = level
        .objects
        .iter()
        .filter_map(|it| match ObjectKey::parse(&it.key) {
            Ok(Some(ObjectKey::Unit(unit))) if unit.kind == job.kind => {
                Some((unit.unit, it.last_modified))
            }
            _ => None,
        });
    Ok(load::of_job(job, written, now, timing))
}
