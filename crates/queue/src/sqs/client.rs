//! The client, made at its first use, and the addresses of queues, asked for once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use tokio::sync::OnceCell;

use super::error::unavailable;
use crate::{Error, QueueName};

/// A long poll of 20 s and an answer's way back: a request that takes longer was lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Every call may be repeated: sending twice is what "at least once" allows, the rest changes nothing.
const ATTEMPTS: u32 = 5;

/// Queues of one prefix: `uploads` of the prefix `cellmill` is SQS's `cellmill-uploads`.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) prefix: String,
    client: OnceCell<Client>,
    urls: Mutex<BTreeMap<QueueName, String>>,
}

impl Queues {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            client: OnceCell::new(),
            urls: Mutex::default(),
        }
    }

    pub(super) async fn client(&self) -> &Client {
        let make = || async {
            let config = cellmill_aws::load().await;
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build();
            let config = aws_sdk_sqs::config::Builder::from(&config)
                .timeout_config(timeouts)
                .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
                .build();
            Client::from_conf(config)
        };
        self.client.get_or_init(make).await
    }

    /// The name that SQS knows.
    pub(super) fn full_name(&self, queue: &QueueName) -> String {
        format!("{}-{queue}", self.prefix)
    }

    pub(super) async fn url(&self, queue: &QueueName) -> Result<String, Error> {
        let known = |urls: &Mutex<BTreeMap<QueueName, String>>| {
            let urls = urls.lock().unwrap_or_else(PoisonError::into_inner);
            urls.get(queue).cloned()
        };
        if let Some(url) = known(&self.urls) {
            return Ok(url);
        }
        let asked = self
            .client()
            .await
            .get_queue_url()
            .queue_name(self.full_name(queue))
            .send()
            .await;
        let url = match asked {
            Ok(answer) => answer.queue_url.unwrap_or_default(),
            Err(error) if error.as_service_error().is_some_and(is_missing) => {
                return Err(Error::Missing {
                    queue: queue.clone(),
                    full_name: self.full_name(queue),
                });
            }
            Err(error) => return Err(unavailable(&self.prefix, "find a queue", error)),
        };
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls.insert(queue.clone(), url.clone());
        Ok(url)
    }
}

fn is_missing(error: &GetQueueUrlError) -> bool {
    error.is_queue_does_not_exist()
}
