//! The Lambda `janitor`: sweeps by a schedule, `{"sweep":"jobs"}` every minute, `{"sweep":"images"}` and
//! `{"sweep":"retention"}` every day.
//!
//! A sweep over jobs also tells how much waits, as metrics in the log (the embedded metric format of AWS): workers
//! are scaled by them.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cellmill_fn_janitor::retention::{Retention, Swept};
use cellmill_fn_janitor::{Janitor, Loads, SweepImages};
use cellmill_lambda::{Error, Home, run, serve_events};
use cellmill_store::presign::S3Uploads;
use serde::{Deserialize, Serialize};

/// What the schedule sends.
#[derive(Clone, Debug, Deserialize)]
struct Order {
    sweep: Sweep,
    /// Of the sweep `retention`: go on behind this key, where an earlier one ran out of time.
    #[serde(default)]
    from: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sweep {
    Jobs,
    Images,
    Retention,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
struct Done {
    n_actions: usize,
    #[serde(skip_serializing_if = "Loads::is_empty")]
    loads: Loads,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Swept>,
}

/// Less than the function's 15 minutes, by more than a slice takes.
const LONGEST: Duration = Duration::from_mins(12);

/// The classes that workers are scaled by: told also when there is nothing, or the last number would stand.
const SCALED: [&str; 2] = ["cpu", "gpu"];

fn main() -> ExitCode {
    run(async |home| {
        let retention = retention(&home).await?;
        let janitor = Janitor::new(home.store, home.queue, &home.settings);
        // The stack names its queues by itself.
        let queue = home.settings.queue.unwrap_or_default();
        let stack = queue.strip_prefix("sqs://").unwrap_or(&queue).to_owned();
        serve_events(async |order: Order| sweep(&janitor, &retention, order, &stack).await).await
    })
}

async fn retention(home: &Home) -> Result<Retention, Error> {
    let url = home.settings.store.as_deref().unwrap_or_default();
    let bucket = url.strip_prefix("s3://").ok_or_else(|| {
        format!("CELLMILL_STORE is `{url}`, and this function needs a bucket, `s3://bucket`")
    })?;
    let uploads = Arc::new(S3Uploads::open(bucket.trim_end_matches('/')).await?);
    Ok(Retention::new(home.store.clone(), uploads, &home.settings))
}

async fn sweep(
    janitor: &Janitor,
    retention: &Retention,
    order: Order,
    stack: &str,
) -> Result<Done, Error> {
    let mut done = Done::default();
    match order.sweep {
        Sweep::Jobs => {
            let mut swept = janitor.plan_jobs().await?;
            for class in SCALED {
                swept.loads.entry(class.to_owned()).or_default();
            }
            tell(&swept.loads, stack);
            swept.actions.extend(janitor.plan_trainings().await?);
            janitor.perform(&swept.actions).await?;
            done.n_actions = swept.actions.len();
            done.loads = swept.loads;
        }
        Sweep::Images => {
            let swept = janitor.plan_images(&SweepImages::everything()).await?;
            janitor.perform(&swept.actions).await?;
            done.n_actions = swept.actions.len();
        }
        Sweep::Retention => {
            let swept = retention.run(order.from, LONGEST).await?;
            if let Some(next) = &swept.next {
                tracing::warn!(
                    next,
                    n_seen = swept.n_seen,
                    "retention ran out of time; it goes on when it is invoked with this key as `from`"
                );
            }
            done.n_actions = swept.removed.n_objects as usize;
            done.retention = Some(swept);
        }
    }
    Ok(done)
}

/// One line a class on standard output, where AWS looks for metrics.
fn tell(loads: &Loads, stack: &str) {
    use std::io::Write as _;
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let mut out = std::io::stdout().lock();
    for (class, load) in loads {
        let metrics = serde_json::json!([{
            "Namespace": "Cellmill",
            "Dimensions": [["Stack", "Class"]],
            "Metrics": [
                {"Name": "WaitingUnits", "Unit": "Count"},
                {"Name": "LeasedUnits", "Unit": "Count"},
            ],
        }]);
        let line = serde_json::json!({
            "_aws": {"Timestamp": now_ms as u64, "CloudWatchMetrics": metrics},
            "Stack": stack,
            "Class": class,
            "WaitingUnits": load.waiting,
            "LeasedUnits": load.leased,
        });
        // Metrics that can't be written are missed, and nothing else.
        let _ = writeln!(out, "{line}");
    }
}
