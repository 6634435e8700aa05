//! Jobs of very many units, each of which is next to nothing: one small photograph.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use cellmill_tests::show::Show;
use cellmill_tests::show::http::Client;
use cellmill_tests::show::process::Mill;
use serde_json::{Value, json};

use crate::material::tiny;
use crate::programs::Setting;
use crate::records::state;

const LIMIT: Duration = Duration::from_mins(10);

/// An image a unit.
pub(super) const ONE_IMAGE: Setting<'static> = ("CELLMILL_IMAGES_PER_UNIT", "1");

/// A root with batches of small photographs, on which nobody works any more.
pub(super) async fn prepare(show: &Show, place: &Path, batches: &[(&str, u32)]) -> Result<PathBuf> {
    let data = place.join("data");
    tiny(batches, &data)?;
    let root = place.join("prepared");
    let mill = Mill::up(&show.program, &root).await?;
    show.import(&data, &mill).await?;
    mill.stop().await?;
    Ok(root)
}

/// Asks for a data set of a batch and waits until its units wait.
pub(super) async fn submit(client: &Client, dir: &str, batch: &str) -> Result<Value> {
    let wish = json!({"dir": dir, "batches": [batch], "parameter_type": 0, "parameter_cache": 0});
    client.post("/api/v1/datasets", &wish).await?;
    let job = client
        .job_in(dir, &["queued", "running", "failed"], LIMIT)
        .await?;
    ensure!(state(&job) != "failed", "{dir} failed: {}", job["error"]);
    Ok(job)
}

/// Units of a job that nobody has ended.
pub(super) fn n_open(job: &Value) -> u64 {
    let n = |name: &str| job["units"][name].as_u64().unwrap_or(0);
    n("count") - n("done") - n("failed")
}

/// A wish such as `cancel` or `raise`, acknowledged.
pub(super) async fn wish(client: &Client, dir: &str, wish: &str) -> Result<Value> {
    let path = format!("/api/v1/jobs/data/{dir}/{wish}");
    client.post(&path, &json!({})).await
}
