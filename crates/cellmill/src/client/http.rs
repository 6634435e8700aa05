//! Requests and answers: addresses, status codes, bodies. What is asked stands in `calls`.

use std::time::Duration;

use cellmill_api::ErrorBody;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// A server's address and the connections to it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
}

impl Client {
    /// Long enough for a big upload over a slow line to make progress, short enough to notice a dead peer.
    const READ_TIMEOUT: Duration = Duration::from_mins(1);
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    /// A client of the server at `url`, such as `http://127.0.0.1:8750`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, Error> {
        let refuse = || Error::Url {
            url: url.to_owned(),
        };
        let base = Url::parse(url).map_err(|_| refuse())?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(refuse());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Self::CONNECT_TIMEOUT)
            .read_timeout(Self::READ_TIMEOUT)
            // The server is on this machine or in this lab: a proxy for the internet does not lead to it.
            .no_proxy()
            .build()
            .map_err(|_| refuse())?;
        Ok(Self { base, http })
    }

    /// The server's address as people write it.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// An address below the server's: each part is one path segment, whatever characters it holds.
    pub(super) fn at(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("the base was checked to have a path")
            .pop_if_empty()
            .extend(parts);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.json(self.http.get(url.clone()), &url).await
    }

    pub(super) async fn get_bytes(&self, url: Url) -> Result<Vec<u8>, Error> {
        let call = call_of(&url);
        let answer = self.send(self.http.get(url), &call).await?;
        let body = answer.bytes().await;
        Ok(body.map_err(|it| self.broken(&call, it))?.to_vec())
    }

    pub(super) async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Error> {
        let request = self.http.request(method, url.clone()).json(body);
        self.json(request, &url).await
    }

    pub(super) async fn send_bytes<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Vec<u8>,
    ) -> Result<T, Error> {
        let request = self
            .http
            .request(method, url.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body);
        self.json(request, &url).await
    }

    /// A request to an address that the server gave, absolute or relative to its own.
    pub(super) fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, Error> {
        let refuse = |_| Error::Url {
            url: url.to_owned(),
        };
        Ok(self
            .http
            .request(method, self.base.join(url).map_err(refuse)?))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        url: &Url,
    ) -> Result<T, Error> {
        let call = call_of(url);
        let answer = self.send(request, &call).await?;
        let body = answer
            .bytes()
            .await
            .map_err(|source| self.broken(&call, source))?;
        // Nothing to say reads as `null`.
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|source| Error::Answer { call, source })
    }

    /// Sends a request; an answer that is no success becomes an error with the server's own words.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        call: &str,
    ) -> Result<Response, Error> {
        let answer = request.send().await.map_err(|source| {
            if source.is_connect() {
                Error::NotReachable {
                    url: self.url().to_owned(),
                    source,
                }
            } else {
                self.broken(call, source)
            }
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let retry_after_s = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|it| it.to_str().ok()?.parse().ok());
        let text = answer.bytes().await.unwrap_or_default();
        let body = serde_json::from_slice(&text).unwrap_or_else(|_| ErrorBody {
            code: status.as_str().to_owned(),
            message: format!("the server answers {status} to {call}"),
            hint: None,
        });
        Err(Error::Refused {
            status: status.as_u16(),
            body,
            retry_after_s,
        })
    }

    fn broken(&self, call: &str, source: reqwest::Error) -> Error {
        Error::Broken {
            url: self.url().to_owned(),
            call: call.to_owned(),
            source,
        }
    }
}

fn call_of(url: &Url) -> String {
    format!("`{}`", url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_any_character_stay_one_segment() {
        let client = Client::new("http://127.0.0.1:8750").unwrap();
        let url = client.at(&["api", "batches", "a/b 病%20"], &[("key", "img/x&y")]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:8750/api/batches/a%2Fb%20%E7%97%85%2520?key=img%2Fx%26y"
        );
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for bad in ["", "127.0.0.1:8750", "https://x", "file:///x"] {
            assert!(
                matches!(Client::new(bad), Err(Error::Url { .. })),
                "{bad:?}"
            );
        }
    }
}
