//! A root with cells to learn from, and trainings over it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Show;
use cellmill_tests::show::cases::some_cases;
use cellmill_tests::show::http::{Client, text};
use cellmill_tests::show::place::Wish;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::wait::wait_until;
use serde_json::{Value, json};

use crate::material::photographs;
use crate::records::{read, state, unit_path};

/// The data set of every root made here.
pub(crate) const DATASET: &str = "Cells";
const N_CASES: usize = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// A root with the cells of some cases, on which nobody works any more.
pub(crate) async fn prepare(show: &Show, place: &Path) -> Result<PathBuf> {
    let root = place.join("prepared");
    let folder = some_cases(&photographs(show)?, N_CASES, &place.join("data"))?;
    let mill = Mill::up(&show.program, &root).await?;
    show.import(&folder.path, &mill).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "1",
        batches: folder.batches(),
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    mill.stop().await?;
    Ok(root)
}

/// Copies a root on which nobody works.
pub(crate) fn copy_root(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a root lies in a folder")?;
    std::fs::create_dir_all(folder).context("make a folder")?;
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    ensure!(copied.context("run cp")?.success(), "cp failed");
    Ok(())
}

/// Asks for a training with a seed that is always the same, and says the number of its model.
pub(crate) async fn train(client: &Client, dir: &str, epochs: u32) -> Result<u64> {
    let wish = json!({
        "kind": "train", "dataset": DATASET, "dir": dir, "seed": 1,
        "network": {"scale": "small", "epochs": epochs},
    });
    let project = client.post("/api/v1/projects", &wish).await?;
    project["mid"]
        .as_u64()
        .context("a training names its model")
}

/// Waits until the training's unit is as wanted, and hands its record out.
pub(crate) async fn unit_when(
    root: &Path,
    dir: &str,
    what: &str,
    limit: Duration,
    mut is_wanted: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    let path = unit_path(root, "train", dir, 0);
    wait_until(&format!("{dir} {what}"), limit, PAUSE, async || {
        let unit = read(&path)?;
        if let Some(unit) = &unit {
            ensure!(
                state(unit) != "failed",
                "{dir} failed: {}",
                text(&unit["error"])
            );
        }
        Ok(unit.filter(&mut is_wanted))
    })
    .await
}

/// Waits until the job is done.
pub(crate) async fn done(client: &Client, dir: &str, limit: Duration) -> Result<Value> {
    let ends = ["done", "failed", "cancelled"];
    let job = client.job_of_in("train", dir, &ends, limit).await?;
    ensure!(
        state(&job) == "done",
        "{dir} is {}: {}",
        state(&job),
        job["error"]
    );
    Ok(job)
}

/// Where the file of a model lies.
pub(crate) fn model_path(root: &Path, mid: u64) -> PathBuf {
    let folder = root.join("modules").join("classifier");
    folder.join(format!("{mid}.safetensors"))
}
