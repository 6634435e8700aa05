//! `POST /api1/job`: handing out a job, whole, under a lease.

use axum::response::Response;
use cellmill_core::ids::WorkerId;
use cellmill_core::job::{JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{JobKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::legacy;
use cellmill_core::unit::{Claim, UnitRecord, decide_claim};
use cellmill_queue::hints;
use cellmill_store::{Created, Replaced, Versioned};
use futures::TryStreamExt as _;

use super::wire::{self, DatasetRow, Fields, ProjectRow, Shown};
use super::{model_type, unit_of};
use crate::edge::Error;
use crate::parts::App;
use crate::routes::documents::read_or_skip;
use crate::routes::jobs::{self, Counted};

/// Status 1: ready, and the worker wants it.
const READY: u8 = 1;

/// Others may come in between this often before the job is left to the next request.
const MAX_RACES: usize = 5;

/// What a worker asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    kind: JobKind,
    status: u8,
    /// `None`: any, as workers before November 2019 ask.
    mtype: Option<i64>,
    wants_attempt: bool,
}

impl Asked {
    /// `None`: no such request. A worker type without jobs is none either.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let fields = Fields::parse(body)?;
        // Sent by every client, never looked at, and yet a number.
        for name in ["id", "ETA", "percent"] {
            fields.number(name)?;
        }
        Some(Self {
            kind: legacy::job_kind(fields.number("type")?)?,
            // No job has a status of another size.
            status: u8::try_from(fields.number("status")?).unwrap_or(u8::MAX),
            mtype: fields.optional("mtype").ok()?,
            wants_attempt: fields.optional("attempt").ok()?.is_some(),
        })
    }

    async fn takes(&self, app: &App, job: &JobRecord) -> Result<Option<u8>, Error> {
        let mtype = model_type(app, job).await?;
        // A training makes its model: it is asked for without a kind.
        let fits =
            self.kind == JobKind::Train || self.mtype.is_none_or(|it| it == i64::from(mtype));
        Ok(fits.then_some(mtype))
    }
}

/// Status 1 claims the first job that is ready; any other status only shows the first that has it.
pub(super) async fn take(app: &App, worker: &WorkerId, asked: &Asked) -> Result<Response, Error> {
    let found = if asked.status == READY {
        claim_first(app, worker, asked).await?
    } else {
        look(app, asked).await?
    };
    Ok(match found {
        Some((job, shown)) => row(&job, shown),
        None if asked.kind == JobKind::Data => wire::answer(DatasetRow::zero()),
        None => wire::answer(ProjectRow::zero()),
    })
}

fn row(job: &Versioned<JobRecord>, shown: Shown) -> Response {
    match &job.value.parameters {
        JobParameters::Data(parameters) => wire::answer(DatasetRow::of(job, parameters, shown)),
        JobParameters::Train(_) | JobParameters::Predict(_) => {
            wire::answer(ProjectRow::of(job, shown))
        }
    }
}

async fn claim_first(
    app: &App,
    worker: &WorkerId,
    asked: &Asked,
) -> Result<Option<(Versioned<JobRecord>, Shown)>, Error> {
    for job in open_jobs(app, asked.kind).await? {
        let Some(mtype) = asked.takes(app, &job.value).await? else {
            continue;
        };
        if let Some(attempt) = claim(app, worker, &job.value).await? {
            // The row as it was before: a worker takes only what is ready.
            let shown = Shown {
                status: READY,
                mtype,
                attempt: asked.wants_attempt.then_some(attempt),
                ..Shown::default()
            };
            return Ok(Some((job, shown)));
        }
    }
    Ok(None)
}

/// Legacy jobs that are not ended, those that somebody raised first, then by number.
async fn open_jobs(app: &App, kind: JobKind) -> Result<Vec<Versioned<JobRecord>>, Error> {
    let marks: Vec<_> = app
        .store
        .list(&Prefix::Active.to_path())
        .try_collect()
        .await?;
    let mut jobs = Vec::new();
    for mark in marks {
        let (dir, round) = match ObjectKey::parse(&mark.key) {
            Ok(Some(ObjectKey::Active {
                kind: of,
                dir,
                round,
            })) if of == kind => (dir, round),
            _ => continue,
        };
        let key = ObjectKey::job(kind, &dir);
        let job = read_or_skip::<JobRecord>(&app.store, &key).await?;
        let is_open = |it: &Versioned<JobRecord>| {
            let job = &it.value;
            job.class.is_legacy()
                && job.round == round
                && matches!(job.state, JobState::Queued | JobState::Running)
        };
        jobs.extend(job.filter(is_open));
    }
    jobs.sort_by_key(|it| (!it.value.wishes.urgent, it.value.number));
    Ok(jobs)
}

