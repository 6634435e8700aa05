//! Queues, as the shows look at them and fill them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::client::Aws;

/// The most messages of one call (a limit of SQS).
pub const MAX_BATCH: usize = 10;

/// A queue of an endpoint.
#[derive(Clone, Debug)]
pub struct Queue {
    aws: Aws,
    url: String,
}

/// A message that was received, and is hidden for a while.
#[derive(Clone, Debug)]
pub struct Message {
    pub body: String,
    pub receipt: String,
}

/// What waits in a queue, as SQS estimates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub waiting: u64,
    /// Received and not deleted.
    pub in_flight: u64,
    pub delayed: u64,
}

impl Depth {
    pub const fn is_empty(self) -> bool {
        self.waiting + self.in_flight + self.delayed == 0
    }
}

impl Queue {
    /// The queue of this name.
    pub async fn named(aws: &Aws, name: &str) -> Result<Self> {
        let answer = call(aws, "GetQueueUrl", &json!({ "QueueName": name })).await?;
        Self::of(aws, &answer)
    }

    /// Makes the queue, for tries without a stack.
    pub async fn make(aws: &Aws, name: &str) -> Result<Self> {
        let answer = call(aws, "CreateQueue", &json!({ "QueueName": name })).await?;
        Self::of(aws, &answer)
    }

    fn of(aws: &Aws, answer: &Value) -> Result<Self> {
        let url = answer["QueueUrl"]
            .as_str()
            .context("a queue has an address")?;
        Ok(Self {
            aws: aws.clone(),
            url: url.to_owned(),
        })
    }

    /// What other services know it by.
    pub async fn arn(&self) -> Result<String> {
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": ["QueueArn"] });
        let answer = call(&self.aws, "GetQueueAttributes", &asked).await?;
        let arn = answer["Attributes"]["QueueArn"].as_str();
        arn.map(str::to_owned).context("a queue has an ARN")
    }

    /// Sends messages, ten a call.
    pub async fn send(&self, bodies: &[String]) -> Result<()> {
        for batch in bodies.chunks(MAX_BATCH) {
            let entries: Vec<Value> = batch
                .iter()
                .enumerate()
                .map(|(id, body)| json!({ "Id": id.to_string(), "MessageBody": body }))
                .collect();
            let asked = json!({ "QueueUrl": self.url, "Entries": entries });
            let answer = call(&self.aws, "SendMessageBatch", &asked).await?;
            let n_failed = answer["Failed"].as_array().map_or(0, Vec::len);
            ensure!(n_failed == 0, "not sent: {}", answer["Failed"]);
        }
        Ok(())
    }

    /// Up to ten messages, without waiting for more.
    pub async fn receive(&self) -> Result<Vec<Message>> {
        let asked = json!({ "QueueUrl": self.url, "MaxNumberOfMessages": MAX_BATCH });
        let answer = call(&self.aws, "ReceiveMessage", &asked).await?;
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let messages = answer["Messages"].as_array().into_iter().flatten();
        let message = |it: &Value| Message {
            body: text(&it["Body"]),
            receipt: text(&it["ReceiptHandle"]),
        };
        Ok(messages.map(message).collect())
    }

    pub async fn delete(&self, messages: &[Message]) -> Result<()> {
        for batch in messages.chunks(MAX_BATCH) {
            let entries: Vec<Value> = batch
                .iter()
                .enumerate()
                .map(|(id, it)| json!({ "Id": id.to_string(), "ReceiptHandle": it.receipt }))
                .collect();
            let asked = json!({ "QueueUrl": self.url, "Entries": entries });
            call(&self.aws, "DeleteMessageBatch", &asked).await?;
        }
        Ok(())
    }

    /// Takes everything out that is there.
    pub async fn drain(&self) -> Result<Vec<String>> {
        let mut bodies = Vec::new();
        loop {
            let messages = self.receive().await?;
            if messages.is_empty() {
                return Ok(bodies);
            }
            self.delete(&messages).await?;
            bodies.extend(messages.into_iter().map(|it| it.body));
        }
    }

    pub async fn depth(&self) -> Result<Depth> {
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": ["All"] });
        let answer = call(&self.aws, "GetQueueAttributes", &asked).await?;
        let number = |name: &str| {
            let text = answer["Attributes"][name].as_str();
            text.and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        Ok(Depth {
            waiting: number("ApproximateNumberOfMessages"),
            in_flight: number("ApproximateNumberOfMessagesNotVisible"),
            delayed: number("ApproximateNumberOfMessagesDelayed"),
        })
    }
}

async fn call(aws: &Aws, operation: &str, body: &Value) -> Result<Value> {
    aws.json("sqs", &format!("AmazonSQS.{operation}"), body)
        .await
}
