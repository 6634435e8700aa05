//! The API, from outside: addresses and JSON, no types of the program.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::wait::wait_until;

/// Talks to one `up`.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

/// A file to send, as the api wants it described.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// `hospital` or `upload`.
    pub root: &'a str,
    pub batch: &'a str,
    pub case: &'a str,
    /// Points have a date, images have none.
    pub date: Option<&'a str>,
    pub name: &'a str,
    /// How the image is to be labelled; the names of label types.
    pub label_type: Option<&'a str>,
    pub content: &'a [u8],
}

/// What became of a file that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It lies under this key now.
    Stored(String),
    /// Not taken, with the code that says why.
    Refused(String),
}

/// The state of one key, as `/api/v1/status` tells it.
#[derive(Clone, Debug)]
pub struct KeyState {
    pub state: String,
    pub code: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        // Built beside programs that speak TLS, `reqwest` wants to know with what. Twice is once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            base: base.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn is_healthy(&self) -> bool {
        let asked = self.http.get(format!("{}/health", self.base));
        let answer = asked.timeout(Duration::from_secs(5)).send().await;
        answer.is_ok_and(|it| it.status().is_success())
    }

    /// Any request; the answer's status and bytes.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let mut url = Url::parse(&format!("{}{path}", self.base)).context("build an address")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("ask {path}"))?;
        let status = answer.status();
        let bytes = answer
            .bytes()
            .await
            .with_context(|| format!("read {path}"))?;
        Ok((status, bytes.to_vec()))
    }

    /// The bytes of an answer that must be a success.
    pub async fn bytes(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>> {
        let (status, bytes) = self.ask(Method::GET, path, query, None).await?;
        let said = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
        ensure!(status.is_success(), "{path} {query:?}: {status} {said}");
        Ok(bytes)
    }

    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let bytes = self.bytes(path, query).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("{path} is no JSON"))
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, bytes) = self.ask(Method::POST, path, &[], Some(body)).await?;
        let said = String::from_utf8_lossy(&bytes);
        ensure!(status.is_success(), "{path}: {status} {said}");
        serde_json::from_slice(&bytes).with_context(|| format!("{path} is no JSON"))
    }

    /// Every item of a list, page by page.
    pub async fn all(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after = None::<String>;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000"));
            query.extend(after.as_deref().map(|it| ("after", it)));
            let page = self.get(path, &query).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// Asks for signed addresses; the answers in the order of the files.
    pub async fn grants(&self, files: &[Upload<'_>]) -> Result<Vec<Value>> {
        let files: Vec<Value> = files.iter().map(Upload::described).collect();
        let answer = self
            .post("/api/v1/uploads", &json!({ "files": files }))
            .await?;
        let grants = answer["files"].as_array().cloned().unwrap_or_default();
        ensure!(grants.len() == files.len(), "an answer for each file");
        Ok(grants)
    }

    /// Sends the bytes that a grant allows.
    pub async fn put(&self, grant: &Value, content: &[u8]) -> Result<Sent> {
        let code = |it: &Value| Sent::Refused(text(&it["code"]));
        match grant["status"].as_str() {
            Some("send") => {}
            Some("stored") => return Ok(Sent::Stored(text(&grant["key"]))),
            _ => return Ok(code(grant)),
        }
        let base = Url::parse(&self.base).context("the server's own address")?;
        let url = base
            .join(&text(&grant["url"]))
            .context("a signed address")?;
        let method = grant["method"].as_str().unwrap_or("PUT").as_bytes();
        let mut request = self.http.request(Method::from_bytes(method)?, url);
        for (name, value) in grant["headers"].as_object().into_iter().flatten() {
            if name != CONTENT_LENGTH.as_str() {
                request = request.header(name, text(value));
            }
        }
        // Left to itself the client says nothing about the length of an empty body.
        request = request.header(CONTENT_LENGTH, content.len());
        let answer = request
            .body(content.to_vec())
            .send()
            .await
            .context("send a file")?;
        if answer.status().is_success() {
            return Ok(Sent::Stored(text(&grant["key"])));
        }
        let said: Value = answer.json().await.unwrap_or_default();
        Ok(code(&said))
    }

    /// Offers one file and sends it when it is wanted.
    pub async fn upload(&self, file: &Upload<'_>) -> Result<Sent> {
        let grants = self.grants(std::slice::from_ref(file)).await?;
        self.put(&grants[0], file.content).await
    }

    /// What was decided on keys, 1000 at most.
    pub async fn states(&self, keys: &[String]) -> Result<Vec<KeyState>> {
        let answer = self
            .post("/api/v1/status", &json!({ "keys": keys }))
            .await?;
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        ensure!(items.len() == keys.len(), "a state for each key");
        let state = |it: &Value| KeyState {
            state: text(&it["state"]),
            code: text(&it["code"]),
        };
        Ok(items.iter().map(state).collect())
    }

    /// Waits until something was decided on a key: about the bytes that lie there now.
    pub async fn decided(&self, key: &str, limit: Duration) -> Result<KeyState> {
        let keys = [key.to_owned()];
        let what = format!("something is decided about {key}");
        wait_until(&what, limit, Duration::from_millis(3), async || {
            let state = self.states(&keys).await?.remove(0);
            let is_open = matches!(state.state.as_str(), "unknown" | "expected");
            Ok((!is_open).then_some(state))
        })
        .await
    }

    /// A job of the kind `data`, `train` or `predict`.
    pub async fn job_of(&self, kind: &str, dir: &str) -> Result<Value> {
        self.get(&format!("/api/v1/jobs/{kind}/{dir}"), &[]).await
    }

    /// The job of a data set.
    pub async fn job(&self, dir: &str) -> Result<Value> {
        self.job_of("data", dir).await
    }

    /// Waits until the job of a data set is in one of some states.
    pub async fn job_in(&self, dir: &str, states: &[&str], limit: Duration) -> Result<Value> {
        self.job_of_in("data", dir, states, limit).await
    }

    /// Waits until a job is in one of some states.
    pub async fn job_of_in(
        &self,
        kind: &str,
        dir: &str,
        states: &[&str],
        limit: Duration,
    ) -> Result<Value> {
        let what = format!("{kind} job {dir} is {states:?}");
        wait_until(&what, limit, Duration::from_millis(20), async || {
            let job = self.job_of(kind, dir).await?;
            let is_in = job["state"].as_str().is_some_and(|it| states.contains(&it));
            Ok(is_in.then_some(job))
        })
        .await
    }
}

impl Upload<'_> {
    fn described(&self) -> Value {
        let mut described = json!({
            "root": self.root,
            "kind": if self.date.is_some() { "points" } else { "image" },
            "batch": self.batch,
            "case": self.case,
            "name": self.name,
            "bytes": self.content.len(),
            "sha256": sha256_hex(self.content),
        });
        if let Some(date) = self.date {
            described["date"] = json!(date);
        }
        if let Some(label_type) = self.label_type {
            described["label_type"] = json!(label_type);
        }
        described
    }
}

/// A text of an answer; empty when there is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, it| {
        let _ = write!(text, "{it:02x}");
        text
    })
}
