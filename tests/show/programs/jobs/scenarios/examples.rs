//! The examples of workers, as their READMEs say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::text;
use cellmill_tests::show::place::say;
use serde_json::{Value, json};

use super::repository_tests::count;
use crate::lab::Lab;
use crate::programs::{Server, Worker, start_sdk_worker};
use crate::records::{read, state};
use crate::trainings::{DATASET, done, prepare, train};

const LIMIT: Duration = Duration::from_mins(5);
/// A class of units that only the example serves.
const CLASS: &str = "sizes";
/// From this area on, in pixels, a cell is large.
const AREA: &str = "2500";

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    count(figures, "examples.exec", "tests/examples/run", &["exec"]).await?;
    let sdk = ["test", "--locked", "-p", "example-sdk-worker"];
    count(figures, "examples.sdk", "cargo", &sdk).await?;
    sdk_worker(lab, figures).await
}

/// The program of the SDK example beside a server, over real cells.
async fn sdk_worker(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("examples")?;
    let root = prepare(lab.show, &place).await?;
    let server = Server::start(&lab.show.program, &root, "up", &[]).await?;
    let own = Worker::start(&root, "worker", &["--kinds", "train"], &[])?;
    let mid = train(&server.client, "Trained", 1).await?;
    done(&server.client, "Trained", LIMIT).await?;
    own.stop().await?;

    let mut example = start_sdk_worker(&root, CLASS, AREA)?;
    let wish = json!({
        "kind": "predict", "class": CLASS, "dataset": DATASET, "mid": mid, "dir": "Predicted",
    });
    server.client.post("/api/v1/projects", &wish).await?;
    let ends = ["done", "failed", "cancelled"];
    let job = server
        .client
        .job_of_in("predict", "Predicted", &ends, LIMIT);
    let job = job.await?;
    ensure!(example.is_alive(), "the example ended: {}", example.log()?);
    figures.holds("examples.sdk.job_is_done", state(&job) == "done");
    say(format_args!("  {} {}", state(&job), text(&job["error"])));
    let path = root.join("projects/Predicted/predict2.json");
    let result = read(&path)?.context("there is no predict2.json")?;
    let cells = result["crop_cells"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let is_answered = |it: &&Value| it["predict"] == 50 || it["predict"] == 51;
    let n_answered = cells.iter().filter(is_answered).count();
    figures.at_least("examples.sdk.cells", cells.len() as f64, "cells", 1.0);
    figures.exactly("examples.sdk.answered", n_answered, "cells", cells.len());
    example.kill()?;
    server.stop().await
}
