//! Why a job that could be worked on is not: nobody serves its class, or others go first.

use std::collections::BTreeSet;

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::WorkerRecord;
use cellmill_store::{Store, Versioned};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::documents::{READS_AT_ONCE, read_or_skip};
use super::job_view::JobView;
use super::workers::workers;
use crate::edge::Error;
use crate::parts::App;

/// Says what a job waits for whose units are open and of which nobody works on one. `None`: it is in motion.
pub(super) async fn waits_for(
    app: &App,
    job: &JobRecord,
    view: &JobView,
) -> Result<Option<String>, Error> {
    let n_open = job.units.count.saturating_sub(job.units.n_ended());
    if !is_open(job) || view.units.running > 0 || n_open == 0 {
        return Ok(None);
    }
    if job.class.is_legacy() {
        // Such workers leave no record: that they are there is seen only when they ask.
        return Ok(Some(
            "a worker of the predecessor has to ask for it".to_owned(),
        ));
    }
    let (now, timing) = (app.store.now(), app.settings.timing);
    let mut live = workers(&app.store).await?;
    live.retain(|it| !timing.is_gone(it.last_modified, now));
    if let Some(reason) = nobody(job, &live) {
        return Ok(Some(reason));
    }
    if let Some(since) = view.silent_since {
        // The record of a worker that was killed looks alive for a while: nothing is promised in its name.
        let since = since.format("%Y-%m-%dT%H:%M:%SZ");
        return Ok(Some(format!(
            "its worker has said nothing since {since}; the next free one takes its unit over"
        )));
    }
    let others = read_jobs(&app.store, marked(&app.store).await?).await?;
    Ok(Some(queue_before(job, &others)))
}

fn is_open(job: &JobRecord) -> bool {
    matches!(job.state, JobState::Queued | JobState::Running)
}

/// No worker that lives takes such units.
fn nobody(job: &JobRecord, live: &[Versioned<WorkerRecord>]) -> Option<String> {
    let (class, kind) = (job.class.as_str(), job.kind.as_str());
    let of_class = |it: &&Versioned<WorkerRecord>| it.value.classes.contains(&job.class);
    let serving: Vec<_> = live.iter().filter(of_class).collect();
    if serving.is_empty() {
        let others: BTreeSet<&str> = live
            .iter()
            .flat_map(|it| it.value.classes.iter().map(UnitClass::as_str))
            .collect();
        let there = match others.len() {
            0 => "no worker is there".to_owned(),
            _ => format!("those that are there serve {}", listed(&others)),
        };
        return Some(format!("no live worker serves class `{class}`: {there}"));
    }
    if serving.iter().any(|it| it.value.kinds.contains(&job.kind)) {
        return None;
    }
    Some(format!(
        "no live worker of class `{class}` takes units of kind `{kind}`"
    ))
}

fn listed(names: &BTreeSet<&str>) -> String {
    let quoted: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    quoted.join(", ")
}

/// The jobs that are marked as not ended.
pub(super) async fn marked(store: &Store) -> Result<BTreeSet<(JobKind, Dir)>, Error> {
    let marks: Vec<_> = store.list(&Prefix::Active.to_path()).try_collect().await?;
    let keys = marks
        .iter()
        .filter_map(|it| match ObjectKey::parse(&it.key) {
            Ok(Some(ObjectKey::Active { kind, dir, .. })) => Some((kind, dir)),
            _ => None,
        });
    Ok(keys.collect())
}

/// The records of these jobs, as far as they are there.
pub(super) async fn read_jobs(
    store: &Store,
    keys: BTreeSet<(JobKind, Dir)>,
) -> Result<Vec<JobRecord>, Error> {
    let jobs = stream::iter(keys)
        .map(|(kind, dir)| async move {
            read_or_skip::<JobRecord>(store, &ObjectKey::job(kind, &dir)).await
        })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|it| std::future::ready(Ok(it.map(|it| it.value))));
    Ok(jobs.try_collect().await?)
}

