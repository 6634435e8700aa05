//! Connections that tell the clock what time the storage says it is.

use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::header::DATE;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::clock::StorageClock;

/// Makes connections whose answers set a clock by their `Date` header.
#[derive(Debug)]
pub(super) struct DatedConnector(pub(super) StorageClock);

impl HttpConnector for DatedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Dated {
            inner: ReqwestConnector::default().connect(options)?,
            clock: self.0.clone(),
        }))
    }
}

#[derive(Debug)]
struct Dated {
    inner: HttpClient,
    clock: StorageClock,
}

#[async_trait]
impl HttpService for Dated {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.inner.execute(request).await?;
        let date = answer.headers().get(DATE).and_then(|it| it.to_str().ok());
        if let Some(date) = date.and_then(|it| DateTime::parse_from_rfc2822(it).ok()) {
            self.clock.heard(date.with_timezone(&Utc), Instant::now());
        }
        Ok(answer)
    }
}
