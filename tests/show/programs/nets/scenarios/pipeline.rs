//! What is around the network: decoding and augmentation in a training, packs and answers in a prediction.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::data::{Folder, size_of};
use cellmill_tests::show::http::text;
use cellmill_tests::show::learning::commands::{TrainWish, epochs, predict};
use cellmill_tests::show::learning::projects::{Trained, id, json as read_json, model_path};
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::renamed::place_file;
use cellmill_tests::show::{Figures, Show, table};
use serde_json::{Value, json};

use crate::lab::{Lab, heard, last_json, tell_machine};

/// Whole training beside the network alone.
const OF_THE_NETWORK: f64 = 0.9;
/// Predicted crops a second beside `PyTorch`.
const BESIDE_TORCH: f64 = 1.0;
/// Equal answers, of all: else both did not do the same.
const SAME_ANSWERS: f64 = 0.98;
const N_CROPS: usize = 100_000;
const LABELLED: &str = "Labelled";
const MANY: &str = "Many";
const TRAINING: &str = "Trained";
const PREDICTION: &str = "Predicted";

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let show = lab.show;
    tell_machine(figures, "pipeline");
    let folder = Folder::read(&show.options.data.join("bccd"))?;
    let place = show.make_place("pipeline")?;
    let mill = Mill::up(&show.program, &place.join("root")).await?;
    show.import(&folder.path, &mill).await?;
    dataset(show, &mill, LABELLED, folder.batches()).await?;
    let trained = train(show, figures, &mill).await?;

    let n_wanted = if lab.is_quick() { 5_000 } else { N_CROPS };
    let copies = repeated(&folder, n_wanted, &place.join("copies"))?;
    say(format_args!("  {} photographs", copies.images.len()));
    show.import(&copies.path, &mill).await?;
    dataset(show, &mill, MANY, copies.batches()).await?;
    let own = own_prediction(show, figures, &mill, trained.mid).await?;
    let n_answers = own.answers.len();
    figures.exactly(
        "pipeline.predict.answers_by_name",
        n_answers,
        "crops",
        own.n,
    );
    figures.at_least(
        "pipeline.predict.crops",
        own.n as f64,
        "crops",
        n_wanted as f64,
    );
    let root = mill.root().to_owned();
    mill.stop().await?;
    tokio::task::block_in_place(|| beside_torch(lab, figures, &root, &trained, &own))
}

async fn dataset(show: &Show, mill: &Mill, dir: &str, batches: Vec<&str>) -> Result<()> {
    let wish = Wish {
        dir,
        data_type: "1",
        batches,
        waits: true,
    };
    show.make_dataset(mill, &wish).await?;
    Ok(())
}

/// A training that says where its time went.
async fn train(show: &Show, figures: &mut Figures, mill: &Mill) -> Result<Trained> {
    let begun = Instant::now();
    let wish = TrainWish {
        dataset: LABELLED,
        dir: TRAINING,
        seed: 1,
        epochs: epochs(show),
        more: &["--profile"],
    };
    let trained = wish.trained(show, mill).await?;
    let seconds = begun.elapsed().as_secs_f64();
    figures.told("pipeline.train.seconds", seconds, "s, the whole command");
    let job = mill.client().job_of("train", TRAINING).await?;
    let profile = &job["report"]["profile"];
    let number = |name: &str| profile[name].as_f64().unwrap_or(f64::NAN);
    let (whole, network) = (number("images_per_s"), number("compute_only_images_per_s"));
    figures.told("pipeline.train.rate", whole, "images/s");
    figures.told("pipeline.train.network_alone", network, "images/s");
    let unit = "of the network alone";
    figures.at_least(
        "pipeline.train.ratio",
        whole / network,
        unit,
        OF_THE_NETWORK,
    );
    for part in profile["parts"].as_array().into_iter().flatten() {
        let figure = format!("pipeline.train.part.{}", text(&part["name"]));
        let unit = if part["beside"] == true {
            "s, beside the others"
        } else {
            "s"
        };
        figures.told(&figure, part["seconds"].as_f64().unwrap_or(f64::NAN), unit);
    }
    Ok(trained)
}

/// As many copies of a folder, as batches of other names, as make this many crops.
fn repeated(folder: &Folder, n_crops: usize, to: &Path) -> Result<Folder> {
    let mut sizes = HashMap::new();
    for image in &folder.images {
        let bytes = fs::read(&image.path).with_context(|| image.key.clone())?;
        let size = size_of(&bytes).with_context(|| format!("the size of {}", image.key))?;
        sizes.insert(image.key.clone(), size);
    }
    let truth = folder.truth(&sizes)?;
    let n = truth.values().flatten().filter(|it| !it.is_repeat).count();
    ensure!(n > 0, "{} has no points", folder.path.display());
    for copy in 0..n_crops.div_ceil(n) {
        for image in &folder.images {
            let batch = to.join("img").join(format!("{}x{copy:03}", image.batch));
            let case = batch.join(&image.case);
            place_file(&image.path, &case.join("Images").join(&image.name))?;
        }
        for csv in &folder.csvs {
            let batch = to.join("csv").join(format!("{}x{copy:03}", csv.batch));
            let case = batch.join(&csv.date).join(&csv.case);
            place_file(&csv.path, &case.join(format!("{}.csv", csv.stem)))?;
        }
    }
    let classes = folder.path.join("classes.json");
    if classes.exists() {
        place_file(&classes, &to.join("classes.json"))?;
    }
    Folder::read(to)
}

