//! Painted cells through a whole training.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::formats::read_labels;
use cellmill_core::job::JobParameters;
use cellmill_core::model::{Candidate, ModelState, TrainReport};
use cellmill_core::split::{Part, SplitRule};
use cellmill_core::timing::Timing;
use cellmill_core::training::{MergedClass, TrainParameters};
use cellmill_store::Put;
use cellmill_vision::{encode_png, png_dimensions};
use cellmill_worker::{Algorithm as _, Context};
use futures::TryStreamExt as _;

use super::TrainAlgorithm;
use crate::learner::Learner as _;
use crate::learning::{Plan, Samples, Training};
use crate::tests::{Lab, bench, painted, permanent, trained, training};

const CLASSES: [u32; 2] = [301, 302];

/// A training that learns next to nothing, where only its files matter.
fn quick(types: &[u32]) -> TrainParameters {
    let mut parameters = training(types);
    parameters.network.epochs = 2;
    parameters
}

async fn train(lab: &Lab, parameters: TrainParameters, attempt: u32) -> BTreeMap<String, Bytes> {
    let unit = lab.unit(JobParameters::Train(parameters), 0, attempt);
    let (files, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    files.unwrap()
}

fn report(files: &BTreeMap<String, Bytes>) -> TrainReport {
    serde_json::from_slice(&files["report"]).unwrap()
}

fn rows(files: &BTreeMap<String, Bytes>) -> Vec<Vec<String>> {
    let table = &files["split"];
    let mut reader = csv::Reader::from_reader(&table[..]);
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>(),
        ["image", "cell", "class", "part", "predicted", "score"]
    );
    let row =
        |it: Result<csv::StringRecord, csv::Error>| it.unwrap().iter().map(str::to_owned).collect();
    reader.records().map(row).collect()
}

#[tokio::test]
async fn a_training_leaves_a_model_and_all_that_is_said_of_it() {
    let lab = Lab::plain(240, &CLASSES).await;
    let files = train(&lab, training(&CLASSES), 1).await;
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "confusion",
            "curves",
            "model",
            "report",
            "split",
            "test_labels",
            "train_labels"
        ]
    );
    let TrainReport {
        epochs,
        card,
        rival,
        ..
    } = report(&files);
    assert_eq!((epochs.len(), rival), (6, None));
    let facts = card.training.clone().unwrap();
    assert_eq!(facts.n_train + facts.n_validation + facts.n_test, 240);
    assert_eq!(
        (facts.split_unit.as_str(), facts.ended_early),
        ("case", None)
    );
    assert_eq!(card.state, ModelState::Ready);
    assert_eq!(card.classes[1].name, "302", "no table names it");
    assert_eq!(
        (card.input.side, card.bytes),
        (32, files["model"].len() as u64)
    );
    let test = card.test.clone().unwrap();
    assert_eq!(test.n, facts.n_test);
    assert!(test.accuracy > 0.9, "red and blue: {}", test.accuracy);
    assert!(card.baseline.unwrap().accuracy > 0.9);
    assert!(card.calibration.is_some());
    assert_eq!(card.thresholds.len(), 51);

    let rows = rows(&files);
    assert_eq!(rows.len(), 240);
    let listed: Vec<&String> = lab
        .pieces
        .iter()
        .flat_map(|it| &it.cells)
        .map(|it| &it.name)
        .collect();
    assert_eq!(
        rows.iter().map(|it| &it[1]).collect::<Vec<_>>(),
        listed,
        "in the order of the list"
    );
    let right = rows
        .iter()
        .filter(|it| it[3] == "test" && it[2] == it[4])
        .count();
    let accuracy = right as f64 / test.n as f64;
    assert!(
        (accuracy - test.accuracy).abs() < 1e-12,
        "the table and the card agree"
    );
    let labels = ["train_labels", "test_labels"].map(|it| read_labels(&files[it]).unwrap());
    assert_eq!(labels[1].len() as u64, test.n);
    assert_eq!(labels[0].len() + labels[1].len(), 240);
    for (folder, rows) in ["train", "test"].iter().zip(&labels) {
        let prefix = format!("projects/ek1roy1R/{folder}/");
        let copies: Vec<_> = lab.store.list(&prefix).try_collect().await.unwrap();
        let copies: BTreeSet<String> = copies.into_iter().map(|it| it.key).collect();
        let told: BTreeSet<String> = rows
            .iter()
            .map(|it| format!("{prefix}{}", it.file))
            .collect();
        assert_eq!(copies, told);
    }
    for picture in ["curves", "confusion"] {
        assert!(png_dimensions(&files[picture]).unwrap().0 > 200);
    }
}

