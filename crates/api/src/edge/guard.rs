//! What is refused before a handler or a body is looked at.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, HOST, ORIGIN};
use http::{HeaderMap, Method};

use super::Error;
use crate::parts::App;
use crate::routes::UPLOAD_PATH;

/// Refuses bodies that announce more than the limit, and writes that another site's page sends.
///
/// Uploads have a limit of their own, the granted size; their token is all the right they need.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_upload = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|it| it.as_str() == UPLOAD_PATH);
    let limit = app.settings.max_body_bytes;
    if !is_upload && announced(request.headers()) > limit {
        return Error::TooLarge { limit }.into_response();
    }
    let is_read = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !is_read && is_from_elsewhere(request.headers()) {
        return Error::Forbidden {
            code: "cross_origin",
            message: "a page of another site may not change anything here".to_owned(),
        }
        .into_response();
    }
    next.run(request).await
}

fn announced(headers: &HeaderMap) -> u64 {
    let text = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    text.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Browsers name the page's site in `Origin` with every write; other programs send none.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let site = origin
        .to_str()
        .ok()
        .and_then(|it| it.split_once("://"))
        .map(|(_, site)| site);
    let host = headers.get(HOST).and_then(|it| it.to_str().ok());
    site.is_none() || site != host
}
