//! `POST /api1/jobresult`: what a worker says of its job.

use cellmill_core::ids::WorkerId;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_core::legacy::{self, Report, Reported, decide_report};
use cellmill_core::unit::{UnitRecord, UnitState};

use super::adopt::{self, AdoptError};
use super::take::{ended, put, started};
use super::wire::Fields;
use super::{job_of, read, unit_of};
use crate::edge::Error;
use crate::parts::App;

/// Others may come in between this often; so many hands on one unit mean that it is not this worker's.
const MAX_RACES: usize = 5;

/// The job's number, its kind, and what is said of it. `None`: no such request.
pub(super) fn parse(body: &[u8], from: WorkerId) -> Option<(i64, JobKind, Report)> {
    let fields = Fields::parse(body)?;
    let attempt = fields.optional("attempt").ok()?;
    let report = Report {
        from,
        // A number that no attempt has stays one that no attempt has.
        attempt: attempt.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
        status: fields.number("status")?,
        percent: fields.number("percent")?,
        eta_s: fields.number("ETA")?,
    };
    let kind = legacy::job_kind(fields.number("type")?)?;
    Some((fields.number("id")?, kind, report))
}

/// Carries a report into the unit's record, when it counts. A repeated one changes nothing more.
pub(super) async fn report(
    app: &App,
    id: i64,
    kind: JobKind,
    report: &Report,
) -> Result<(), Error> {
    for _ in 0..MAX_RACES {
        let Some(job) = job_of(app, kind, id).await? else {
            return Ok(());
        };
        let job = job.value;
        if !job.class.is_legacy() {
            return Ok(());
        }
        let key = ObjectKey::Unit(unit_of(&job));
        let Some(seen) = app.store.read::<UnitRecord>(&key).await? else {
            return Ok(());
        };
        let next = match decide_report(&job, &seen.value, report, app.store.now()) {
            Reported::Nothing => return Ok(()),
            Reported::Again => return ended(app, &job).await,
            Reported::Write(mut next) => {
                explain(app, &job, &mut next).await?;
                next
            }
            Reported::JobEnded(next) => next,
            Reported::Finish(held) => finished(app, &job, &held).await?,
        };
        let state = next.state;
        if !put(app, &key, Some(&seen), next).await? {
            continue;
        }
        return match state {
            UnitState::Done | UnitState::Failed => ended(app, &job).await,
            UnitState::Leased => started(app, &job).await,
            UnitState::Waiting | UnitState::Cancelled => Ok(()),
        };
    }
    Ok(())
}

/// The unit as it ends: committed with copies of what the worker left, or failed for what is wrong with it.
async fn finished(app: &App, job: &JobRecord, held: &UnitRecord) -> Result<UnitRecord, Error> {
    let (attempt, now) = (held.attempt, app.store.now());
    let Some(owner) = &held.owner else {
        return Err(Error::internal("a unit that is held has an owner"));
    };
    let next = match adopt::outputs(app, job, held).await {
        Ok(outputs) => held.commit(owner, attempt, outputs, Vec::new(), now),
        Err(AdoptError::Unfit(reason)) => held.fail(owner, attempt, &reason, true, now),
        Err(AdoptError::Store(error)) => return Err(error.into()),
    };
    next.map_err(Error::internal)
}

/// What a worker said last in its log is the best that is known of its failure.
async fn explain(app: &App, job: &JobRecord, next: &mut UnitRecord) -> Result<(), Error> {
    if next.state != UnitState::Failed {
        return Ok(());
    }
    let log = read::log_text(app, job.kind, &job.dir).await?;
    if let (Some(error), Some(line)) = (&mut next.error, last_line(&log)) {
        *error = format!("{error}; its log ends with: {line}");
    }
    Ok(())
}

const MAX_LINE_CHARS: usize = 500;

fn last_line(log: &str) -> Option<String> {
    let line = log.lines().rev().find(|it| !it.trim().is_empty())?;
    Some(line.trim().chars().take(MAX_LINE_CHARS).collect())
}
