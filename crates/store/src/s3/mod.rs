//! The AWS home: a bucket of S3, or of what speaks its protocol.
//!
//! Data goes through `object_store`. Conditional writes are sent once and never repeated by a client: what an
//! answer that did not come means is decided above, by reading (DESIGN 3). Reads, listings and writes that may
//! be repeated are, with jittered pauses.

mod connector;
mod credentials;
mod objects;
mod setup;
mod upload;

pub use setup::create_bucket;

use std::sync::Arc;
use std::time::Duration;

use cellmill_aws::SdkConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use crate::clock::StorageClock;
use crate::error::Cause;
use connector::DatedConnector;
use credentials::Credentials;
use objects::S3Objects;

/// Longer than a busy bucket takes for its first byte, far shorter than a lease.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a read, a listing or a repeatable write is worth: seven tries in about twelve seconds.
const MAX_RETRIES: usize = 6;

/// How every client of the SDK is made.
pub(crate) fn sdk_config(config: &SdkConfig) -> aws_sdk_s3::config::Builder {
    // An emulator has one address for all buckets.
    aws_sdk_s3::config::Builder::from(config)
        .force_path_style(cellmill_aws::endpoint_is_given(config))
}

/// A client of the SDK for what `object_store` has no verb for. It never repeats a request by itself.
pub(crate) fn sdk_client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder =
        sdk_config(config).retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
    aws_sdk_s3::Client::from_conf(builder.build())
}

/// The objects of a bucket, and the clock that its answers set.
pub(crate) fn open(bucket: &str, config: &SdkConfig) -> Result<(S3Objects, StorageClock), Cause> {
    let clock = StorageClock::default();
    let objects = S3Objects {
        bucket: bucket.to_owned(),
        patient: client(bucket, config, &clock, MAX_RETRIES)?,
        once: client(bucket, config, &clock, 0)?,
        sdk: sdk_client(config),
    };
    Ok((objects, clock))
}

fn client(
    bucket: &str,
    config: &SdkConfig,
    clock: &StorageClock,
    max_retries: usize,
) -> Result<AmazonS3, Cause> {
    let region = config
        .region()
        .ok_or("there is no AWS region\nhint: set AWS_REGION")?;
    let credentials = config
        .credentials_provider()
        .ok_or("there are no AWS credentials")?;
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        // A large image may take longer than any limit on the whole, as long as it moves.
        .with_timeout_disabled()
        .with_allow_http(true);
    let retry = RetryConfig {
        max_retries,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        retry_timeout: Duration::from_secs(30),
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region.as_ref())
        .with_credentials(Arc::new(Credentials(credentials)))
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(DatedConnector(clock.clone()))
        .with_virtual_hosted_style_request(!cellmill_aws::endpoint_is_given(config));
    if let Some(endpoint) = config.endpoint_url() {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder.build()?)
}
