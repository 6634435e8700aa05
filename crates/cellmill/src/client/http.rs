//! Requests and answers: addresses, status codes, bodies. What is asked stands in `calls`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cellmill_api::ErrorBody;
use cellmill_api::views::UploadAnswer;
use cellmill_aws::RequestSigner;
use reqwest::redirect::Policy;
use reqwest::{Body, Method, Request, RequestBuilder, Response, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{Error, storage};

/// A server's address and the connections to it, and to where it sends us. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
    /// For addresses in the internet, which a proxy may lead to.
    internet: reqwest::Client,
    /// Signs requests to a server whose door is IAM's; made when it is needed first.
    door: Arc<OnceCell<RequestSigner>>,
}

/// A request that somebody signed: sent as it stands, with no header of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedRequest {
    pub method: String,
    /// Absolute, or relative to the server.
    pub url: String,
    pub headers: BTreeMap<String, String>,
}

impl SignedRequest {
    /// How to send the file that an answer wants.
    pub fn of(answer: &UploadAnswer) -> Self {
        Self {
            method: answer.method.clone().unwrap_or_default(),
            url: answer.url.clone().unwrap_or_default(),
            headers: answer.headers.clone().unwrap_or_default(),
        }
    }
}

impl Client {
    /// Long enough for a big upload over a slow line to make progress, short enough to notice a dead peer.
    const READ_TIMEOUT: Duration = Duration::from_mins(1);
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    /// A client of the server at `url`, such as `http://127.0.0.1:8750`. Nothing is sent yet.
    ///
    /// Requests to an API Gateway are signed with the AWS credentials of this process.
    pub fn new(url: &str) -> Result<Self, Error> {
        let refuse = || Error::Url {
            url: url.to_owned(),
        };
        let base = Url::parse(url).map_err(|_| refuse())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(refuse());
        }
        cellmill_aws::install_tls();
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Self::CONNECT_TIMEOUT)
                .read_timeout(Self::READ_TIMEOUT)
                // A signed address refuses headers of the request that led to it, so we follow by ourselves.
                .redirect(Policy::none())
        };
        // The server is on this machine or in this lab: a proxy for the internet does not lead to it.
        let lab = builder().no_proxy().build().map_err(|_| refuse())?;
        let internet = builder().build().map_err(|_| refuse())?;
        let http = if base.scheme() == "https" {
            internet.clone()
        } else {
            lab
        };
        Ok(Self {
            base,
            http,
            internet,
            door: Arc::default(),
        })
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

    /// The last bytes of an answer, at most `max`, and whether there were more. Never more than twice that is held.
    pub(super) async fn get_tail(&self, url: Url, max: usize) -> Result<(Vec<u8>, bool), Error> {
        let call = call_of(&url);
        let mut answer = self.send(self.http.get(url), &call).await?;
        let (mut tail, mut is_cut) = (Vec::new(), false);
        let broken = |it| self.broken(&call, it);
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            tail.extend_from_slice(&chunk);
            if tail.len() > 2 * max {
                tail.drain(..tail.len() - max);
                is_cut = true;
            }
        }
        let excess = tail.len().saturating_sub(max);
        tail.drain(..excess);
        Ok((tail, is_cut || excess > 0))
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

    /// A request to an address that the server gave, absolute or relative to its own. It carries nothing yet.
    pub(super) fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, Error> {
        let refuse = |_| Error::Url {
            url: url.to_owned(),
        };
        let url = self.base.join(url).map_err(refuse)?;
        let client = match url.scheme() {
            "https" => &self.internet,
            _ => &self.http,
        };
        Ok(client.request(method, url))
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
        let mut answer = self.answer(request, call).await?;
        // The bytes lie elsewhere, for a moment: a new question, without a header of the first one.
        if answer.status() == StatusCode::SEE_OTHER
            && let Some(address) = answer.headers().get(header::LOCATION)
            && let Ok(address) = address.to_str()
        {
            answer = self
                .answer(self.request(Method::GET, address)?, call)
                .await?;
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let retry_after_s = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|it| it.to_str().ok()?.parse().ok());
        let text = answer.bytes().await.unwrap_or_default();
        let body = serde_json::from_slice(&text)
            .ok()
            .or_else(|| storage::refusal(&String::from_utf8_lossy(&text)))
            .unwrap_or_else(|| ErrorBody {
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

    /// Adds the signature that the door asks for, if this request goes through it.
    async fn signed(&self, request: &mut Request) -> Result<(), Error> {
        let is_ours = request.url().origin() == self.base.origin()
            && request.url().path().starts_with(self.base.path());
        if !is_ours || !is_behind_iam(&self.base) {
            return Ok(());
        }
        let signer = self.door.get_or_try_init(async || {
            RequestSigner::new(&cellmill_aws::load().await).map_err(Error::Unsigned)
        });
        let signer = signer.await?;
        let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
        let headers = signer
            .headers(request.method().as_str(), request.url().as_str(), body)
            .await
            .map_err(Error::Unsigned)?;
        request.headers_mut().extend(headers);
        Ok(())
    }

    async fn answer(&self, request: RequestBuilder, call: &str) -> Result<Response, Error> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(|source| self.broken(call, source))?;
        self.signed(&mut request).await?;
        client.execute(request).await.map_err(|source| {
            if source.is_connect() {
                let asked = source.url().map(|it| it.origin().ascii_serialization());
                Error::NotReachable {
                    url: asked.unwrap_or_else(|| self.url().to_owned()),
                    source: source.without_url(),
                }
            } else {
                self.broken(call, source)
            }
        })
    }

    fn broken(&self, call: &str, source: reqwest::Error) -> Error {
        Error::Broken {
            url: self.url().to_owned(),
            call: call.to_owned(),
            // A signed address is a secret for as long as it is good.
            source: source.without_url(),
        }
    }
}

/// Is this the address of an API Gateway, or of an emulated one?
fn is_behind_iam(base: &Url) -> bool {
    base.path().contains("/_aws/execute-api/")
        || base
            .host_str()
            .is_some_and(|host| host.split('.').any(|part| part == "execute-api"))
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
    fn an_api_gateway_is_known_by_its_address() {
        let is_behind = |url: &str| is_behind_iam(&Url::parse(url).unwrap());
        assert!(is_behind("https://a1.execute-api.eu-west-1.amazonaws.com"));
        assert!(is_behind("http://127.0.0.1:4566/_aws/execute-api/a1"));
        assert!(!is_behind("http://127.0.0.1:8750"));
        assert!(!is_behind("https://mill.lab/execute-api"));
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for bad in ["", "127.0.0.1:8750", "ftp://x", "file:///x"] {
            assert!(
                matches!(Client::new(bad), Err(Error::Url { .. })),
                "{bad:?}"
            );
        }
    }
}