#[tokio::test]
async fn equal_input_gives_equal_bytes_in_every_attempt() {
    let lab = Lab::plain(120, &CLASSES).await;
    let first = train(&lab, quick(&CLASSES), 1).await;
    // Elsewhere, and after an attempt that was lost.
    let again = train(&Lab::plain(120, &CLASSES).await, quick(&CLASSES), 2).await;
    for (name, bytes) in &first {
        assert!(*bytes == again[name], "{name}");
    }
    let other = TrainParameters {
        seed: 6,
        ..quick(&CLASSES)
    };
    assert_ne!(train(&lab, other, 1).await["model"], first["model"]);
}

#[tokio::test]
async fn renamed_batches_cases_and_files_give_the_same_model() {
    let plain = Lab::plain(120, &CLASSES).await;
    // Cases and files in another order of names, and other batches.
    let name = |what: &str, at: usize| format!("{}-{what}", 900 - at);
    let picture = |class, at| encode_png(&painted(class, at, 40));
    let renamed = Lab::new(120, &CLASSES, name, picture).await;
    let (a, b) = (
        train(&plain, quick(&CLASSES), 1).await,
        train(&renamed, quick(&CLASSES), 1).await,
    );
    assert_eq!(a["model"], b["model"]);
    let parts = |files| {
        rows(files)
            .into_iter()
            .map(|it| (it[3].clone(), it[4].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(parts(&a), parts(&b));
}

#[tokio::test]
async fn too_few_classes_are_told_with_their_counts() {
    let lab = Lab::plain(40, &[301]).await;
    let unit = lab.unit(JobParameters::Train(training(&CLASSES)), 0, 1);
    let algorithm = TrainAlgorithm::new(bench());
    let what = permanent(lab.try_run(&algorithm, &unit).await.0);
    for part in [
        "at least 2 of the chosen classes",
        "40 of class 301 (301)",
        "hint:",
    ] {
        assert!(what.contains(part), "{what}");
    }
    let unit = lab.unit(JobParameters::Train(training(&[7, 8])), 0, 1);
    let what = permanent(lab.try_run(&algorithm, &unit).await.0);
    assert!(
        what.contains("7 (ASCUS)") && what.contains("has none"),
        "{what}"
    );
    let mut parameters = training(&CLASSES);
    parameters.network.epochs = 0;
    let unit = lab.unit(JobParameters::Train(parameters), 0, 1);
    assert!(permanent(lab.try_run(&algorithm, &unit).await.0).contains("epochs is 0"));
}

#[tokio::test]
async fn broken_and_lost_pictures_are_left_out() {
    let picture = |class, at| match at {
        3 => b"no picture".to_vec(),
        _ => encode_png(&painted(class, at, 40)),
    };
    let mut lab = Lab::new(120, &CLASSES, |what, at| format!("{what}{at:03}"), picture).await;
    lab.pieces[1].cells[5].name = "lost.png".to_owned();
    lab.freeze().await;
    let unit = lab.unit(JobParameters::Train(quick(&CLASSES)), 0, 1);
    let (files, mut rejected) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert_eq!(rows(&files.unwrap()).len(), 118);
    rejected.sort();
    let expected = [("cell003_302.png", "damaged"), ("lost.png", "missing")];
    assert_eq!(
        rejected,
        expected.map(|(key, code)| (key.to_owned(), code.to_owned()))
    );

    lab.store.delete(&lab.pieces[0].packs[0].key).await.unwrap();
    let (files, rejected) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert_eq!(rows(&files.unwrap()).len(), 59);
    let pack = &lab.pieces[0].packs[0].key;
    assert!(rejected.contains(&(pack.clone(), "missing".to_owned())));
}

#[tokio::test]
async fn merged_classes_and_the_legacy_split() {
    let lab = Lab::plain(120, &[301, 302, 303]).await;
    let merged = |class, name: &str, of: &[u32]| MergedClass {
        class,
        name: name.to_owned(),
        of: of.to_vec(),
    };
    let parameters = TrainParameters {
        merge: vec![merged(50, "calm", &[301, 303]), merged(51, "", &[302])],
        split: SplitRule::Legacy,
        ..quick(&[50, 51])
    };
    let files = train(&lab, parameters, 1).await;
    let card = report(&files).card;
    let names: Vec<&str> = card.classes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["calm", "positive"]);
    assert_eq!((card.validation, card.calibration), (None, None));
    let facts = card.training.unwrap();
    assert_eq!(
        (facts.n_test, facts.n_validation, facts.best_epoch),
        (24, 0, 2)
    );
    assert!(
        facts
            .notes
            .iter()
            .any(|it| it.contains("no validation part"))
    );
    assert_eq!(rows(&files).iter().filter(|it| it[2] == "50").count(), 80);
}

#[tokio::test]
async fn shuffled_labels_teach_nothing() {
    let lab = Lab::plain(160, &CLASSES).await;
    let parameters = TrainParameters {
        shuffle_labels: true,
        ..training(&CLASSES)
    };
    let card = report(&train(&lab, parameters, 1).await).card;
    let accuracy = card.test.unwrap().balanced_accuracy;
    assert!(accuracy < 0.75, "{accuracy}");
}

#[tokio::test]
async fn a_proposed_model_is_compared_with_the_one_in_use() {
    let lab = Lab::plain(120, &CLASSES).await;
    let first = trained().await;
    lab.register(first).await;
    let label_type = lab.label_type("colours", 1100, Some(100)).await;
    // In another order of outputs, and at another side.
    let mut parameters = TrainParameters {
        mid: 101,
        propose_for: Some(label_type),
        resize: 24,
        ..quick(&[302, 301])
    };
    let second = report(&train(&lab, parameters.clone(), 1).await);
    assert_eq!(second.card.state, ModelState::Proposed);
    let rival = second.rival.unwrap();
    assert_eq!(
        (rival.mid, rival.test.n),
        (100, second.card.test.unwrap().n)
    );
    assert!(rival.test.accuracy > 0.9, "{}", rival.test.accuracy);

    let third = Lab::plain(120, &[301, 303]).await;
    third.register(first).await;
    parameters.propose_for = Some(third.label_type("colours", 1100, Some(100)).await);
    parameters.types = vec![301, 303];
    let other = report(&train(&third, parameters, 1).await);
    assert_eq!(other.rival, None);
    let notes = other.card.training.unwrap().notes;
    assert_eq!(
        notes,
        ["not compared with model 100: it tells other classes apart"]
    );
}

/// Averages, mixing and the profile reach the trainer from the settings of the job.
#[tokio::test]
async fn a_profile_is_told_and_traced_when_somebody_asks() {
    let lab = Lab::plain(120, &CLASSES).await;
    let mut parameters = TrainParameters {
        profile: true,
        ..quick(&CLASSES)
    };
    parameters.network.ema = Some(0.9);
    parameters.network.mixup = 0.2;
    let files = train(&lab, parameters, 1).await;
    let report = report(&files);
    let profile = report.profile.unwrap();
    let facts = report.card.training.unwrap();
    assert_eq!(profile.pictures, 2 * facts.n_train);
    let of = |name: &str| {
        profile
            .parts
            .iter()
            .find(|it| it.name == name)
            .unwrap()
            .seconds
    };
    assert!(of("decode") > 0.0 && of("backward") > 0.0 && of("augment") > 0.0);
    assert!(profile.compute_only_images_per_s >= profile.images_per_s);
    assert_eq!((facts.settings.ema, facts.settings.mixup), (Some(0.9), 0.2));
    let trace: serde_json::Value = serde_json::from_slice(&files["trace"]).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let n_forward = events.iter().filter(|it| it["name"] == "forward").count();
    assert_eq!(n_forward as u64, profile.steps);
}

/// The weights are a model that another training left: its body fits, and its head of two classes too.
#[tokio::test]
async fn a_training_begins_with_weights_that_were_given() {
    let lab = Lab::plain(120, &CLASSES).await;
    let weights = &trained().await["model"];
    let sha256 = cellmill_core::ids::sha256_hex(weights);
    let key = format!("modules/weights/{sha256}.safetensors");
    let mut parameters = quick(&CLASSES);
    parameters.network.epochs = 1;
    parameters.network.weights = Some(key.clone());
    let unit = lab.unit(JobParameters::Train(parameters.clone()), 0, 1);
    let (result, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert!(permanent(result).contains("are not there"));
    lab.store
        .put_bytes(&key, weights.clone(), Put::Create)
        .await
        .unwrap();
    let report = report(&train(&lab, parameters.clone(), 1).await);
    assert!(report.card.test.unwrap().accuracy > 0.9, "it knew before");
    let facts = report.card.training.unwrap();
    let began_with = facts.weights.unwrap();
    assert_eq!((began_with.sha256, began_with.file), (sha256, key));
    assert_eq!(began_with.source, "cellmill, safetensors");
    assert!(began_with.n_values > 50);

    parameters.network.scale = "normal".to_owned();
    let unit = lab.unit(JobParameters::Train(parameters), 0, 1);
    let (result, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert!(permanent(result).contains("weights fit the family and the scale"));
}

/// A search that is limited by epochs, and the same one after its worker was lost in the middle.
#[tokio::test]
async fn a_search_keeps_the_best_network_and_goes_on_from_a_checkpoint_to_the_same_bytes() {
    let lab = Lab::plain(120, &CLASSES).await;
    let mut parameters = quick(&CLASSES);
    parameters.network.family = "auto".to_owned();
    parameters.network.epochs = 4;
    let parameters = JobParameters::Train(parameters);
    let algorithm = TrainAlgorithm::new(bench());
    let whole = lab.unit(parameters.clone(), 0, 1);
    let mut context = Context::unsupervised(lab.store.clone(), &whole);
    context = context.with_timing(Timing::of_lease(Duration::ZERO));
    let outcome = algorithm.run(&whole, &mut context).await.unwrap();
    let mut expected = BTreeMap::new();
    for output in outcome.outputs {
        let bytes = lab.store.get_bytes(&output.key).await.unwrap();
        expected.insert(output.name, bytes);
    }
    let found = report(&expected);
    let best = &found.candidates[0];
    assert_eq!(
        (found.candidates.len(), best.outcome.as_str()),
        (6, "chosen")
    );
    assert!(
        found
            .candidates
            .iter()
            .all(|it| it.macro_f1 <= best.macro_f1)
    );
    assert_eq!((&found.card.family, best.epochs), (&best.family, 4));
    let validation = found.card.validation.unwrap();
    assert_eq!(found.epochs.len(), 4);
    assert!(validation.n > 0);

    let checkpoints = context.progress().checkpoints.unwrap();
    assert!(checkpoints.len() > 1);
    let mut second = lab.unit(parameters, 0, 2);
    // The older of those that are kept: more is left to do.
    second.checkpoints = checkpoints[..1].to_vec();
    let mut context = Context::unsupervised(lab.store.clone(), &second);
    let resumed = algorithm.run(&second, &mut context).await.unwrap();
    assert!(context.progress().resumed_percent.is_some());
    for output in resumed.outputs {
        let bytes = lab.store.get_bytes(&output.key).await.unwrap();
        assert_eq!(expected[&output.name], bytes, "{}", output.name);
    }
}

#[tokio::test]
async fn a_search_ends_when_its_time_is_over_and_needs_something_to_compare_by() {
    let lab = Lab::plain(120, &CLASSES).await;
    let mut parameters = TrainParameters {
        time: 1,
        ..quick(&CLASSES)
    };
    parameters.network.family = "auto".to_owned();
    parameters.network.epochs = 1000;
    let found = report(&train(&lab, parameters.clone(), 1).await);
    let facts = found.card.training.unwrap();
    assert_eq!(facts.ended_early.as_deref(), Some("time"));
    let left_out = |it: &&Candidate| it.outcome.starts_with("left out");
    assert!(
        found.candidates.iter().any(|it| left_out(&it)),
        "a thousand epochs of six"
    );
    assert_eq!(found.candidates[0].outcome, "chosen");
    parameters.split = SplitRule::Legacy;
    let unit = lab.unit(JobParameters::Train(parameters), 0, 1);
    let (result, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert!(permanent(result).contains("compared on a validation part"));
}

fn samples() -> Samples {
    let mut samples = Samples::new(32);
    for at in 0..40 {
        let class = at % 2;
        let pixels = painted(CLASSES[class], at, 32).data;
        samples.push(&pixels, class).unwrap();
    }
    samples
}

#[test]
fn an_epoch_that_is_broken_off_never_was() {
    let plan = Plan::new(&training(&CLASSES), None).unwrap();
    let bench = bench();
    let (train, validation) = (Arc::new(samples()), Arc::new(Samples::new(32)));
    let mut training = Training::begin(&plan, &train, &validation, bench.compute.device()).unwrap();
    let done = training.epoch(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(done.unwrap().epoch, 1);
    let mut shares = Vec::new();
    let broken_off = training.epoch(&mut |step| {
        shares.push(step.done);
        if shares.len() < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(broken_off.unwrap().is_none());
    assert!(shares.is_sorted() && shares[1] < 1.0, "{shares:?}");
    let ended = training.finish(Some("stopped")).unwrap();
    assert_eq!(
        (ended.epochs.len(), ended.ended_early),
        (1, Some("stopped"))
    );
}

/// Every file of a training that goes on from a checkpoint is the one of a training that was never interrupted.
#[tokio::test]
async fn a_training_goes_on_from_its_newest_checkpoint_to_the_same_bytes() {
    let lab = Lab::plain(120, &CLASSES).await;
    let algorithm = TrainAlgorithm::new(bench());
    let parameters = JobParameters::Train(quick(&CLASSES));
    let whole = lab.unit(parameters.clone(), 0, 1);
    let expected = lab.try_run(&algorithm, &whole).await.0.unwrap();

    // Attempt 2 leaves a checkpoint after its first epoch.
    let second = lab.unit(parameters.clone(), 0, 2);
    let mut context = Context::unsupervised(lab.store.clone(), &second);
    context = context.with_timing(Timing::of_lease(Duration::ZERO));
    algorithm.run(&second, &mut context).await.unwrap();
    assert_eq!(context.progress().resumed_percent, None);
    let checkpoints = context.progress().checkpoints.unwrap();
    assert_eq!(
        checkpoints.len(),
        1,
        "none is left where nothing is to come"
    );
    let damaged = Checkpoint {
        key: "units/ek1roy1R/train-00000/00001/log.txt".to_owned(),
        sha256: cellmill_core::ids::sha256_hex(b"no checkpoint"),
        percent: 99,
        is_best: false,
    };
    lab.store
        .put_bytes(&damaged.key, "no checkpoint", Put::Overwrite)
        .await
        .unwrap();
    let mut third = lab.unit(parameters, 0, 3);
    third.checkpoints = checkpoints;
    let mut changed = third.checkpoints[0].clone();
    changed.key.clone_from(&damaged.key);
    third.checkpoints.push(changed);
    third.checkpoints.push(damaged);
    let mut context = Context::unsupervised(lab.store.clone(), &third);
    let resumed = algorithm.run(&third, &mut context).await.unwrap();
    let progress = context.progress();
    assert_eq!(progress.resumed_percent, Some(50));
    assert_eq!(
        progress.checkpoints.unwrap().len(),
        1,
        "the damaged one is dropped"
    );
    for output in resumed.outputs {
        let bytes = lab.store.get_bytes(&output.key).await.unwrap();
        assert_eq!(expected[&output.name], bytes, "{}", output.name);
    }
}

#[tokio::test]
async fn the_parts_of_folders_are_kept() {
    let mut lab = Lab::plain(120, &CLASSES).await;
    for (at, image) in lab
        .pieces
        .iter_mut()
        .flat_map(|it| &mut it.images)
        .enumerate()
    {
        image.part = Some(Part::ALL[at % 3]);
    }
    lab.freeze().await;
    let parameters = TrainParameters {
        split: SplitRule::Fixed,
        ..quick(&CLASSES)
    };
    let files = train(&lab, parameters, 1).await;
    let of_image: BTreeMap<&str, Part> = lab
        .pieces
        .iter()
        .flat_map(|it| &it.images)
        .map(|it| (it.key.as_str(), it.part.unwrap()))
        .collect();
    assert!(
        rows(&files)
            .iter()
            .all(|it| of_image[it[0].as_str()].as_str() == it[3])
    );
    // An input that is not frozen is told, and not taken for an empty one.
    let key = format!("projects/{}/inputs/00000.json", lab.dir);
    lab.store
        .put_bytes(&key, "{", Put::Overwrite)
        .await
        .unwrap();
    let unit = lab.unit(JobParameters::Train(quick(&CLASSES)), 0, 1);
    let (result, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    assert!(permanent(result).contains("inputs/00000.json"));
}
