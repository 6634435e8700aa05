//! Jobs by command: cancelled while they cut, raised, repeated after a failure.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::files::Dataset;
use cellmill_tests::show::http::text;
use cellmill_tests::show::place::{Show, Wish};
use cellmill_tests::show::process::Mill;
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(3);
/// Units small enough that a job has many, so that it can be met while it runs.
const SETTINGS: [(&str, &str); 2] = [("CELLMILL_LEASE_S", "5"), ("CELLMILL_IMAGES_PER_UNIT", "4")];
/// As [`SETTINGS`], and nobody works.
const IDLE: [(&str, &str); 3] = [SETTINGS[0], SETTINGS[1], ("CELLMILL_WORKERS", "0")];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folder = show.folders()?.remove(0);
    let root = show.make_place("jobs")?.join("root");
    let mill = Mill::up_with(&show.program, &root, &SETTINGS).await?;
    show.import(&folder.path, &mill).await?;
    cancel(show, figures, &mill, &folder).await?;
    raise(show, figures, &mill, &folder).await?;
    mill.stop().await?;
    retry(show, figures, &root, &folder).await
}

fn wish<'a>(dir: &'a str, folder: &'a Folder) -> Wish<'a> {
    Wish {
        dir,
        data_type: "0",
        batches: folder.batches(),
        waits: false,
    }
}

async fn command(show: &Show, mill: &Mill, wish: &str, dir: &str) -> Result<Value> {
    let ran = show
        .program
        .run(&["jobs", wish, dir, "--url", mill.url(), "--json"])
        .await?;
    ensure!(ran.code == Some(0), "jobs {wish} ended with {:?}", ran.code);
    ran.json()
}

async fn shown(show: &Show, mill: &Mill, dir: &str) -> Result<String> {
    Ok(text(&command(show, mill, "show", dir).await?["state"]))
}

async fn cancel(show: &Show, figures: &mut Figures, mill: &Mill, folder: &Folder) -> Result<()> {
    show.make_dataset(mill, &wish("Cancel", folder)).await?;
    mill.client().job_in("Cancel", &["running"], LIMIT).await?;
    let answered = command(show, mill, "cancel", "Cancel").await?;
    let job = mill
        .client()
        .job_in("Cancel", &["cancelled", "done", "failed"], LIMIT)
        .await?;
    let is_cancelled = job["state"] == "cancelled" && answered["state"] == "cancelled";
    figures.holds("jobs.cancel.while_running", is_cancelled);
    // A unit that was at work ends with its next heartbeat, and the result must not come after that either.
    tokio::time::sleep(Duration::from_secs(8)).await;
    figures.holds(
        "jobs.cancel.stays_cancelled",
        shown(show, mill, "Cancel").await? == "cancelled",
    );
    let has_result = Dataset::of(mill.root(), "Cancel").has("cellslist.csv");
    figures.holds("jobs.cancel.no_result_file", !has_result);
    let again = show
        .program
        .run(&["jobs", "retry", "Cancel", "--url", mill.url()])
        .await?;
    figures.holds("jobs.cancel.is_not_retried", again.code == Some(5));
    Ok(())
}

async fn raise(show: &Show, figures: &mut Figures, mill: &Mill, folder: &Folder) -> Result<()> {
    show.make_dataset(mill, &wish("First", folder)).await?;
    show.make_dataset(mill, &wish("Second", folder)).await?;
    mill.client().job_in("First", &["running"], LIMIT).await?;
    mill.client()
        .job_in("Second", &["queued", "running"], LIMIT)
        .await?;
    let raised = command(show, mill, "raise", "Second").await?;
    figures.holds("jobs.raise.is_urgent", raised["wishes"]["urgent"] == true);
    let second = mill
        .client()
        .job_in("Second", &["done", "failed"], LIMIT)
        .await?;
    let first = mill.client().job("First").await?;
    figures.holds(
        "jobs.raise.ends_first",
        second["state"] == "done" && first["state"] != "done",
    );
    let first = mill
        .client()
        .job_in("First", &["done", "failed"], LIMIT)
        .await?;
    figures.holds("jobs.raise.the_other_ends_too", first["state"] == "done");
    Ok(())
}

/// A unit's frozen input is taken away while nobody works: it fails, and the job with it, until it is put back.
async fn retry(
    show: &Show,
    figures: &mut Figures,
    root: &std::path::Path,
    folder: &Folder,
) -> Result<()> {
    let mill = Mill::up_with(&show.program, root, &IDLE).await?;
    show.make_dataset(&mill, &wish("Retry", folder)).await?;
    mill.client().job_in("Retry", &["queued"], LIMIT).await?;
    mill.stop().await?;
    let input = root.join("datasets/Retry/inputs/00000.json");
    let aside = root.with_extension("input");
    fs::rename(&input, &aside).context("take an input away")?;

    let mill = Mill::up_with(&show.program, root, &SETTINGS).await?;
    let job = mill
        .client()
        .job_in("Retry", &["done", "failed"], LIMIT)
        .await?;
    figures.holds("jobs.retry.fails_first", job["state"] == "failed");
    let n_failed = job["units"]["failed"].as_u64().unwrap_or(0);
    figures.exactly("jobs.retry.failed_units", n_failed as usize, "units", 1);
    let has_result = Dataset::of(root, "Retry").has("cellslist.csv");
    figures.holds("jobs.retry.no_result_of_a_failed_job", !has_result);
    fs::rename(&aside, &input).context("put the input back")?;
    command(show, &mill, "retry", "Retry").await?;
    let job = mill.client().job_in("Retry", &["done"], LIMIT).await?;
    figures.holds(
        "jobs.retry.is_done_then",
        job["state"] == "done" && job["round"] == 1,
    );
    let problems = Dataset::of(root, "Retry").problems(folder.images.len(), 100)?;
    figures.exactly("jobs.retry.file_problems", problems.len(), "problems", 0);
    mill.stop().await
}
