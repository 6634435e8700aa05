//! Jobs: where they stand, their logs and units, and what people want of them.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cellmill_core::ids::{Dir, WorkerId};
use cellmill_core::job::{Effects, JobEvent, JobRecord, JobState};
use cellmill_core::keys::{
    DatasetFile, JobKind, NumberKind, ObjectKey, Prefix, ProjectFile, UnitKey,
};
use cellmill_core::legacy;
use cellmill_core::records::NumberRecord;
use cellmill_core::timing::Timing;
use cellmill_core::unit::{Attempt, Output, UnitRecord, UnitState};
use cellmill_queue::hints;
use cellmill_store::jobs::Applied;
use cellmill_store::{Store, Versioned};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::documents::{READS_AT_ONCE, read_or_skip};
use super::job_view::{JobView, seconds_between};
use super::waiting::waits_for;
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

/// The file of an attempt that its worker logs to.
const UNIT_LOG: &str = "log.txt";

/// The role under which a committed unit names its log.
const LOG_OUTPUT: &str = "log";

/// Reads a job or says that there is none.
pub(super) async fn read_job(
    app: &App,
    kind: JobKind,
    dir: &Dir,
) -> Result<Versioned<JobRecord>, Error> {
    let job = app.store.read(&ObjectKey::job(kind, dir)).await?;
    job.ok_or_else(|| no_job(kind, dir))
}

fn no_job(kind: JobKind, dir: &Dir) -> Error {
    Error::not_found(format!("{} job `{dir}`", kind.as_str()))
}

/// The view of a job, with what its units at work say.
pub(super) async fn view(app: &App, job: &Versioned<JobRecord>) -> Result<JobView, Error> {
    let units = match job.value.state {
        JobState::Queued | JobState::Running => open_units(&app.store, &job.value).await?,
        _ => Vec::new(),
    };
    view_with(app, job, &units).await
}

/// The view of a job whose open units were read already.
pub(super) async fn view_with(
    app: &App,
    job: &Versioned<JobRecord>,
    units: &[Versioned<UnitRecord>],
) -> Result<JobView, Error> {
    let now = app.store.now();
    let timing = lease_of(app, &job.value, units.first().map(|it| &it.value));
    let mut view = JobView::of(job, units, now, timing);
    if let (Some(error), Some(why)) = (&view.error, unit_error(&app.store, &job.value).await?) {
        view.error = Some(format!("{error}: {why}"));
    }
    Ok(view)
}

/// How long a worker of this job may be silent.
fn lease_of(app: &App, job: &JobRecord, unit: Option<&UnitRecord>) -> Timing {
    if job.class.is_legacy() {
        legacy::timing(unit)
    } else {
        app.settings.timing
    }
}

/// Why the first of a failed job's failed units failed: the job itself only counts them.
async fn unit_error(store: &Store, job: &JobRecord) -> Result<Option<String>, Error> {
    if job.state != JobState::Failed {
        return Ok(None);
    }
    let Some(unit) = (0..job.units.count).find(|it| job.units.failed.contains(*it)) else {
        return Ok(None);
    };
    let key = ObjectKey::Unit(UnitKey {
        dir: job.dir.clone(),
        kind: job.kind,
        unit,
    });
    let record = read_or_skip::<UnitRecord>(store, &key).await?;
    Ok(record.and_then(|it| it.value.error))
}

/// The records of units that were claimed and have no bit in the job yet: about as many as workers.
pub(super) async fn open_units(
    store: &Store,
    job: &JobRecord,
) -> Result<Vec<Versioned<UnitRecord>>, Error> {
    let prefix = Prefix::UnitsOfJob(job.dir.clone()).to_path();
    let level = store.list_level(&prefix).await?;
    let open = level.objects.iter().filter_map(|listed| {
        let Ok(Some(ObjectKey::Unit(unit))) = ObjectKey::parse(&listed.key) else {
            return None;
        };
        (unit.kind == job.kind && !job.units.is_ended(unit.unit)).then_some(unit)
    });
    let open: Vec<ObjectKey> = open.map(ObjectKey::Unit).collect();
    let records = stream::iter(open)
        .map(|key| async move { read_or_skip(store, &key).await })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|record| std::future::ready(Ok(record)));
    Ok(records.try_collect().await?)
}

