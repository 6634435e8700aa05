//! What the predecessor's page asks of a job: percent, log, result.

use std::ops::Range;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use cellmill_core::formats::DatasetInfo;
use cellmill_core::ids::Dir;
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, ProjectFile};
use cellmill_core::legacy;
use cellmill_store::Versioned;

use super::wire::{self, Standing, codes};
use super::{answered, job_of};
use crate::edge::Error;
use crate::parts::App;
use crate::routes::jobs;

/// What is sent of a log: its last 16 MiB.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// `GET /api1/jobpercent?id&type`
pub(super) async fn percent(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let shown = async {
        let job = match named(&app, query.as_deref()).await? {
            Ok(job) => job,
            Err(refusal) => return Ok(refusal),
        };
        let view = jobs::view(&app, &job).await?;
        Ok(wire::answer(Standing::of(
            &job.value,
            view.percent,
            view.eta_s,
        )))
    };
    answered("show a job's percent", shown.await)
}

/// `GET /api1/joblog?id&type`
pub(super) async fn log(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let shown = async {
        let job = match named(&app, query.as_deref()).await? {
            Ok(job) => job.value,
            Err(refusal) => return Ok(refusal),
        };
        Ok(wire::answer(log_text(&app, job.kind, &job.dir).await?))
    };
    answered("show a job's log", shown.await)
}

/// `GET /api1/jobresult?did&done&limit&skip&limit2&skip2`
pub(super) async fn result(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let shown = async {
        let query = Parameters(query.as_deref().unwrap_or_default());
        let numbers = [("did", 0), ("done", 0)].map(|(name, default)| query.number(name, default));
        let paging = [
            ("limit", 10_000),
            ("skip", 0),
            ("limit2", 100),
            ("skip2", 0),
        ]
        .map(|(name, default)| query.number(name, default));
        let ([Some(did), Some(done)], [Some(limit), Some(skip), Some(limit2), Some(skip2)]) =
            (numbers, paging)
        else {
            return Ok(wire::failure(codes::POST_DATA_INVALID));
        };
        let file = match done {
            0 => DatasetFile::Info,
            1 => DatasetFile::Info2,
            _ => return Ok(wire::failure(codes::POST_DATA_INVALID)),
        };
        let Some(job) = job_of(&app, JobKind::Data, did).await? else {
            return Ok(wire::failure(codes::DATASETS_NOT_FOUND));
        };
        let key = ObjectKey::Dataset(job.value.dir.clone(), file);
        let Some(info) = app.store.read_json::<DatasetInfo>(&key).await? else {
            return Ok(wire::failure(codes::DATASETS_NOT_FOUND));
        };
        let mut info = info.value;
        info.status = u32::from(legacy::status(&job.value));
        info.origin_total = info.origin_imgs.len() as u64;
        info.cells_total = info.cells_crop.len() as u64;
        info.cells_crop = page(info.cells_crop, skip, limit);
        info.origin_imgs = page(info.origin_imgs, skip2, limit2);
        // Its struct has no room for keys of others.
        info.extra.clear();
        Ok(wire::answer(info))
    };
    answered("show a data set", shown.await)
}

fn page(items: Vec<String>, skip: i64, limit: i64) -> Vec<String> {
    let whole = |it: i64| usize::try_from(it).unwrap_or(0);
    let items = items.into_iter();
    items.skip(whole(skip)).take(whole(limit)).collect()
}

/// The job that a query names by `id` and `type`, or what is answered instead.
async fn named(
    app: &App,
    query: Option<&str>,
) -> Result<Result<Versioned<JobRecord>, Response>, Error> {
    let query = Parameters(query.unwrap_or_default());
    let kind = query.number("type", 0).and_then(legacy::job_kind);
    let (Some(id), Some(kind)) = (query.number("id", 0), kind) else {
        return Ok(Err(wire::failure(codes::POST_DATA_INVALID)));
    };
    let absent = match kind {
        JobKind::Data => codes::DATASETS_NOT_FOUND,
        _ => codes::PROJECT_NOT_READY,
    };
    let job = job_of(app, kind, id).await?;
    Ok(job.ok_or_else(|| wire::failure(absent)))
}

/// Numbers of a query. Nothing in them needs an escape.
struct Parameters<'a>(&'a str);

impl Parameters<'_> {
    /// `None`: it is there and no whole number.
    fn number(&self, name: &str, default: i64) -> Option<i64> {
        let mut pairs = self.0.split('&').filter_map(|it| it.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.map_or(Some(default), |(_, value)| value.parse().ok())
    }
}

/// The log that the job's worker writes, or that collect gathered.
pub(super) async fn log_text(app: &App, kind: JobKind, dir: &Dir) -> Result<String, Error> {
    let bytes = log_bytes(app, kind, dir).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) async fn log_bytes(
    app: &App,
    kind: JobKind,
    dir: &Dir,
) -> Result<Bytes, cellmill_store::Error> {
    let key = match kind {
        JobKind::Data => ObjectKey::Dataset(dir.clone(), DatasetFile::Log),
        _ => ObjectKey::Project(dir.clone(), ProjectFile::Log),
    };
    let Some(head) = app.store.head(&key).await? else {
        return Ok(Bytes::new());
    };
    if head.size == 0 {
        return Ok(Bytes::new());
    }
    let range: Range<u64> = head.size.saturating_sub(MAX_LOG_BYTES)..head.size;
    app.store.get_range(&key, range).await
}