/// What goes before a job: urgent ones before others, older ones before younger ones. Hints of several jobs mix, so it
/// says about how much.
fn queue_before(job: &JobRecord, others: &[JobRecord]) -> String {
    let rank = |it: &JobRecord| (!it.wishes.urgent, released(it));
    let before = others.iter().filter(|it| {
        (it.kind, &it.dir) != (job.kind, &job.dir)
            && it.class == job.class
            && is_open(it)
            && rank(it) < rank(job)
    });
    let open: Vec<u32> = before
        .map(|it| it.units.count.saturating_sub(it.units.n_ended()))
        .filter(|it| *it > 0)
        .collect();
    match (open.iter().sum::<u32>(), open.len()) {
        (0, _) => "a worker that serves it is there and takes it when it is free".to_owned(),
        (n_units, 1) => format!("{} of another job before it", units(n_units)),
        (n_units, n_jobs) => format!("{} of {n_jobs} other jobs before it", units(n_units)),
    }
}

fn units(n: u32) -> String {
    match n {
        1 => "1 unit".to_owned(),
        n => format!("about {n} units"),
    }
}

fn released(job: &JobRecord) -> DateTime<Utc> {
    job.times.queued.unwrap_or(job.times.created)
}

#[cfg(test)]
mod tests {
    use cellmill_core::document::Stamp;
    use cellmill_core::ids::WorkerId;
    use cellmill_core::job::{DataParameters, JobEvent, JobParameters};
    use chrono::TimeDelta;

    use super::*;

    fn job(dir: &str, units: u32, at: i64) -> JobRecord {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(at);
        let parameters = JobParameters::Data(DataParameters::default());
        let dir = Dir::parse(dir).unwrap();
        let job = JobRecord::accepted(dir, 1, parameters, UnitClass::cpu(), "me".to_owned(), now);
        let assembled = JobEvent::Assembled {
            units,
            snapshot: "s".to_owned(),
        };
        job.apply(assembled, 64, now).unwrap().unwrap().0
    }

    fn worker(class: UnitClass, kinds: &[JobKind]) -> Versioned<WorkerRecord> {
        Versioned {
            value: WorkerRecord {
                stamp: Stamp::default(),
                id: WorkerId::parse("w").unwrap(),
                classes: vec![class],
                kinds: kinds.to_vec(),
                device: "cpu".to_owned(),
                started_at: DateTime::UNIX_EPOCH,
                unit: None,
                machine: None,
            },
            etag: String::new(),
            last_modified: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_class_that_nobody_serves_is_named_with_what_is_there() {
        let job = job("DkxD9Kjl", 3, 0);
        assert_eq!(
            nobody(&job, &[]).unwrap(),
            "no live worker serves class `cpu`: no worker is there"
        );
        let gpu = worker(UnitClass::gpu(), &[JobKind::Data]);
        assert_eq!(
            nobody(&job, &[gpu]).unwrap(),
            "no live worker serves class `cpu`: those that are there serve `gpu`"
        );
        let trainer = worker(UnitClass::cpu(), &[JobKind::Train]);
        assert_eq!(
            nobody(&job, &[trainer]).unwrap(),
            "no live worker of class `cpu` takes units of kind `data`"
        );
        assert_eq!(
            nobody(&job, &[worker(UnitClass::cpu(), &[JobKind::Data])]),
            None
        );
    }

    #[test]
    fn older_and_urgent_jobs_go_first() {
        let (older, mine, younger) = (
            job("older000", 40, 0),
            job("mine0000", 5, 10),
            job("younger0", 7, 20),
        );
        let others = [older.clone(), mine.clone(), younger.clone()];
        assert_eq!(
            queue_before(&mine, &others),
            "about 40 units of another job before it"
        );
        let by = "me".to_owned();
        let now = DateTime::UNIX_EPOCH;
        let urgent = younger.apply(JobEvent::Raised { by }, 64, now);
        let urgent = urgent.unwrap().unwrap().0;
        let others = [older, mine.clone(), urgent.clone()];
        assert_eq!(
            queue_before(&mine, &others),
            "about 47 units of 2 other jobs before it"
        );
        assert_eq!(
            queue_before(&urgent, &others),
            "a worker that serves it is there and takes it when it is free"
        );
    }
}
