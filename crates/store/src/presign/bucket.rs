//! The SDK's client of one bucket.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use chrono::{DateTime, Utc};

use crate::Error;

/// The longest that S3 honours a signature: 7 days.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// One bucket. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Bucket {
    /// Region, credentials and endpoint come from the environment, as for every AWS program. Sends nothing.
    pub(super) async fn open(name: &str) -> Result<Self, Error> {
        let shared = cellmill_aws::load().await;
        if shared.region().is_none() {
            return Err(Error::Open {
                url: format!("s3://{name}"),
                source: "no region is set\nhint: set AWS_REGION".into(),
            });
        }
        let config = crate::s3::sdk_config(&shared)
            // Checksums are ours, of what the sender has; the SDK's own would be of the empty body that it sees.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            name: name.to_owned(),
        })
    }
}

/// How a URL is signed that is good until `expires`. One that is over already is signed for a second of the past,
/// so that S3 is the one to say so.
pub(super) fn until(key: &str, expires: DateTime<Utc>) -> Result<PresigningConfig, Error> {
    let second = Duration::from_secs(1);
    let end = SystemTime::from(expires);
    let now = SystemTime::now();
    let start = if end <= now + second {
        end - second
    } else {
        now
    };
    let length = end.duration_since(start).unwrap_or(second).min(LONGEST);
    PresigningConfig::builder()
        .start_time(start)
        .expires_in(length)
        .build()
        .map_err(|source| Error::unusable(key, source))
}

/// Whether S3 answered with this code.
pub(super) fn has_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error
        .as_service_error()
        .is_some_and(|it| it.code() == Some(code))
}

/// What an error of S3 means for a caller who asked about `key`.
pub(super) fn failed<E, R>(key: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let key = key.to_owned();
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    match code {
        Some("NoSuchKey" | "NoSuchUpload" | "NotFound") => Error::NotFound { key },
        Some("PreconditionFailed") => Error::Exists { key },
        Some(
            "AccessDenied"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "AllAccessDisabled",
        ) => Error::Denied {
            key,
            source: error.into(),
        },
        Some("NoSuchBucket" | "InvalidRequest" | "InvalidArgument" | "EntityTooSmall") => {
            Error::Refused {
                key,
                source: error.into(),
            }
        }
        _ => Error::Unavailable {
            key,
            source: error.into(),
        },
    }
}
