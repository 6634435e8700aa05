//! Making a bucket, for tests and for people without a template. Production buckets come from `infra/`.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use crate::Error;

/// The region whose buckets are made without naming it.
const FIRST_REGION: &str = "us-east-1";

/// Makes an empty bucket; one that is ours already is good.
pub async fn create_bucket(bucket: &str) -> Result<(), Error> {
    let config = cellmill_aws::load().await;
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let place = (region != FIRST_REGION).then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region.as_str()))
            .build()
    });
    let made = super::sdk_client(&config)
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(place)
        .send()
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(error) => Err(Error::Open {
            url: format!("s3://{bucket}"),
            source: error.into(),
        }),
    }
}
