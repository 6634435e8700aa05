//! A label type that learns by itself: labelled images, a model, new images labelled by it before a person looks.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cellmill_tests::show::http::text;
use cellmill_tests::show::learning::class_folders::{ClassFolders, ClassImage};
use cellmill_tests::show::learning::new_images::{pre_annotated, upload};
use cellmill_tests::show::learning::projects::{Trained, id, json as read_json};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::renamed::place_file;
use cellmill_tests::show::wait::wait_until;
use cellmill_tests::show::{Figures, Show};
use serde_json::{Value, json};

/// Both as a folder of class folders is called, and as every lab's classes are.
const CLASSES: [&str; 2] = ["negative", "positive"];
const LABEL_TYPE: &str = "smears";
const BATCH: &str = "labelled";
/// Labelled images of each class.
const N_LABELLED: usize = 20;
/// New images of each class: those that only wait for the model, and those that a person labels.
const N_NEW: usize = 5;
const N_BY_PERSON: usize = 3;
const TRAINING: Duration = Duration::from_mins(8);
const LABELLED_WITHIN: Duration = Duration::from_mins(1);
/// Longer than that nothing is waited for.
const IN_VAIN: Duration = Duration::from_mins(2);
const DECIDED: Duration = Duration::from_secs(30);
/// Nobody works, so nothing is pre-annotated.
const IDLE: [(&str, &str); 1] = [("CELLMILL_WORKERS", "0")];

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folders = ClassFolders::read(&show.options.data.join("cells"))?;
    let place = show.make_place("periodic")?;
    let material = Material::of(&folders)?;
    let labelled = place.join("labelled");
    material.write_labelled(&labelled)?;
    let root = place.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    import(show, &mill, &labelled).await?;

    let begun = Instant::now();
    let set = ["label-type", "set", LABEL_TYPE, "--training-interval", "1"];
    command(show, &mill, &set).await?;
    let (view, _) = training_after(&mill, "").await?;
    figures.told("periodic.first.seconds", begun.elapsed().as_secs_f64(), "s");
    let n_labelled = view["last_training"]["n_labelled"].as_u64().unwrap_or(0);
    let n = material.labelled.iter().map(Vec::len).sum();
    figures.exactly(
        "periodic.first.labelled_images",
        n_labelled as usize,
        "images",
        n,
    );
    let dir = text(&view["last_training"]["dir"]);
    let first = Trained::read(&root, &dir)?;
    figures.holds(
        "periodic.first.is_adopted",
        first.card["state"] == "adopted",
    );
    figures.holds("periodic.first.is_named", view["mid"] == first.mid);
    let balanced = first.figure("test", "balanced_accuracy");
    figures.told("periodic.first.balanced_accuracy", balanced, "");

    new_images(figures, &mill, &material, first.mid).await?;
    mill.stop().await?;
    let mill = person_first(show, figures, &root, &material, first.mid).await?;

    command(show, &mill, &["label-type", "train", LABEL_TYPE]).await?;
    let (view, job) = training_after(&mill, &dir).await?;
    second(figures, &root, &view, &job, &first)?;
    mill.stop().await?;
    figures.holds(
        "periodic.verify_finds_nothing",
        show.is_verified(&root).await?,
    );
    Ok(())
}

/// Images of two classes, each used once.
struct Material {
    labelled: [Vec<ClassImage>; 2],
    new: [Vec<ClassImage>; 2],
    by_person: [Vec<ClassImage>; 2],
}

impl Material {
    fn of(folders: &ClassFolders) -> Result<Self> {
        let n = N_LABELLED + N_NEW + N_BY_PERSON;
        let mut material = Self {
            labelled: Default::default(),
            new: Default::default(),
            by_person: Default::default(),
        };
        for (at, ids) in [&folders.negative, &folders.positive]
            .into_iter()
            .enumerate()
        {
            let mut images = folders.some(ids, n)?.into_iter().cloned();
            material.labelled[at] = images.by_ref().take(N_LABELLED).collect();
            material.new[at] = images.by_ref().take(N_NEW).collect();
            material.by_person[at] = images.collect();
        }
        Ok(material)
    }