/// A job as it is found by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    kind: JobKind,
    number: u64,
}

impl Counted {
    pub(super) const fn new(kind: JobKind, number: u64) -> Self {
        Self { kind, number }
    }

    /// The text form in `next`: `data-12`.
    fn to_text(self) -> String {
        format!("{}-{}", self.kind.as_str(), self.number)
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once('-')?;
        Some(Self::new(JobKind::parse(kind)?, number.parse().ok()?))
    }
}

/// The kinds that are counted together, in the order of the list of jobs.
pub(super) const COUNTED: [(NumberKind, &[JobKind]); 2] = [
    (NumberKind::Datasets, &[JobKind::Data]),
    (
        NumberKind::Projects,
        &[JobKind::Train, JobKind::Predict, JobKind::Segment],
    ),
];

/// The numbers that were given, the newest first.
pub(super) async fn numbers(store: &Store, kind: NumberKind) -> Result<Vec<u64>, Error> {
    let listed = store.list(&Prefix::Numbers(kind).to_path());
    let mut numbers: Vec<u64> = listed
        .try_filter_map(|it| {
            let number = match ObjectKey::parse(&it.key) {
                Ok(Some(ObjectKey::Number(_, number))) => Some(number),
                _ => None,
            };
            std::future::ready(Ok(number))
        })
        .try_collect()
        .await?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The jobs that stand behind numbers, in the order given. A number whose job never came is skipped.
pub(super) fn counted_jobs(
    store: &Store,
    counted: Vec<Counted>,
) -> BoxStream<'_, Result<Versioned<JobRecord>, Error>> {
    stream::iter(counted)
        .map(move |it| job_of_number(store, it))
        .buffered(READS_AT_ONCE)
        .try_filter_map(|job| std::future::ready(Ok(job)))
        .boxed()
}

pub(super) async fn job_of_number(
    store: &Store,
    counted: Counted,
) -> Result<Option<Versioned<JobRecord>>, Error> {
    let key = ObjectKey::Number(crate::accept::number_kind(counted.kind), counted.number);
    let Some(number) = read_or_skip::<NumberRecord>(store, &key).await? else {
        return Ok(None);
    };
    let Ok(dir) = Dir::parse(&number.value.dir) else {
        return Ok(None);
    };
    let key = ObjectKey::job(counted.kind, &dir);
    let job = read_or_skip::<JobRecord>(store, &key).await?;
    // Two may have asked for one directory; the number that lost it names a job that is not its own.
    Ok(job.filter(|it| it.value.number == counted.number))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// `assembling`, `queued`, `running`, `collecting`, `done`, `failed` or `cancelled`.
    #[param(value_type = Option<String>)]
    state: Option<JobState>,
    /// `data`, `train`, `predict` or `segment`.
    #[param(value_type = Option<String>)]
    kind: Option<JobKind>,
}