/// What our prediction brought.
struct Predicted {
    n: usize,
    /// A second, from the command to its end.
    rate: f64,
    /// The class of each crop, by the crop's name.
    answers: HashMap<String, u32>,
}

async fn own_prediction(
    show: &Show,
    figures: &mut Figures,
    mill: &Mill,
    mid: u64,
) -> Result<Predicted> {
    let begun = Instant::now();
    let ran = predict(show, mill, MANY, mid, PREDICTION, &["--json"]).await?;
    let seconds = begun.elapsed().as_secs_f64();
    ran.must_be_ok("predict")?;
    let project = mill.root().join("projects").join(PREDICTION);
    let document = read_json(&project.join("predict2.json"))?;
    let cells = document["crop_cells"].as_array().context("no crop_cells")?;
    let answers: Option<HashMap<_, _>> = cells.iter().map(answer).collect();
    let n = cells.len();
    let rate = n as f64 / seconds;
    figures.told("pipeline.predict.seconds", seconds, "s, the whole command");
    figures.told("pipeline.predict.rate", rate, "crops/s, the whole command");
    let unit = "crops/s, from the first unit to the last";
    let of_units = n as f64 / seconds_of_units(mill.root(), PREDICTION)?;
    figures.told("pipeline.predict.rate_of_units", of_units, unit);
    figures.told("pipeline.predict.server_peak", mill.peak_mib()?, "MiB");
    Ok(Predicted {
        n,
        rate,
        answers: answers.context("an answer has a class and a place")?,
    })
}

/// Name and class of an answered crop.
fn answer(cell: &Value) -> Option<(String, u32)> {
    let (_, name) = cell["url"].as_str()?.rsplit_once('/')?;
    Some((name.to_owned(), id(&cell["predict"])?))
}

/// From the moment when the first unit of a prediction was begun until the last one was committed.
fn seconds_of_units(root: &Path, dir: &str) -> Result<f64> {
    let folder = root.join("units").join(dir);
    let mut moments = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry.context("a unit")?.path();
        // Beside the records lie folders of what the units left.
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        let unit = read_json(&path)?;
        let attempts = unit["attempts"].as_array().into_iter().flatten();
        for it in attempts.flat_map(|it| [&it["began"], &it["ended"]]) {
            moments.extend(chrono::DateTime::parse_from_rfc3339(&text(it)).ok());
        }
    }
    let span = moments.iter().max().zip(moments.iter().min());
    let (last, first) = span.context("no unit of the prediction was begun")?;
    Ok((*last - *first).num_milliseconds() as f64 / 1e3)
}

/// The same packs, the same network and weights, in `PyTorch`.
fn beside_torch(
    lab: &Lab<'_>,
    figures: &mut Figures,
    root: &Path,
    trained: &Trained,
    own: &Predicted,
) -> Result<()> {
    let said = match torch(lab, root, trained) {
        Ok(said) => said,
        Err(error) => {
            say(format_args!("  {error:#}"));
            let what = "could not be measured: see stderr";
            figures.at_least("pipeline.predict.ratio", f64::NAN, what, BESIDE_TORCH);
            return Ok(());
        }
    };
    let rate = said["cells_per_s"].as_f64().unwrap_or(f64::NAN);
    figures.told(
        "pipeline.predict.torch.rate",
        rate,
        "crops/s, the loop alone",
    );
    for name in ["workers", "layout", "trials", "torch"] {
        let figure = format!("pipeline.predict.torch.{name}");
        figures.said(&figure, said[name].clone(), "");
    }
    let unit = "times a DataLoader over the same packs";
    figures.at_least(
        "pipeline.predict.ratio",
        own.rate / rate,
        unit,
        BESIDE_TORCH,
    );

    let answers = fs::read_to_string(root.with_file_name("answers.csv")).context("answers.csv")?;
    let classes = trained.classes();
    let rows = table::records(&answers);
    let n_same = rows.iter().filter(|it| {
        let class = it[1].parse().ok().and_then(|it: usize| classes.get(it));
        class.is_some() && own.answers.get(&it[0]) == class
    });
    let same = n_same.count() as f64 / rows.len() as f64;
    let unit = "of its answers";
    figures.at_least("pipeline.predict.same_answers", same, unit, SAME_ANSWERS);
    let n = own.n;
    figures.exactly("pipeline.predict.torch.crops", rows.len(), "crops", n);
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for class in own.answers.values() {
        *counts.entry(*class).or_default() += 1;
    }
    figures.said("pipeline.predict.answers", json!(counts), "by class");
    Ok(())
}

fn torch(lab: &Lab<'_>, root: &Path, trained: &Trained) -> Result<Value> {
    let trial = if lab.is_quick() { "1000" } else { "5000" };
    let mut script = lab.python("torch_predict.py")?;
    script
        .arg("--model")
        .arg(model_path(root, trained.mid))
        .arg("--packs")
        .arg(root.join("datasets").join(MANY).join("packs"))
        .arg("--out")
        .arg(root.with_file_name("answers.csv"))
        .args(["--trial", trial]);
    last_json(&heard(&mut script)?)
}
