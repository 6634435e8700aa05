//! The endpoints of the predecessor's workers, so that those attach unchanged (FORMATS A.5, decision 7).
//!
//! They are there when a setting asks for them, over a folder that server and workers share, and for programs of the
//! same machine only: nobody signs in here. Whatever fails is answered as the predecessor's server does, with status
//! 200 and a number in an envelope. They are no part of `/openapi.json`: what they look like was decided elsewhere.

mod adopt;
mod read;
mod report;
mod take;
mod wire;

use axum::extract::{Extension, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{JobKind, UnitKey};
use cellmill_core::legacy;
use cellmill_store::Versioned;

use super::jobs::{self, Counted};
use crate::edge::{Error, Peer, local_only};
use crate::parts::App;
use crate::person;

use wire::codes;

/// The routes, or none: when they are off, or when there is no folder to share.
pub(crate) fn routes(app: &App) -> axum::Router<App> {
    if !is_served(app) {
        return axum::Router::new();
    }
    let personal = axum::Router::new()
        .route("/api1/jobpercent", get(read::percent))
        .route("/api1/joblog", get(read::log))
        .route("/api1/jobresult", get(read::result))
        .route_layer(middleware::from_fn_with_state(app.clone(), person::sign_in));
    axum::Router::new()
        .route("/api1/job", post(job))
        .route("/api1/jobresult", post(job_result))
        .merge(personal)
        .route_layer(middleware::from_fn(local_only))
}

/// Are there workers that could take a legacy job?
pub(super) fn is_served(app: &App) -> bool {
    app.settings.legacy_workers && app.store.root().is_some()
}

/// Refuses a job that nobody could ever take.
pub(super) fn check_served(app: &App) -> Result<(), Error> {
    if is_served(app) {
        return Ok(());
    }
    Err(Error::Refused {
        code: "legacy_off",
        message: "the predecessor's workers are not served here, so nobody would do it".to_owned(),
        hint: Some(
            "start the server over a folder (`cellmill up`) with CELLMILL_LEGACY_WORKERS=on",
        ),
    })
}

/// `POST /api1/job`: take a job, or look at one.
async fn job(
    State(app): State<App>,
    Extension(Peer(address)): Extension<Peer>,
    body: Bytes,
) -> Response {
    let Some(asked) = take::Asked::parse(&body) else {
        return wire::failure(codes::POST_DATA_INVALID);
    };
    let worker = legacy::worker_at(address);
    answered("take a job", take::take(&app, &worker, &asked).await)
}

/// `POST /api1/jobresult`: how far a job came, or how it ended.
async fn job_result(
    State(app): State<App>,
    Extension(Peer(address)): Extension<Peer>,
    body: Bytes,
) -> Response {
    let worker = legacy::worker_at(address);
    let Some((id, kind, report)) = report::parse(&body, worker) else {
        return wire::failure(codes::POST_DATA_INVALID);
    };
    let reported = report::report(&app, id, kind, &report).await;
    // Also when it changed nothing: the predecessor's server never says no here.
    answered("take a report", reported.map(|()| wire::answer("ok")))
}

/// The answer, or the number that stands for "something went wrong".
fn answered(what: &str, outcome: Result<Response, Error>) -> Response {
    outcome.unwrap_or_else(|error| {
        let error = cellmill_service::report(&error);
        tracing::error!(error, "{what} of a legacy worker");
        wire::failure(codes::UNKNOWN)
    })
}

/// The job behind one of the predecessor's ints.
async fn job_of(app: &App, kind: JobKind, id: i64) -> Result<Option<Versioned<JobRecord>>, Error> {
    match u64::try_from(id) {
        Ok(number) if number > 0 => {
            jobs::job_of_number(&app.store, Counted::new(kind, number)).await
        }
        _ => Ok(None),
    }
}

/// A legacy job is not cut: this is all of it.
fn unit_of(job: &JobRecord) -> UnitKey {
    UnitKey {
        dir: job.dir.clone(),
        kind: job.kind,
        unit: 0,
    }
}

/// The kind of the model that a job is for, 0 when it has none: a training makes its own.
async fn model_type(app: &App, job: &JobRecord) -> Result<u8, Error> {
    let mid = match &job.parameters {
        JobParameters::Data(it) => it.mid,
        JobParameters::Predict(it) => it.mid,
        JobParameters::Train(_) => return Ok(0),
    };
    let card = app.store.read_model_card(mid).await?;
    Ok(card.and_then(|it| it.value.mtype).unwrap_or(0))
}
