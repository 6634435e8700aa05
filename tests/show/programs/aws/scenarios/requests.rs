//! Requests for an image, a cell, a unit and a heartbeat, counted at the proxy; what a million images cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cellmill_tests::aws::functions::invoked;
use cellmill_tests::aws::operation::Charge;
use cellmill_tests::aws::{Counts, Door, Proxy, Stack, Worker};
use cellmill_tests::show::Figures;
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::place::say;
use cellmill_tests::show::wait::wait_until;
use serde_json::Value;

use crate::flow::{DATASET, MODEL, PREDICTED, TRAINED, define_classes, import};
use crate::lab::Lab;
use crate::material::{objects, photographs};
use crate::settled::queues_are_empty;

const N_CASES: usize = 12;
const MAX_S3: f64 = 11.0;
const MAX_SQS: f64 = 4.0;
const LIMIT: Duration = Duration::from_mins(5);
/// Shorter than usual, so that a short training beats more than once.
const LEASE_S: f64 = 10.0;
const USUAL_LEASE_S: f64 = 50.0;
/// What `cost` reckons for this very lab may be off by this share of what was counted.
const MAX_OFF: f64 = 0.15;
const WORKER: &str = "worker";

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("requests")?;
    let folder = photographs(lab.show, N_CASES, &place.join("data"))?;
    let n_images = folder.images.len() as f64;
    figures.told("requests.images", n_images, "images");
    let stack = lab.proxied_stack().await?;
    let proxy = stack.proxy()?;

    let door = Door::of_stack(&lab.show.program, &stack)?;
    define_classes(&door, &folder, &place.join("classes")).await?;
    let functions = images(&stack, proxy, &folder, figures).await?;
    kept(&place, "ingest-and-label", &functions)?;
    let jobs = of_jobs(lab, &stack, &folder, figures, &place).await?;
    let told = told(lab, &jobs, n_images).await?;
    let mut counted = jobs.counted;
    counted.insert("ingest_and_label", functions);
    for (stage, counts) in &counted {
        reckoned(&told, stage, counts, figures);
    }
    figures.holds(
        "requests.counts_are_measured",
        told["counts"]["measured"] == true,
    );
    let million = million(lab, jobs.cells_per_image, jobs.image_mib).await?;
    for name in ["all", "upload_ingest_label"] {
        let dollars = &million["per_million_images"][name];
        let figure = format!("requests.dollars_per_million_images.{name}");
        figures.told(&figure, dollars.as_f64().unwrap_or(f64::NAN), "dollars");
    }
    stack.down().await?;
    import_alone(lab, figures, &place, &told).await
}

/// Photographs put by hand and then their points, so that nothing but `ingest` and `label` asks.
async fn images(
    stack: &Stack,
    proxy: &Proxy,
    folder: &Folder,
    figures: &mut Figures,
) -> Result<Counts> {
    let n_images = folder.images.len() as f64;
    ensure!(
        folder.csvs.len() == folder.images.len(),
        "each image of the data has one CSV"
    );
    let before = proxy.counts();
    let is_image = |it: &(String, Vec<u8>)| it.0.starts_with("img/");
    let (images, points): (Vec<_>, Vec<_>) = objects(folder)?.into_iter().partition(is_image);
    for some in [images, points] {
        stack.bucket().put_all(some).await?;
        queues_are_empty(stack, LIMIT).await?;
    }
    let counts = proxy.counts().since(&before);
    let s3 = counts.of_service("s3") as f64 / n_images;
    figures.at_most("requests.s3_per_image", s3, "requests", MAX_S3);
    for (name, charge) in [("put", Charge::Put), ("get", Charge::Get)] {
        let n = counts.charged(charge) as f64 / n_images;
        let figure = format!("requests.s3_per_image.{name}");
        figures.told(&figure, n, "requests");
    }
    let sqs = sqs_of(stack, &counts, figures, "requests", n_images).await?;
    figures.at_most("requests.sqs_per_image", sqs, "requests", MAX_SQS);
    Ok(counts)
}

/// Requests to SQS for an image with its CSV. The bucket sends each event, and Lambda receives and deletes a batch for
/// each invocation; neither passes the proxy.
async fn sqs_of(
    stack: &Stack,
    counts: &Counts,
    figures: &mut Figures,
    name: &str,
    n_images: f64,
) -> Result<f64> {
    let mut sqs = counts.of_service("sqs") as f64 + 2.0 * n_images;
    for function in ["ingest", "label"] {
        let invoked = invoked(&stack.unseen(), &stack.function(function)).await?;
        sqs += 2.0 * invoked.n;
        let figure = |it: &str| format!("{name}.{function}.{it}");
        let per_image = invoked.n / n_images;
        figures.told(&figure("invocations"), per_image, "per image");
        figures.told(&figure("duration"), invoked.mean_ms, "ms, mean");
    }
    Ok(sqs / n_images)
}

