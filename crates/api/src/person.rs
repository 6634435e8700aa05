//! Who asks: the seam for sign-in.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::edge::Error;
use crate::parts::App;

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As it stands in `by` fields and in the audit trail.
    pub id: String,
    /// The counted number, which ends the ids of new batches and cases.
    pub number: u64,
}

/// Nobody could be made out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is signed in")]
pub struct Unidentified;

/// Finds out who sent a request, by its headers.
#[async_trait::async_trait]
pub trait Identify: Send + Sync + 'static {
    /// Asked once for each request below `/api/v1`, and for figures, before its body is read.
    async fn identify(&self, request: &Parts) -> Result<Person, Unidentified>;
}

/// One machine, one person: whoever reaches the port is `local`, user number 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalUser;

#[async_trait::async_trait]
impl Identify for LocalUser {
    async fn identify(&self, _: &Parts) -> Result<Person, Unidentified> {
        Ok(Person {
            id: "local".to_owned(),
            number: 1,
        })
    }
}

/// Middleware of the routes that need somebody.
pub(crate) async fn sign_in(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match app.identity.identify(&parts).await {
        Ok(person) => {
            parts.extensions.insert(person);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(Unidentified) => Error::NotSignedIn.into_response(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Person {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get().cloned().ok_or(Error::NotSignedIn)
    }
}