    /// `<class>/<image>`
    fn write_labelled(&self, to: &Path) -> Result<()> {
        for (class, images) in CLASSES.iter().zip(&self.labelled) {
            for (n, image) in images.iter().enumerate() {
                let name = image.path.file_name().context("an image has a name")?;
                let name = format!("{class}{n}-{}", name.to_string_lossy());
                place_file(&image.path, &to.join(class).join(name))?;
            }
        }
        Ok(())
    }
}

async fn command(show: &Show, mill: &Mill, args: &[&str]) -> Result<Value> {
    let args = [args, &["--url", mill.url(), "--json"]].concat();
    show.program.run(&args).await?.must_be_ok(args[0])?.json()
}

async fn import(show: &Show, mill: &Mill, folder: &Path) -> Result<()> {
    let folder = folder.to_string_lossy();
    let args = ["import", &folder, "--folders-as-classes", "--batch", BATCH];
    command(
        show,
        mill,
        &[&args[..], &["--label-type", LABEL_TYPE]].concat(),
    )
    .await?;
    Ok(())
}

/// Waits until a training other than this one was started and has ended: the label type then, and the job.
async fn training_after(mill: &Mill, before: &str) -> Result<(Value, Value)> {
    let path = format!("/api/v1/label-types/{LABEL_TYPE}");
    let what = "a periodic training was started";
    let dir = wait_until(what, TRAINING, Duration::from_millis(200), async || {
        let last = mill.client().get(&path, &[]).await?["last_training"].clone();
        if last["dir"].is_null() && !last.is_null() {
            bail!("no training: {}", last["outcome"]);
        }
        let dir = text(&last["dir"]);
        Ok((!dir.is_empty() && dir != before).then_some(dir))
    })
    .await?;
    let what = "the job of the training is there";
    wait_until(what, TRAINING, Duration::from_millis(200), async || {
        Ok(mill.client().job_of("train", &dir).await.ok())
    })
    .await?;
    let ended = ["done", "failed", "cancelled"];
    let job = mill
        .client()
        .job_of_in("train", &dir, &ended, TRAINING)
        .await?;
    ensure!(
        job["state"] == "done",
        "the training ended {}: {}",
        job["state"],
        job["error"]
    );
    Ok((mill.client().get(&path, &[]).await?, job))
}

/// Images that come now are labelled by the model, each within a minute.
async fn new_images(
    figures: &mut Figures,
    mill: &Mill,
    material: &Material,
    mid: u64,
) -> Result<()> {
    let mut seconds = Vec::new();
    let (mut n_by_model, mut n_right) = (0, 0);
    for (class, image) in pairs(&material.new) {
        let begun = Instant::now();
        let key = upload(mill, LABEL_TYPE, "waiting", image).await?;
        let label = pre_annotated(mill, &key, mid, IN_VAIN).await?;
        seconds.push(begun.elapsed().as_secs_f64());
        let answer = &label["image_class"];
        n_by_model += usize::from(text(&answer["source"]) == format!("model/{mid}"));
        n_right += usize::from(Some(class_id(class)) == id(&answer["class"]));
    }
    seconds.sort_by(f64::total_cmp);
    let n = seconds.len();
    figures.exactly(
        "periodic.new.labelled_by_the_model",
        n_by_model,
        "images",
        n,
    );
    figures.told("periodic.new.labelled_rightly", n_right as f64, "images");
    figures.told("periodic.new.seconds_p50", seconds[n / 2], "s");
    let limit = LABELLED_WITHIN.as_secs_f64();
    figures.at_most("periodic.new.seconds_max", seconds[n - 1], "s", limit);
    Ok(())
}

/// One of each class in turn.
fn pairs(images: &[Vec<ClassImage>; 2]) -> impl Iterator<Item = (usize, &ClassImage)> {
    let [negative, positive] = images;
    let pairs = negative.iter().zip(positive);
    pairs.flat_map(|(negative, positive)| [(0, negative), (1, positive)])
}

/// The built-in ids of negative and positive (FORMATS A.4).
fn class_id(at: usize) -> u32 {
    [50, 51][at]
}

