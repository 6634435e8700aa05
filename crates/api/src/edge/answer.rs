//! The last hand on every answer: its id, its fixed headers, and errors as JSON.

use std::any::Any;

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method};
use tracing::Instrument as _;
use ulid::Ulid;

use super::Error;
use super::error::Failure;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a client that met a 503 should wait, in seconds.
const RETRY_AFTER_SECS: u64 = 2;

/// Middleware around everything: gives the request an id, and turns an [`Error`] into its JSON.
///
/// The log names the route, never the path: a path may hold a signed token.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let id = Ulid::generate().to_string();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", %id, method = %request.method(), route);
    async move {
        let mut response = next.run(request).await;
        if let Some(Failure(error)) = response.extensions_mut().remove() {
            response = render(&error, &id);
        }
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(X_REQUEST_ID, id);
        }
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await
}

fn render(error: &Error, id: &str) -> Response {
    if error.status().is_server_error() {
        tracing::error!("{}", cellmill_service::report(error));
    }
    let mut response = (error.status(), Json(error.body(id))).into_response();
    let headers = response.headers_mut();
    match error {
        Error::Unavailable(_) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        Error::Range { size } => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                headers.insert(CONTENT_RANGE, value);
            }
        }
        _ => {}
    }
    response
}

pub(crate) async fn no_such_path() -> Error {
    Error::not_found("this path")
}

pub(crate) async fn no_such_method(method: Method) -> Error {
    Error::Method {
        method: method.to_string(),
    }
}

/// One request that panics is one 500: the connection and everything else go on.
pub(crate) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => payload
            .downcast::<String>()
            .map_or_else(|_| "no text".to_owned(), |text| *text),
    };
    Error::internal(format!("the handler panicked: {text}")).into_response()
}
