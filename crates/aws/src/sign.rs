//! Requests to our own api behind an IAM door, signed with Signature Version 4.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderName, HeaderValue};

/// The name that API Gateway signs under.
const SERVICE: &str = "execute-api";

/// Signs requests with the credentials of this process.
#[derive(Clone, Debug)]
pub struct RequestSigner {
    credentials: SharedCredentialsProvider,
    region: String,
}

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nothing says who asks.
    #[error(
        "there are no AWS credentials\nhint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )]
    NoCredentials(#[source] Option<aws_credential_types::provider::error::CredentialsError>),
    /// Nothing says where.
    #[error("there is no AWS region\nhint: set AWS_REGION")]
    NoRegion,
    /// The request can't be put into the signature's form.
    #[error("request can't be signed")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RequestSigner {
    /// A signer of the credentials and the region that `config` found.
    pub fn new(config: &SdkConfig) -> Result<Self, SignError> {
        Ok(Self {
            credentials: config
                .credentials_provider()
                .ok_or(SignError::NoCredentials(None))?,
            region: config.region().ok_or(SignError::NoRegion)?.to_string(),
        })
    }

    /// The headers to add to a request of this method, address and body.
    ///
    /// The body is signed with it, so it must be at hand whole.
    pub async fn headers(
        &self,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let credentials = self.credentials.provide_credentials().await;
        let identity: Identity = credentials
            .map_err(|it| SignError::NoCredentials(Some(it)))?
            .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|it| SignError::Request(it.into()))?
            .into();
        let request =
            SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body))
                .map_err(|it| SignError::Request(it.into()))?;
        let (instructions, _) = sign(request, &parameters)
            .map_err(|it| SignError::Request(it.into()))?
            .into_parts();
        let (headers, _) = instructions.into_parts();
        headers
            .into_iter()
            .map(|header| {
                let mut value = HeaderValue::from_str(header.value())
                    .map_err(|it| SignError::Request(it.into()))?;
                // The signature and the session token open the door while they are fresh.
                value.set_sensitive(true);
                Ok((HeaderName::from_static(header.name()), value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;

    use super::*;

    fn signer() -> RequestSigner {
        let credentials =
            Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        RequestSigner::new(&config).unwrap()
    }

    async fn authorization(method: &str, body: &[u8]) -> String {
        let url = "https://abc.execute-api.eu-central-1.amazonaws.com/api/v1/jobs?kind=data";
        let headers = signer().headers(method, url, body).await.unwrap();
        let (_, value) = headers
            .iter()
            .find(|(name, _)| name == http::header::AUTHORIZATION)
            .expect("the request is signed by a header");
        assert!(value.is_sensitive(), "a log must not show it");
        value.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn the_signature_names_the_door_and_binds_method_and_body() {
        let signed = authorization("POST", b"{}").await;
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
            "{signed}"
        );
        assert!(
            signed.contains("/eu-central-1/execute-api/aws4_request"),
            "{signed}"
        );
        let signature = |it: &str| it.rsplit_once("Signature=").unwrap().1.to_owned();
        assert_ne!(
            signature(&signed),
            signature(&authorization("POST", b"[]").await)
        );
        assert_ne!(
            signature(&signed),
            signature(&authorization("PUT", b"{}").await)
        );
    }

    #[test]
    fn without_credentials_or_region_the_reason_is_said() {
        let nothing = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .build();
        let error = RequestSigner::new(&nothing).unwrap_err();
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