/// Data set, training and prediction, by the worker's own requests. Says how many cells there are.
async fn of_jobs(
    lab: &Lab<'_>,
    stack: &Stack,
    folder: &Folder,
    figures: &mut Figures,
    place: &Path,
) -> Result<Jobs> {
    let proxy = stack.proxy()?;
    let lease = LEASE_S.to_string();
    let settings = [("CELLMILL_LEASE_S", lease.as_str())];
    let log = place.join("worker.log");
    let worker = Worker::start(stack, WORKER, &settings, &log).await?;
    let door = Door::of_stack(&lab.show.program, stack)?;
    // Nobody asks meanwhile how far it is, which would be counted too.
    let before = proxy.counts();
    let mut create = vec!["dataset", "create", "--type", "1", "--dir", DATASET];
    for batch in folder.batches() {
        create.extend(["--batch", batch]);
    }
    door.json(&create).await?;
    is_done(stack, "datasets", DATASET, "data").await?;
    let counts = proxy.counts().since(&before);
    kept(place, "data-set", &counts)?;
    let mut counted = BTreeMap::from([("data_set", counts.clone())]);
    let own = counts.only(|it| it.caller == WORKER && it.service == "s3");
    let job = door.get(&format!("/api/v1/jobs/data/{DATASET}")).await?;
    let n_cells = job["result"]["rows"]
        .as_f64()
        .context("cells of the data set")?;
    let n_units = job["units"]["count"]
        .as_f64()
        .context("units of the data set")?;
    figures.told("requests.cells", n_cells, "cells");
    let loose = own.only(|it| it.prefix == "scratch" && it.operation == "PutObject");
    let looked_up = own.only(|it| it.prefix == "scratch" && it.operation == "GetObject");
    let per_cell = (loose.requests() + looked_up.requests()) as f64 / n_cells;
    figures.told("requests.s3_per_cell", per_cell, "requests");
    let of_unit = own.only(|it| matches!(it.prefix.as_str(), "units" | "datasets" | "active"));
    let per_unit = of_unit.requests() as f64 / n_units;
    figures.told("requests.s3_per_unit", per_unit, "requests, of the worker");
    let sqs = counts.only(|it| it.caller == WORKER && it.service == "sqs");
    let hints = sqs.only(|it| it.operation != "ReceiveMessage");
    let figure = "requests.sqs_per_unit";
    figures.told(
        figure,
        hints.requests() as f64 / n_units,
        "requests, but for receiving",
    );

    let before = proxy.counts();
    let train = [
        "train",
        DATASET,
        "--dir",
        TRAINED,
        "--seed",
        "1",
        "--no-wait",
        "--epochs",
    ];
    let epochs = if lab.show.options.quick { "3" } else { "12" };
    let begun = Instant::now();
    door.json(&[&train[..], &[epochs]].concat()).await?;
    is_done(stack, "projects", TRAINED, "train").await?;
    let training_s = begun.elapsed().as_secs_f64();
    let counts = proxy.counts().since(&before);
    kept(place, "training", &counts)?;
    heartbeats(&counts, figures);
    counted.insert("training", counts);

    let before = proxy.counts();
    let predict = [
        "predict",
        DATASET,
        "--model",
        MODEL,
        "--dir",
        PREDICTED,
        "--no-wait",
    ];
    door.json(&predict).await?;
    is_done(stack, "projects", PREDICTED, "predict").await?;
    let counts = proxy.counts().since(&before);
    kept(place, "prediction", &counts)?;
    counted.insert("prediction", counts);
    worker.stop().await?;
    Ok(Jobs {
        cells_per_image: n_cells / folder.images.len() as f64,
        image_mib: folder.n_bytes() as f64 / folder.images.len() as f64 / 1_048_576.0,
        training_s,
        counted,
    })
}

/// Waits until a job's document says so, read past the proxy.
async fn is_done(stack: &Stack, folder: &str, dir: &str, job: &str) -> Result<()> {
    let (bucket, key) = (stack.bucket(), format!("{folder}/{dir}/{job}.json"));
    let pause = Duration::from_millis(500);
    wait_until("the job is done", LIMIT, pause, async || {
        let Some(bytes) = bucket.get(&key).await? else {
            return Ok(None);
        };
        let job: Value = serde_json::from_slice(&bytes).context("a job's document")?;
        match job["state"].as_str() {
            Some("failed" | "cancelled") => bail!("`{key}` ended as {}", job["state"]),
            state => Ok((state == Some("done")).then_some(())),
        }
    })
    .await
}