/// Jobs, by kind and the newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobsQuery, PageQuery),
    responses((status = 200, body = Page<JobView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_jobs(
    State(app): State<App>,
    Query(query): Query<JobsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<JobView>>, Error> {
    let limit = page.limit()?;
    let after = page.after(Counted::parse)?;
    let mut counted = Vec::new();
    for (number_kind, kinds) in COUNTED {
        let kinds: Vec<JobKind> = kinds
            .iter()
            .copied()
            .filter(|kind| query.kind.is_none_or(|it| it == *kind))
            .collect();
        if kinds.is_empty() {
            continue;
        }
        let numbers = numbers(&app.store, number_kind).await?;
        for kind in kinds {
            counted.extend(numbers.iter().map(|&number| Counted::new(kind, number)));
        }
    }
    if let Some(after) = after {
        let seen = counted.iter().position(|it| *it == after);
        counted.drain(..seen.map_or(0, |at| at + 1));
    }
    let items: Vec<JobView> = counted_jobs(&app.store, counted)
        .try_filter(|job| {
            std::future::ready(query.state.is_none_or(|state| job.value.state == state))
        })
        .and_then(|job| {
            let app = &app;
            async move { view(app, &job).await }
        })
        .take(limit + 1)
        .try_collect()
        .await?;
    let name = |it: &JobView| Counted::new(it.kind, it.number).to_text();
    Ok(Json(Page::cut(items, limit, name)))
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{kind}/{dir}", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_job(
    State(app): State<App>,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Json<JobView>, Error> {
    let job = read_job(&app, kind, &dir).await?;
    let mut view = view(&app, &job).await?;
    view.waits_for = waits_for(&app, &job.value, &view).await?;
    Ok(Json(view))
}

/// Cancels a job. Acknowledged, it never becomes done.
#[utoipa::path(post, path = "/api/v1/jobs/{kind}/{dir}/cancel", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel_job(
    State(app): State<App>,
    person: Person,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Json<JobView>, Error> {
    let by = person.id.clone();
    let event = JobEvent::Cancelled { by };
    change(&app, kind, &dir, event, &person, "job.cancel").await
}

/// Ends a training with the best so far; before there is anything to keep it is a cancel.
#[utoipa::path(post, path = "/api/v1/jobs/{kind}/{dir}/stop", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ErrorBody)))]
pub(crate) async fn stop_job(
    State(app): State<App>,
    person: Person,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Json<JobView>, Error> {
    let by = person.id.clone();
    let event = JobEvent::Stopped { by };
    change(&app, kind, &dir, event, &person, "job.stop").await
}

/// Lets a job's units go before all others.
#[utoipa::path(post, path = "/api/v1/jobs/{kind}/{dir}/raise", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ErrorBody)))]
pub(crate) async fn raise_job(
    State(app): State<App>,
    person: Person,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Json<JobView>, Error> {
    let by = person.id.clone();
    let event = JobEvent::Raised { by };
    change(&app, kind, &dir, event, &person, "job.raise").await
}

/// Begins a new round of a failed job: what is done stays done.
#[utoipa::path(post, path = "/api/v1/jobs/{kind}/{dir}/retry", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ErrorBody)))]
pub(crate) async fn retry_job(
    State(app): State<App>,
    person: Person,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Json<JobView>, Error> {
    let job = read_job(&app, kind, &dir).await?.value;
    let by = person.id.clone();
    let event = JobEvent::Retried { by };
    // Refused by what was read, though it may fail in the next moment: the round would have no mark.
    if let Err(refusal) = job.apply(event.clone(), app.settings.window, app.store.now()) {
        return Err(Error::conflict("not_allowed", refusal.to_string()));
    }
    // Before the swap: a round without its mark would be seen by no sweep.
    let marked = job.round + 1;
    app.store.mark_active(kind, &dir, marked).await?;
    let view = change(&app, kind, &dir, event, &person, "job.retry").await?;
    if view.0.round > marked {
        // Somebody else's retry came in between, and failed.
        app.store.mark_active(kind, &dir, view.0.round).await?;
    }
    Ok(view)
}

/// One swap of the job, then what it asks for. A change that was made before is no error.
async fn change(
    app: &App,
    kind: JobKind,
    dir: &Dir,
    event: JobEvent,
    person: &Person,
    action: &str,
) -> Result<Json<JobView>, Error> {
    let window = app.settings.window;
    let job = match app.store.change_job(kind, dir, event, window).await? {
        Applied::Changed(job, effects) => {
            send_effects(app, &job.value, &effects).await;
            let subject = ObjectKey::job(kind, dir).to_path();
            let details = json!({ "round": job.value.round });
            audit::record_done(&app.store, &person.id, action, &subject, details).await;
            job
        }
        Applied::Unchanged(job) => job,
        Applied::NotAllowed(refusal) => {
            return Err(Error::conflict("not_allowed", refusal.to_string()));
        }
        Applied::Absent => return Err(no_job(kind, dir)),
    };
    view(app, &job).await.map(Json)
}

/// The swap stands, whatever becomes of its messages: the janitor finds what is missing.
async fn send_effects(app: &App, job: &JobRecord, effects: &Effects) {
    let queue = &*app.queue;
    let mut sent = hints::carry_out(queue, job, effects).await;
    if sent.is_ok() && job.state == JobState::Assembling {
        sent = hints::send_assemble(queue, job).await;
    }
    if let Err(error) = sent {
        let dir = &job.dir;
        tracing::error!(%dir, "send the job's hints: {}", cellmill_service::report(&error));
    }
}

/// What the job and its units logged, as text.
#[utoipa::path(get, path = "/api/v1/jobs/{kind}/{dir}/log", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path)),
    responses(
        (status = 200, description = "The log", body = String, content_type = "text/plain"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn get_log(
    State(app): State<App>,
    Path((kind, dir)): Path<(JobKind, Dir)>,
) -> Result<Response, Error> {
    let job = read_job(&app, kind, &dir).await?.value;
    let history = stream::iter([Ok(Bytes::from(history_text(&job)))]);
    let collected = collected_log(kind, dir);
    let is_collected = match &collected {
        Some(key) => app.store.head(key).await?.is_some(),
        None => false,
    };
    let rest: BoxStream<'static, Result<Bytes, cellmill_store::Error>> = match &collected {
        Some(key) if is_collected => app.store.get_stream(key).await?.1,
        _ => unit_logs(app.store.clone(), &job),
    };
    let content_type = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((content_type, Body::from_stream(history.chain(rest))).into_response())
}

/// Where the logs of the units are put together when they are done.
fn collected_log(kind: JobKind, dir: Dir) -> Option<ObjectKey> {
    match kind {
        JobKind::Data => Some(ObjectKey::Dataset(dir, DatasetFile::Log)),
        JobKind::Train | JobKind::Predict => Some(ObjectKey::Project(dir, ProjectFile::Log)),
        JobKind::Segment | JobKind::Index => None,
    }
}

fn history_text(job: &JobRecord) -> String {
    let mut text = String::new();
    for change in &job.history {
        let at = change.at.format("%Y-%m-%dT%H:%M:%SZ");
        text.push_str(&format_args!("{at} job {}\n", change.what).to_string());
    }
    text
}

/// The logs of the units in their order, read as they are asked for.
fn unit_logs(
    store: Store,
    job: &JobRecord,
) -> BoxStream<'static, Result<Bytes, cellmill_store::Error>> {
    let (dir, kind) = (job.dir.clone(), job.kind);
    let units = (0..job.units.count).map(move |unit| UnitKey {
        dir: dir.clone(),
        kind,
        unit,
    });
    stream::iter(units)
        .map(move |unit| unit_log(store.clone(), unit))
        .buffered(READS_AT_ONCE)
        .try_filter_map(|log| std::future::ready(Ok(log)))
        .boxed()
}

async fn unit_log(store: Store, unit: UnitKey) -> Result<Option<Bytes>, cellmill_store::Error> {
    let key = ObjectKey::Unit(unit.clone());
    let Some(record) = read_or_skip::<UnitRecord>(&store, &key).await? else {
        return Ok(None);
    };
    let record = record.value;
    let named = record.outputs.iter().find(|it| it.name == LOG_OUTPUT);
    let key = named.and_then(|it| ObjectKey::parse(&it.key).ok().flatten());
    let key = key.unwrap_or(ObjectKey::UnitOutput {
        unit,
        attempt: record.attempt,
        file: UNIT_LOG.to_owned(),
    });
    match store.get_bytes(&key).await {
        Ok(log) => Ok(Some(log)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A unit, with all its attempts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnitView {
    pub unit: u32,
    /// `waiting`, `leased`, `done`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub state: UnitState,
    pub round: u32,
    pub attempt: u32,
    pub failures: u32,
    #[schema(value_type = Option<String>)]
    pub owner: Option<WorkerId>,
    pub percent: u8,
    pub eta_s: Option<u64>,
    pub step: String,
    pub error: Option<String>,
    /// Seconds since its record was written; absent when nobody claimed it yet.
    pub age_s: Option<u64>,
    /// Set when its lease is over and nobody has taken it yet.
    pub silent_since: Option<DateTime<Utc>>,
    pub outputs: Vec<OutputView>,
    /// Inputs that it left out: `key`, `code`, `reason`.
    #[schema(value_type = Vec<Object>)]
    pub rejected: Vec<cellmill_core::unit::RejectedInput>,
    pub attempts: Vec<AttemptView>,
}

/// Something that a unit left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OutputView {
    /// `rows`, `pack`, `log`.
    pub name: String,
    pub key: String,
    pub bytes: u64,
    pub sha256: String,
}

/// One try of a worker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    pub attempt: u32,
    #[schema(value_type = String)]
    pub owner: WorkerId,
    pub began: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    /// How it ended; empty while it runs.
    pub how: String,
    /// How far the checkpoint was that it went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_percent: Option<u8>,
}

/// The units of a job, by number. One that nobody claimed yet is waiting.
#[utoipa::path(get, path = "/api/v1/jobs/{kind}/{dir}/units", tag = "jobs",
    params(("kind" = String, Path), ("dir" = String, Path), PageQuery),
    responses((status = 200, body = Page<UnitView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_units(
    State(app): State<App>,
    Path((kind, dir)): Path<(JobKind, Dir)>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<UnitView>>, Error> {
    let limit = page.limit()?;
    let after: Option<u32> = page.after(|it| it.parse().ok())?;
    let job = read_job(&app, kind, &dir).await?.value;
    let first = after.map_or(0, |it| it.saturating_add(1));
    let units = (first..job.units.count).take(limit + 1);
    let items: Vec<UnitView> = stream::iter(units)
        .map(|unit| unit_view(&app, &job, unit))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.unit.to_string())))
}

async fn unit_view(app: &App, job: &JobRecord, unit: u32) -> Result<UnitView, Error> {
    let key = ObjectKey::Unit(UnitKey {
        dir: job.dir.clone(),
        kind: job.kind,
        unit,
    });
    let Some(stored) = read_or_skip::<UnitRecord>(&app.store, &key).await? else {
        return Ok(UnitView::without_record(unit, job));
    };
    let (record, written) = (stored.value, stored.last_modified);
    let now = app.store.now();
    let timing = lease_of(app, job, Some(&record));
    let is_silent = record.state == UnitState::Leased && timing.is_over(written, now);
    Ok(UnitView {
        unit,
        state: record.state,
        round: record.round,
        attempt: record.attempt,
        failures: record.failures,
        owner: record.owner,
        percent: record.percent,
        eta_s: record.eta_s,
        step: record.step,
        error: record.error,
        age_s: Some(seconds_between(written, now)),
        silent_since: is_silent.then_some(written),
        outputs: record.outputs.into_iter().map(OutputView::from).collect(),
        rejected: record.rejected,
        attempts: record.attempts.into_iter().map(AttemptView::from).collect(),
    })
}

impl UnitView {
    /// Nobody claimed it, or its record was removed long after its job ended.
    fn without_record(unit: u32, job: &JobRecord) -> Self {
        let is_done = job.units.done.contains(unit);
        Self {
            unit,
            state: match (is_done, job.units.failed.contains(unit)) {
                (true, _) => UnitState::Done,
                (_, true) => UnitState::Failed,
                _ if job.state.is_ended() => UnitState::Cancelled,
                _ => UnitState::Waiting,
            },
            round: job.round,
            attempt: 0,
            failures: 0,
            owner: None,
            percent: if is_done { 100 } else { 0 },
            eta_s: None,
            step: job.cleared.map_or_else(String::new, |at| {
                format!("its record and log were removed on {}", at.format("%F"))
            }),
            error: None,
            age_s: None,
            silent_since: None,
            outputs: Vec::new(),
            rejected: Vec::new(),
            attempts: Vec::new(),
        }
    }
}

impl From<Output> for OutputView {
    fn from(it: Output) -> Self {
        Self {
            name: it.name,
            key: it.key,
            bytes: it.bytes,
            sha256: it.sha256,
        }
    }
}

impl From<Attempt> for AttemptView {
    fn from(it: Attempt) -> Self {
        Self {
            attempt: it.attempt,
            owner: it.owner,
            began: it.began,
            ended: it.ended,
            how: it.how,
            resumed_percent: it.resumed_percent,
        }
    }
}
