//! Signed requests to an AWS endpoint, for what the shows look at and do by themselves.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// An endpoint, and who asks there.
#[derive(Clone, Debug)]
pub struct Aws {
    endpoint: String,
    region: String,
    access_key: String,
    secret_key: String,
    http: reqwest::Client,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    pub service: &'a str,
    pub method: Method,
    /// Encoded, with the leading `/`.
    pub path: String,
    /// Not encoded.
    pub query: Vec<(&'a str, String)>,
    pub headers: Vec<(&'a str, String)>,
    pub body: Vec<u8>,
}

/// One answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub etag: String,
    pub body: Vec<u8>,
}

impl Aws {
    /// The credentials that emulators take: `test`, `test`, in `us-east-1`.
    pub fn new(endpoint: &str) -> Self {
        Self::with_keys(endpoint, "us-east-1", "test", "test")
    }

    pub fn with_keys(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            http: http(),
        }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What a program finds of it in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            // Nobody looks for an instance's own credentials.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Sends a signed request.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Answer> {
        let mut uri = format!("{}{}", self.endpoint, ask.path);
        for (n, (name, value)) in ask.query.iter().enumerate() {
            let sign = if n == 0 { '?' } else { '&' };
            uri = format!("{uri}{sign}{}={}", encoded(name), encoded(value));
        }
        let signature = self.signature(&ask, &uri)?;
        let mut request = self.http.request(ask.method, &uri);
        for (name, value) in signature {
            request = request.header(name, value);
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let answer = request
            .body(ask.body)
            .send()
            .await
            .with_context(|| format!("ask {uri}"))?;
        let etag = answer.headers().get(reqwest::header::ETAG);
        let etag = etag.and_then(|it| it.to_str().ok()).unwrap_or_default();
        Ok(Answer {
            status: answer.status(),
            etag: etag.to_owned(),
            body: answer.bytes().await.context("read an answer")?.to_vec(),
        })
    }

    fn signature(&self, ask: &Ask<'_>, uri: &str) -> Result<Vec<(String, String)>> {
        let identity =
            Credentials::new(&self.access_key, &self.secret_key, None, None, "show").into();
        let mut settings = SigningSettings::default();
        if ask.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(ask.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .context("say how to sign")?
            .into();
        let headers = ask
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let body = SignableBody::Bytes(&ask.body);
        let request = SignableRequest::new(ask.method.as_str(), uri, headers, body)
            .context("read the request to sign")?;
        let (signed, _) = sign(request, &parameters)
            .context("sign a request")?
            .into_parts();
        let pairs = signed.headers();
        Ok(pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// One call of a service that speaks JSON, such as `AmazonSQS.SendMessage`.
    pub async fn json(&self, service: &str, target: &str, body: &Value) -> Result<Value> {
        let version = if service == "logs" { "1.1" } else { "1.0" };
        let ask = Ask {
            service,
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type", format!("application/x-amz-json-{version}")),
                ("x-amz-target", target.to_owned()),
            ],
            body: serde_json::to_vec(body).context("write a request")?,
            ..Ask::default()
        };
        self.send(ask).await?.into_ok(target)?.json()
    }
}

impl Answer {
    /// Fails with what the service said, unless it said yes.
    pub fn into_ok(self, what: &str) -> Result<Self> {
        let said = String::from_utf8_lossy(&self.body);
        ensure!(self.status.is_success(), "{what}: {} {said}", self.status);
        Ok(self)
    }

    /// The JSON of the answer; an empty answer is null.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).context("the answer is no JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client for addresses of this machine.
pub fn http() -> reqwest::Client {
    // Built beside programs that speak TLS, `reqwest` wants to know with what. Twice is once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// What need not be encoded (RFC 3986).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A key as it stands in an address: its slashes stay.
pub(super) fn encoded_key(key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(encoded).collect();
    parts.join("/")
}