/// Writes of the unit's record, but for claim and end, are heartbeats; each looks at the job first.
fn heartbeats(counts: &Counts, figures: &mut Figures) {
    let own = counts.only(|it| it.caller == WORKER && it.service == "s3");
    let puts = own.only(|it| it.prefix == "units" && it.operation == "PutObject");
    // Claim and end; and the outputs: model, report, split, two tables, two pictures, the log.
    let n = puts.requests() as f64 - 10.0;
    figures.at_least("requests.heartbeats", n, "heartbeats", 1.0);
    let looks: u64 = own
        .only(|it| it.prefix == "projects" && it.operation == "GetObject")
        .rows
        .iter()
        .map(|it| it.tally.not_modified)
        .sum();
    let per_beat = (n + looks as f64) / n.max(1.0);
    figures.at_most("requests.s3_per_heartbeat", per_beat, "requests", 2.0);
}

/// What the jobs were of, what they took, and what the data look like to `cost`.
struct Jobs {
    cells_per_image: f64,
    image_mib: f64,
    training_s: f64,
    counted: BTreeMap<&'static str, Counts>,
}

/// What `cost` reckons for what was just done.
async fn told(lab: &Lab<'_>, jobs: &Jobs, n_images: f64) -> Result<Value> {
    // As many heartbeats as with the usual lease in a longer time.
    let hours = jobs.training_s * (USUAL_LEASE_S / LEASE_S) / 3600.0;
    let done = [
        format!("--images={n_images}"),
        format!("--cells-per-image={}", jobs.cells_per_image),
        format!("--image-mib={}", jobs.image_mib),
        format!("--gpu-hours={hours}"),
    ];
    cost(lab, &done).await
}

/// Holds what `cost` reckons for a stage against what was counted.
fn reckoned(told: &Value, stage: &str, counts: &Counts, figures: &mut Figures) {
    let reckoned = requests_of(told, stage);
    let measured = counts.of_service("s3") as f64;
    figures.told(&format!("requests.{stage}.s3"), measured, "requests");
    let off = (measured - reckoned).abs() / measured;
    let figure = format!("requests.cost_is_off_by.{stage}");
    figures.at_most(&figure, off, "share of the requests", MAX_OFF);
}

/// Requests to S3 of a stage, as `cost` reckons them.
fn requests_of(told: &Value, stage: &str) -> f64 {
    let stages = told["aws"]["stages"].as_array().into_iter().flatten();
    let wanted = stages.filter(|it| {
        let name = it["stage"].as_str().unwrap_or_default();
        stage.split("_and_").any(|it| it == name)
    });
    wanted
        .map(|it| it["s3_put"].as_f64().unwrap_or(0.0) + it["s3_get"].as_f64().unwrap_or(0.0))
        .sum()
}

async fn million(lab: &Lab<'_>, cells_per_image: f64, image_mib: f64) -> Result<Value> {
    let done = [
        "--images=1000000".to_owned(),
        format!("--cells-per-image={cells_per_image}"),
        format!("--image-mib={image_mib}"),
    ];
    cost(lab, &done).await
}

async fn cost(lab: &Lab<'_>, args: &[String]) -> Result<Value> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = lab
        .show
        .program
        .run(&[&["cost", "--json"][..], &args].concat())
        .await?;
    ran.must_be_ok("cost")?.json()
}

/// The same through the door: what the api asks for a file, and what is sent to signed addresses.
async fn import_alone(
    lab: &Lab<'_>,
    figures: &mut Figures,
    place: &Path,
    told: &Value,
) -> Result<()> {
    let folder = photographs(lab.show, N_CASES, &place.join("again"))?;
    let n_images = folder.images.len() as f64;
    let stack = lab.proxied_stack().await?;
    let proxy = stack.proxy()?;
    let before = proxy.counts();
    import(&Door::of_stack(&lab.show.program, &stack)?, &folder.path).await?;
    queues_are_empty(&stack, LIMIT).await?;
    let counts = proxy.counts().since(&before);
    kept(place, "import", &counts)?;
    reckoned(told, "upload_and_ingest_and_label", &counts, figures);
    let sent = counts.only(|it| it.is_signed_url).requests() as f64;
    let asked = counts.only(|it| it.service == "s3" && !it.is_signed_url);
    let door = counts.of_service("execute-api") as f64;
    figures.told(
        "requests.import.sent_per_image",
        sent / n_images,
        "requests",
    );
    let all = asked.requests() as f64 / n_images;
    figures.told(
        "requests.import.s3_per_image",
        all,
        "requests, api and functions",
    );
    figures.told(
        "requests.import.door_per_image",
        door / n_images,
        "requests",
    );
    stack.down().await.map(drop)
}

/// Every row, for whoever writes the file of counts.
fn kept(place: &Path, name: &str, counts: &Counts) -> Result<()> {
    let path = place.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec_pretty(counts)?).context("write counts")?;
    for row in &counts.rows {
        let (call, tally) = (&row.call, &row.tally);
        say(format_args!(
            "  {name}: {:>6} {} {} {} by `{}`{}, {} not modified, {} refused",
            tally.requests,
            call.service,
            call.operation,
            call.prefix,
            call.caller,
            if call.is_signed_url {
                " by address"
            } else {
                ""
            },
            tally.not_modified,
            tally.refused,
        ));
    }
    Ok(())
}