/// Takes the job's unit, by the rule of every worker with the lease of these; gives the attempt.
async fn claim(app: &App, worker: &WorkerId, job: &JobRecord) -> Result<Option<u32>, Error> {
    let unit = unit_of(job);
    let key = ObjectKey::Unit(unit.clone());
    for _ in 0..MAX_RACES {
        // Read again in every turn: who was faster may have ended it.
        let Some(job) = app.store.read_job(job.kind, &job.dir).await? else {
            return Ok(None);
        };
        let seen = app.store.read::<UnitRecord>(&key).await?;
        let timing = legacy::timing(seen.as_ref().map(|it| &it.value));
        let as_seen = seen.as_ref().map(|it| (&it.value, it.last_modified));
        let now = app.store.now();
        match decide_claim(&job.value, as_seen, &unit, worker, now, timing) {
            Claim::Take(next) => {
                let attempt = next.attempt;
                if put(app, &key, seen.as_ref(), next).await? {
                    started(app, &job.value).await?;
                    return Ok(Some(attempt));
                }
            }
            Claim::GiveUp(next) => {
                if put(app, &key, seen.as_ref(), next).await? {
                    ended(app, &job.value).await?;
                    return Ok(None);
                }
            }
            Claim::JobEnded(Some(next)) => {
                if put(app, &key, seen.as_ref(), next).await? {
                    return Ok(None);
                }
            }
            Claim::Live | Claim::Ended | Claim::JobEnded(None) | Claim::NotYet | Claim::Unknown => {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Puts `next` in the place of what was read. `false`: somebody came in between.
pub(super) async fn put(
    app: &App,
    key: &ObjectKey,
    seen: Option<&Versioned<UnitRecord>>,
    next: UnitRecord,
) -> Result<bool, Error> {
    let attempt = next.attempt;
    let won = match seen {
        None => match app.store.create(key, next).await? {
            Created::Won(record) => Some(record),
            Created::Exists(_) => None,
        },
        Some(seen) => match app.store.replace(key, seen, next).await? {
            Replaced::Won(record) => Some(record),
            Replaced::Lost(_) => None,
        },
    };
    // An answer that was found by reading back may show what came after our write.
    Ok(won.is_some_and(|it| it.value.attempt == attempt))
}

/// Shows the job as running.
pub(super) async fn started(app: &App, job: &JobRecord) -> Result<(), Error> {
    if job.state == JobState::Queued {
        let (kind, window) = (job.kind, app.settings.window);
        let event = JobEvent::WorkStarted;
        app.store.change_job(kind, &job.dir, event, window).await?;
    }
    Ok(())
}

/// "This unit ended", to collect. When it is lost, the janitor finds the unit.
pub(super) async fn ended(app: &App, job: &JobRecord) -> Result<(), Error> {
    let unit = unit_of(job).unit;
    Ok(hints::send_collect(&*app.queue, job, Some(unit)).await?)
}

/// The first legacy job of this status, by number.
async fn look(app: &App, asked: &Asked) -> Result<Option<(Versioned<JobRecord>, Shown)>, Error> {
    let numbers = match asked.kind {
        JobKind::Data => NumberKind::Datasets,
        _ => NumberKind::Projects,
    };
    let mut numbers = jobs::numbers(&app.store, numbers).await?;
    numbers.reverse();
    for number in numbers {
        let counted = Counted::new(asked.kind, number);
        let Some(job) = jobs::job_of_number(&app.store, counted).await? else {
            continue;
        };
        let status = legacy::status(&job.value);
        if !job.value.class.is_legacy() || status != asked.status {
            continue;
        }
        let Some(mtype) = asked.takes(app, &job.value).await? else {
            continue;
        };
        let view = jobs::view(app, &job).await?;
        let shown = Shown {
            status,
            percent: view.percent,
            eta_s: view.eta_s.unwrap_or(0),
            mtype,
            attempt: None,
        };
        return Ok(Some((job, shown)));
    }
    Ok(None)
}
