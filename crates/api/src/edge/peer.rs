//! From where a request comes, as far as its connection tells.

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderName;
use http::header::FORWARDED;

use super::Error;

/// The other end of the connection; [`crate::serve`] puts it beside every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What proxies add. One on this machine would make a request from anywhere look as if it came from here.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Middleware of routes that only programs of this machine may ask.
pub(crate) async fn local_only(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let is_local = peer.is_some_and(|it| it.0.to_canonical().is_loopback());
    let headers = request.headers();
    let is_forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
    if is_local && !is_forwarded {
        return next.run(request).await;
    }
    Error::Forbidden {
        code: "not_local",
        message:
            "this path is for programs of the server's own machine, asking its loopback address"
                .to_owned(),
    }
    .into_response()
}
