//! Events that come up to five times, in any order, or never: after one sweep of each kind nothing is missing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cellmill_tests::aws::functions::invoked;
use cellmill_tests::aws::mirror::mirror;
use cellmill_tests::aws::notifications::redirect;
use cellmill_tests::aws::queues::Queue;
use cellmill_tests::aws::{Door, Outlets, Pump, Stack};
use cellmill_tests::show::Figures;
use cellmill_tests::show::data::Folder;
use cellmill_tests::show::place::say;
use cellmill_tests::show::tree::Tree;
use cellmill_tests::show::wait::wait_until;

use crate::flow::define_classes;
use crate::lab::Lab;
use crate::material::objects;
use crate::settled::{queues_are_empty, sweep};

/// What events are of.
const PREFIXES: [&str; 3] = ["img/", "scratch/img/", "csv/"];
/// Everything about the disturbance follows from it.
const SEED: u64 = 18_110_017;
/// Objects as many as these are looked at in less time.
const LIMIT: Duration = Duration::from_mins(40);

type Objects = Vec<(String, Vec<u8>)>;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("pump")?;
    let n_images = (lab.n_objects / 2).to_string();
    let n_cases = (lab.n_objects / 200).max(1).to_string();
    let more = ["--images", &n_images, "--cases", &n_cases, "--small"];
    let folder = lab.show.synthetic(&place.join("data"), &more).await?;
    let objects = objects(&folder)?;
    figures.told("pump.objects", objects.len() as f64, "objects");

    let calm = undisturbed(lab, &folder, &objects, &place).await?;
    let stack = lab.stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    define_classes(&door, &folder, &place.join("classes")).await?;
    let begun = Instant::now();
    let staging = stage(&stack, &objects).await?;
    let outlets = Outlets {
        uploads: stack.queue("uploads").await?,
        points: stack.queue("points").await?,
    };
    let pumped = Pump::new(SEED).relay(&staging, &outlets).await?;
    queues_are_empty(&stack, LIMIT).await?;
    figures.exactly(
        "pump.events",
        pumped.events as usize,
        "events",
        objects.len(),
    );
    figures.told("pump.deliveries", pumped.deliveries as f64, "messages");
    figures.told("pump.dropped", pumped.dropped as f64, "events");
    let before = disturbed(&stack, &place.join("before-sweep")).await?;
    let missing = calm.differences(&before).len();
    figures.told(
        "pump.differences_before_the_sweeps",
        missing as f64,
        "files",
    );

    for kind in ["images", "jobs"] {
        let found = sweep(&stack, kind).await?;
        say(format_args!("  sweep of {kind}: {found}"));
        queues_are_empty(&stack, LIMIT).await?;
    }
    for function in ["ingest", "label", "janitor"] {
        let invoked = invoked(&stack.unseen(), &stack.function(function)).await?;
        let figure = format!("pump.invocations.{function}");
        figures.told(&figure, invoked.n, "invocations");
    }
    figures.told("pump.duration", begun.elapsed().as_secs_f64(), "s");
    let after = disturbed(&stack, &place.join("after-sweep")).await?;
    let differences = calm.differences(&after);
    for it in differences.iter().take(20) {
        say(format_args!("    {it}"));
    }
    figures.exactly("pump.differences", differences.len(), "files", 0);
    for name in ["uploads-dead", "points-dead"] {
        let depth = stack.queue(name).await?.depth().await?;
        figures.exactly(
            &format!("pump.{name}"),
            depth.waiting as usize,
            "messages",
            0,
        );
    }
    stack.down().await.map(drop)
}

/// The same objects with every event once, as the bucket itself sends them.
async fn undisturbed(
    lab: &Lab<'_>,
    folder: &Folder,
    objects: &Objects,
    place: &Path,
) -> Result<Tree> {
    let stack = lab.stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    define_classes(&door, folder, &place.join("classes")).await?;
    stack.bucket().put_all(objects.clone()).await?;
    queues_are_empty(&stack, LIMIT).await?;
    let tree = disturbed(&stack, &place.join("calm")).await?;
    stack.down().await?;
    Ok(tree)
}

/// Puts the objects while their events go to a queue that nobody reads.
async fn stage(stack: &Stack, objects: &Objects) -> Result<Queue> {
    let aws = stack.unseen();
    let staging = Queue::make(&aws, &format!("{}-staging", stack.prefix())).await?;
    let bucket = stack.bucket();
    redirect(&aws, bucket.name(), &staging.arn().await?, &PREFIXES).await?;
    // A bucket says in a message of its own that it was told.
    staging.drain().await?;
    bucket.put_all(objects.clone()).await?;
    let wanted = objects.len() as u64;
    let pause = Duration::from_millis(100);
    wait_until(
        "every event is there",
        Duration::from_mins(2),
        pause,
        async || Ok((staging.depth().await?.waiting >= wanted).then_some(())),
    )
    .await?;
    Ok(staging)
}

/// The bucket as it is now.
async fn disturbed(stack: &Stack, place: &Path) -> Result<Tree> {
    mirror(&stack.bucket(), place).await?;
    Tree::of_results(place).context("read a bucket")
}