/// A person's word is there before the model's, and stays as it is.
async fn person_first(
    show: &Show,
    figures: &mut Figures,
    root: &Path,
    material: &Material,
    mid: u64,
) -> Result<Mill> {
    let mill = Mill::up_with(&show.program, root, &IDLE).await?;
    let mut labelled = Vec::new();
    for (n, (_, image)) in pairs(&material.by_person).enumerate() {
        let key = upload(&mill, LABEL_TYPE, "person", image).await?;
        mill.client().decided(&key, DECIDED).await?;
        // Each class is said of images of both, so that the model must disagree with some.
        let class = class_id(n / 2 % 2);
        let layer = said(&mill, &key, n, class).await?;
        labelled.push((key, class, layer));
    }
    mill.stop().await?;

    let mill = Mill::up(&show.program, root).await?;
    let (mut n_kept, mut n_same, mut n_disagreed) = (0, 0, 0);
    for (key, class, before) in &labelled {
        let label = pre_annotated(&mill, key, mid, IN_VAIN).await?;
        let shown = &label["image_class"];
        let is_persons = text(&shown["source"]).starts_with("person/");
        n_kept += usize::from(id(&shown["class"]) == Some(*class) && is_persons);
        n_same += usize::from(persons(&label) == *before);
        let layer = &label["document"]["layers"][format!("model/{mid}")];
        n_disagreed += usize::from(id(&layer["image_class"][0]) != Some(*class));
    }
    let n = labelled.len();
    figures.exactly("periodic.person.class_kept", n_kept, "images", n);
    figures.exactly("periodic.person.layer_as_it_was", n_same, "images", n);
    figures.told(
        "periodic.person.model_disagrees",
        n_disagreed as f64,
        "images",
    );
    Ok(mill)
}

/// Says a class of an image as a person, and gives the persons' layers then.
async fn said(mill: &Mill, key: &str, n: usize, class: u32) -> Result<BTreeSet<String>> {
    let path = format!("/api/v1/image/label?key={key}");
    let label = wait_until("a label", DECIDED, Duration::from_millis(20), async || {
        Ok(mill
            .client()
            .get("/api/v1/image/label", &[("key", key)])
            .await
            .ok())
    })
    .await?;
    let operation = json!({
        "id": format!("{:026}", n + 1),
        "rev": label["rev"],
        "op": "set_image_class",
        "class": class,
    });
    let label = mill
        .client()
        .post(&path, &json!({ "operations": [operation] }))
        .await?;
    let layers = persons(&label);
    ensure!(
        !layers.is_empty(),
        "the label of {key} has no layer of a person"
    );
    Ok(layers)
}

/// The layers of persons, as text.
fn persons(label: &Value) -> BTreeSet<String> {
    let layers = label["document"]["layers"]
        .as_object()
        .into_iter()
        .flatten();
    let persons = layers.filter(|(name, _)| name.starts_with("person/"));
    persons
        .map(|(name, layer)| format!("{name} {layer}"))
        .collect()
}

/// The second model is taken when it is not worse than the first on the same cells, and only then.
fn second(
    figures: &mut Figures,
    root: &Path,
    view: &Value,
    job: &Value,
    first: &Trained,
) -> Result<()> {
    let dir = text(&view["last_training"]["dir"]);
    let trained = Trained::read(root, &dir)?;
    let balanced = trained.figure("test", "balanced_accuracy");
    // Its report says what the model in use makes of the same cells.
    let record = read_json(&root.join("projects").join(&dir).join("train.json"))?;
    let report = if job["report"].is_null() {
        &record["report"]
    } else {
        &job["report"]
    };
    let rival = &report["rival"];
    let before = rival["test"]["balanced_accuracy"]
        .as_f64()
        .unwrap_or(f64::NAN);
    figures.told("periodic.second.balanced_accuracy", balanced, "");
    figures.told("periodic.second.of_the_first", before, "balanced accuracy");
    figures.holds(
        "periodic.second.is_compared_with_the_first",
        rival["mid"] == first.mid,
    );
    let is_adopted = balanced >= before;
    let state = if is_adopted { "adopted" } else { "proposed" };
    figures.said("periodic.second.state", trained.card["state"].clone(), "");
    figures.holds(
        "periodic.second.only_when_not_worse",
        trained.card["state"] == state,
    );
    let mid = if is_adopted { trained.mid } else { first.mid };
    figures.holds("periodic.second.label_type_as_decided", view["mid"] == mid);
    Ok(())
}
