//! "Why?": what happened to a job, a unit, an image or a CSV, by whom and when, and what that means.
//!
//! Everything is read from the documents themselves: their histories, the attempts of units, and the trail of what
//! people decided. Nothing is guessed.

mod files;
mod jobs;
mod subject;
mod trail;
mod used;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::edge::{Error, ErrorBody, Json, Query};
use crate::parts::App;
use subject::Subject;

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// What was asked of, as a key.
    pub subject: String,
    /// Sentences that answer: why it is where it is, why more than once, why not.
    pub answer: Vec<String>,
    /// What happened, oldest first.
    pub events: Vec<WhyEvent>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyEvent {
    pub at: DateTime<Utc>,
    /// A person, a worker, or a part of the program.
    pub who: String,
    pub what: String,
}

impl WhyEvent {
    fn new(at: DateTime<Utc>, who: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            at,
            who: who.into(),
            what: what.into(),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhyQuery {
    /// A job (`DkxD9Kjl`, or `DkxD9Kjl/train` where a directory has several), a unit (`DkxD9Kjl/data-00003`), or the key
    /// of an image or of a CSV.
    subject: String,
}

/// Why a job, a unit, an image or a CSV is where it is.
#[utoipa::path(get, path = "/api/v1/why", tag = "jobs", params(WhyQuery),
    responses((status = 200, body = WhyView), (status = "default", body = ErrorBody)))]
pub(crate) async fn why(
    State(app): State<App>,
    Query(query): Query<WhyQuery>,
) -> Result<Json<WhyView>, Error> {
    let mut view = match Subject::parse(&query.subject)? {
        Subject::Job { dir, kind } => jobs::job(&app, &dir, kind).await?,
        Subject::Unit(key) => jobs::unit(&app, &key).await?,
        Subject::Image(key) => files::image(&app, &key).await?,
        Subject::Points(key) => files::points(&app, &key).await?,
    };
    view.events.sort_by_key(|it| it.at);
    Ok(Json(view))
}
