//! axum's extractors, with our errors.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::parts::App;

/// A JSON answer.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body: of the right type, within the limit, of the right shape.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        match axum::Json::<T>::from_request(request, app).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refusal(&rejection, app.settings.max_body_bytes)),
        }
    }
}

fn refusal(rejection: &JsonRejection, limit: u64) -> Error {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Error::WrongType {
            message: "the body must be JSON, with `content-type: application/json`".to_owned(),
        },
        JsonRejection::JsonSyntaxError(_) | JsonRejection::JsonDataError(_) => {
            Error::malformed(rejection.body_text())
        }
        other if other.status() == http::StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge { limit },
        _ => Error::TooSlow,
    }
}

/// The parts of the path, checked by their types.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::malformed(rejection.body_text())),
        }
    }
}

/// The query, checked by its types.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, app).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::malformed(rejection.body_text())),
        }
    }
}
