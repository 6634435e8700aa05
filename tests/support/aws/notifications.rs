//! Where a bucket sends its events.

use anyhow::{Context as _, Result};
use reqwest::Method;

use super::client::{Ask, Aws};

/// Lets all events of created objects under the prefixes go to one queue instead of those of the stack.
pub async fn redirect(aws: &Aws, bucket: &str, queue_arn: &str, prefixes: &[&str]) -> Result<()> {
    let one = |(n, prefix): (usize, &&str)| {
        format!(
            "<QueueConfiguration><Id>show{n}</Id><Queue>{queue_arn}</Queue><Event>s3:ObjectCreated:*</Event>\
             <Filter><S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value></FilterRule></S3Key></Filter>\
             </QueueConfiguration>"
        )
    };
    let all: String = prefixes.iter().enumerate().map(one).collect();
    let ask = Ask {
        service: "s3",
        method: Method::PUT,
        path: format!("/{bucket}"),
        query: vec![("notification", String::new())],
        body: format!(
            "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{all}</NotificationConfiguration>"
        )
        .into_bytes(),
        ..Ask::default()
    };
    let answer = aws.send(ask).await?;
    answer
        .into_ok("redirect the events")
        .context("set where a bucket sends its events")
        .map(drop)
}
