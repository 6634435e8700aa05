//! Waiting until a stack has nothing left to do.

use std::time::Duration;

use anyhow::Result;
use cellmill_tests::aws::functions::invoke;
use cellmill_tests::aws::{Door, Stack};
use cellmill_tests::show::wait::wait_until;
use serde_json::json;

/// The queues of functions.
const QUEUES: [&str; 4] = ["uploads", "points", "assemble", "collect"];
const PAUSE: Duration = Duration::from_millis(300);
/// A queue may be empty between two messages of a chain.
const IN_A_ROW: usize = 4;

/// Waits until no message is on its way to a function.
pub(crate) async fn queues_are_empty(stack: &Stack, limit: Duration) -> Result<()> {
    let mut queues = Vec::new();
    for name in QUEUES {
        queues.push(stack.queue(name).await?);
    }
    let mut n_empty = 0;
    wait_until("the queues are empty", limit, PAUSE, async || {
        for queue in &queues {
            if !queue.depth().await?.is_empty() {
                n_empty = 0;
                return Ok(None);
            }
        }
        n_empty += 1;
        Ok((n_empty >= IN_A_ROW).then_some(()))
    })
    .await
}

/// One sweep of the janitor: `jobs` or `images`.
pub(crate) async fn sweep(stack: &Stack, kind: &str) -> Result<serde_json::Value> {
    let janitor = stack.function("janitor");
    invoke(&stack.unseen(), &janitor, &json!({ "sweep": kind })).await
}

/// Lets the janitor clear up after jobs that have ended.
pub(crate) async fn no_job_is_open(stack: &Stack, limit: Duration) -> Result<()> {
    let bucket = stack.bucket();
    let pause = Duration::from_secs(1);
    wait_until("no job is open", limit, pause, async || {
        sweep(stack, "jobs").await?;
        let marks = bucket.list("active/").await?;
        Ok(marks.is_empty().then_some(()))
    })
    .await
}

/// Waits until something was decided about every key. Says the states, in the order of the keys.
pub(crate) async fn decided(door: &Door, keys: &[String], limit: Duration) -> Result<Vec<String>> {
    let is_open = |it: &String| matches!(it.as_str(), "unknown" | "expected");
    wait_until(
        "something is decided about every file",
        limit,
        PAUSE,
        async || {
            let states = door.states(keys).await?;
            Ok((!states.iter().any(is_open)).then_some(states))
        },
    )
    .await
}
