//! Making queues, for tests. Production queues come from the template of `infra/`.

use aws_sdk_sqs::types::QueueAttributeName;

use super::SqsQueue;
use crate::{Error, QueueName};

impl SqsQueue {
    /// Makes a queue and its dead-letter queue with the limits of the settings; one that is there stays.
    pub async fn create(&self, queue: &QueueName) -> Result<(), Error> {
        let client = self.queues.client().await;
        let dead = client
            .create_queue()
            .queue_name(self.queues.full_name(&queue.dead_letters()))
            .send()
            .await
            .map_err(|it| super::error::unavailable(&self.queues.prefix, "make a queue", it))?;
        let dead_url = dead.queue_url.unwrap_or_default();
        let attributes = client
            .get_queue_attributes()
            .queue_url(&dead_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .map_err(|it| super::error::unavailable(&self.queues.prefix, "make a queue", it))?;
        let arn = attributes
            .attributes
            .and_then(|mut it| it.remove(&QueueAttributeName::QueueArn))
            .unwrap_or_default();
        let redrive = serde_json::json!({
            "deadLetterTargetArn": arn,
            "maxReceiveCount": self.settings.max_receives(queue),
        });
        client
            .create_queue()
            .queue_name(self.queues.full_name(queue))
            .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
            .send()
            .await
            .map_err(|it| super::error::unavailable(&self.queues.prefix, "make a queue", it))?;
        Ok(())
    }
}
