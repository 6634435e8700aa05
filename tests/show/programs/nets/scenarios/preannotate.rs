//! New images that a model labels before anybody looks: one alone, and many at once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::learning::class_folders::{ClassFolders, ClassImage};
use cellmill_tests::show::learning::commands::TrainWish;
use cellmill_tests::show::learning::new_images::{pre_annotated, upload};
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::renamed::place_file;
use cellmill_tests::show::{Figures, Show};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::lab::median;

const LABEL_TYPE: &str = "smears";
const BATCH: &str = "labelled";
const DATASET: &str = "Labelled";
/// Folders that every lab's classes name so.
const CLASSES: [&str; 2] = ["negative", "positive"];
/// Images of each class that the model learns from. It need not be good here.
const N_LABELLED: usize = 20;
const EPOCHS: u32 = 2;
/// Images that come one after the other, and those that come at once.
const N_ALONE: usize = 20;
const N_AT_ONCE: usize = 50;
/// Connections of the sender.
const N_SENDERS: usize = 8;
const LABELLED_WITHIN: Duration = Duration::from_mins(1);
const IN_VAIN: Duration = Duration::from_mins(3);

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folders = ClassFolders::read(&show.options.data.join("cells"))?;
    let place = show.make_place("preannotate")?;
    let (n_alone, n_at_once) = if show.options.quick {
        (5, 20)
    } else {
        (N_ALONE, N_AT_ONCE)
    };
    let root = place.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    let mid = model(show, &mill, &folders, &place.join("labelled")).await?;

    // Spread over the images, and none of them sent twice: what is known already is not labelled again.
    let images = unlabelled(&folders, 1 + n_alone + n_at_once)?;
    let (warm, images) = images.split_at(1);
    let (alone, at_once) = images.split_at(n_alone);
    // The first one waits until the model is loaded.
    let first = one(&mill, mid, "first", warm[0]).await?;
    figures.told("preannotate.first", first.as_secs_f64(), "s, with loading");

    let begun = Instant::now();
    let mut seconds = Vec::new();
    for image in alone {
        seconds.push(one(&mill, mid, "alone", image).await?.as_secs_f64());
    }
    let rate_alone = n_alone as f64 / begun.elapsed().as_secs_f64();
    let most = seconds.iter().copied().fold(f64::NAN, f64::max);
    figures.told("preannotate.alone.p50", median(&seconds), "s");
    let limit = LABELLED_WITHIN.as_secs_f64();
    figures.at_most("preannotate.alone.max", most, "s", limit);
    figures.told("preannotate.alone.rate", rate_alone, "images/s");

    say(format_args!("  {n_at_once} at once"));
    let (rate, last) = many(&mill, mid, at_once).await?;
    figures.told("preannotate.at_once.images", n_at_once as f64, "images");
    figures.at_most("preannotate.at_once.max", last, "s", limit);
    figures.told("preannotate.at_once.rate", rate, "images/s");
    let unit = "times one after the other";
    figures.told("preannotate.at_once.ratio", rate / rate_alone, unit);
    figures.told("preannotate.server_peak", mill.peak_mib()?, "MiB");
    mill.stop().await?;
    figures.holds(
        "preannotate.verify_finds_nothing",
        show.is_verified(&root).await?,
    );
    Ok(())
}

/// A model of some labelled images, that labels new ones from now on.
async fn model(show: &Show, mill: &Mill, folders: &ClassFolders, labelled: &Path) -> Result<u64> {
    for (class, ids) in CLASSES.iter().zip([&folders.negative, &folders.positive]) {
        for (n, image) in folders.some(ids, N_LABELLED)?.into_iter().enumerate() {
            let name = image.path.file_name().context("an image has a name")?;
            let name = format!("{class}{n}-{}", name.to_string_lossy());
            place_file(&image.path, &labelled.join(class).join(name))?;
        }
    }
    let labelled = labelled.to_string_lossy();
    let url = ["--url", mill.url(), "--json"];
    let command = async |args: &[&str]| -> Result<()> {
        let ran = show.program.run(&[args, &url].concat()).await?;
        ran.must_be_ok(args[0]).map(drop)
    };
    let import = [
        "import",
        &labelled,
        "--folders-as-classes",
        "--batch",
        BATCH,
    ];
    command(&import).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "3",
        batches: vec![BATCH],
        waits: true,
    };
    show.make_dataset(mill, &wish).await?;
    let wish = TrainWish {
        dataset: DATASET,
        dir: "Trained",
        seed: 1,
        epochs: Some(EPOCHS),
        // All images are of one case.
        more: &["--split", "image"],
    };
    let mid = wish.trained(show, mill).await?.mid;
    let labels = CLASSES.join(",");
    let set = ["label-type", "set", LABEL_TYPE, "--algorithm", "1101"];
    command(&[&set[..], &["--labels", &labels]].concat()).await?;
    let model = mid.to_string();
    command(&["preannotate", "on", "--type", LABEL_TYPE, "--model", &model]).await?;
    Ok(mid)
}

/// Images that the model did not learn from, spread over the whole.
fn unlabelled(folders: &ClassFolders, n: usize) -> Result<Vec<&ClassImage>> {
    let mut learned = folders.some(&folders.negative, N_LABELLED)?;
    learned.extend(folders.some(&folders.positive, N_LABELLED)?);
    let mut seen: std::collections::HashSet<&str> =
        learned.iter().map(|it| it.sha256.as_str()).collect();
    let mut rest: Vec<_> = folders.images.iter().collect();
    rest.retain(|it| seen.insert(&it.sha256));
    ensure!(rest.len() >= n, "{} images are too few", rest.len());
    Ok((0..n).map(|at| rest[at * rest.len() / n]).collect())
}

/// How long it takes until an image that is sent alone is labelled.
async fn one(mill: &Mill, mid: u64, case: &str, image: &ClassImage) -> Result<Duration> {
    let begun = Instant::now();
    let key = upload(mill, LABEL_TYPE, case, image).await?;
    pre_annotated(mill, &key, mid, IN_VAIN).await?;
    Ok(begun.elapsed())
}

/// Images a second when all are sent at once, and the seconds until the last one was labelled.
async fn many(mill: &Mill, mid: u64, images: &[&ClassImage]) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let keys: Vec<String> = stream::iter(images)
        .map(|image| upload(mill, LABEL_TYPE, "many", image))
        .buffer_unordered(N_SENDERS)
        .try_collect()
        .await?;
    for key in &keys {
        pre_annotated(mill, key, mid, IN_VAIN).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok((images.len() as f64 / seconds, seconds))
}
