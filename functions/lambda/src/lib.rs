//! The shell of every Lambda function: settings and homes at the start, batches of messages with partial answers,
//! a span for each record. What a message means is the business of the function's own crate, which knows nothing
//! of Lambda.
//!
//! A batch answers with the messages that are to come again, always. A message that can't succeed gets a letter in
//! the dead-letter queue that says why, and counts as handled.

mod batch;
mod start;

pub use batch::{serve_batches, serve_each};
pub use lambda_runtime::Error;
pub use start::{Home, run};

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Serves invocations that are no messages, such as those of a schedule.
pub async fn serve_events<T, R, F, W>(handle: F) -> Result<(), Error>
where
    T: DeserializeOwned + Send,
    R: Serialize + Send,
    F: Fn(T) -> W + Send + Sync,
    W: Future<Output = Result<R, Error>> + Send,
{
    lambda_runtime::run(service_fn(async |event: LambdaEvent<T>| {
        handle(event.payload).await
    }))
    .await
}
