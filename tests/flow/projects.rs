//! Trainings and predictions, from cells to the documented files.

use std::fmt::Write as _;

use cellmill_core::formats::{PredictResult, ProjectInfo, ProjectKeys, ProjectLists, TrainResult};
use cellmill_core::ids::{BatchId, Dir};
use cellmill_core::job::{DataParameters, DataType, JobEvent, JobParameters, JobRecord, JobState};
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey, ProjectFile, ProjectFolder};
use cellmill_core::messages::UnitClass;
use cellmill_core::model::{ModelCard, ModelState};
use cellmill_core::split::SplitRule;
use cellmill_core::training::{NetworkSettings, PredictParameters, TrainParameters};
use cellmill_store::accept::Submission;
use cellmill_vision::{RgbImage, encode_png};

use crate::lab::Mill;

/// Two kinds of discs, told apart by colour.
const COLOURS: [(u32, [u8; 3]); 2] = [(1, [60, 80, 190]), (2, [200, 60, 60])];
const PLACES: [(u32, u32); 4] = [(60, 60), (200, 60), (60, 200), (200, 200)];
const CASES: u32 = 6;
const IMAGES_OF_A_CASE: u32 = 2;

/// A bright field with four discs, and the CSV that names them.
pub(crate) fn field(variant: u32) -> (Vec<u8>, String) {
    let mut image = RgbImage::filled(260, 260, [230, 220, 230]);
    let mut csv = "X,Y,Type\n".to_owned();
    for (n, (x, y)) in PLACES.iter().enumerate() {
        let (class, colour) = COLOURS[(n + variant as usize) % 2];
        let (cx, cy) = (x + variant % 5, y + variant % 3);
        for dy in 0..40 {
            for dx in 0..40 {
                let (i, j) = (i64::from(dx) - 20, i64::from(dy) - 20);
                if i * i + j * j <= 18 * 18 {
                    image.set_pixel(cx + dx - 20, cy + dy - 20, colour);
                }
            }
        }
        writeln!(csv, "{cx},{cy},{class}").unwrap();
    }
    (encode_png(&image), csv)
}

async fn filled(seed: u64, repeats: usize) -> Mill {
    let mut mill = Mill::new(seed, repeats);
    for case in 0..CASES {
        for n in 0..IMAGES_OF_A_CASE {
            let (png, csv) = field(case * 7 + n);
            mill.put(&format!("img/b/c{case}/Images/i{n}.png"), png)
                .await;
            let csv_key = format!("csv/b/2019-7-22/c{case}/i{n}.csv");
            mill.put(&csv_key, csv.into_bytes()).await;
        }
    }
    mill.turn().await;
    mill
}

fn dir(text: &str) -> Dir {
    Dir::parse(text).unwrap()
}

pub(crate) fn quick() -> NetworkSettings {
    NetworkSettings {
        scale: "small".to_owned(),
        epochs: 3,
        batch: 8,
        ..NetworkSettings::default()
    }
}

fn data(name: &str) -> Submission {
    Submission {
        parameters: JobParameters::Data(DataParameters {
            data_type: DataType::Points,
            batches: vec![BatchId::parse("b").unwrap()],
            ..DataParameters::default()
        }),
        description: String::new(),
        dir: Some(dir(name)),
        class: UnitClass::cpu(),
        by: "local".to_owned(),
        project: None,
    }
}

fn training(name: &str, types: &[u32]) -> Submission {
    let parameters = TrainParameters {
        ddir: dir("PointSet"),
        did: 1,
        mid: 100,
        types: types.to_vec(),
        merge: Vec::new(),
        resize: 32,
        time: 0,
        split: SplitRule::Case,
        seed: 3,
        network: quick(),
        detector: None,
        propose_for: None,
        shuffle_labels: false,
        profile: false,
    };
    let keys = ProjectKeys {
        did: 1,
        ddir: "PointSet".to_owned(),
        status: 1,
        project_type: 2,
        types: types.to_vec(),
        parameter_resize: 32,
        parameter_mid: 100,
        parameter_type: 1,
        ..ProjectKeys::default()
    };
    project(name, JobParameters::Train(parameters), keys)
}

fn prediction(name: &str) -> Submission {
    let parameters = PredictParameters {
        ddir: dir("PointSet"),
        did: 1,
        mid: 100,
        types: Vec::new(),
        is_labelled: true,
        binary: false,
        target_recall: None,
        min_side: None,
        filter_mid: None,
    };
    let keys = ProjectKeys {
        did: 1,
        ddir: "PointSet".to_owned(),
        status: 1,
        project_type: 3,
        parameter_mid: 100,
        parameter_type: 1,
        crop_cells: Some(Vec::new()),
        ..ProjectKeys::default()
    };
    project(name, JobParameters::Predict(parameters), keys)
}

fn project(name: &str, parameters: JobParameters, keys: ProjectKeys) -> Submission {
    Submission {
        parameters,
        description: String::new(),
        dir: Some(dir(name)),
        class: UnitClass::cpu(),
        by: "local".to_owned(),
        project: Some(keys),
    }
}

async fn file(mill: &Mill, name: &str, file: ProjectFile) -> Vec<u8> {
    let key = ObjectKey::Project(dir(name), file);
    mill.store.get_bytes(&key).await.unwrap().to_vec()
}

async fn trained_and_predicted(seed: u64, repeats: usize) -> (Mill, JobRecord, JobRecord) {
    let mut mill = filled(seed, repeats).await;
    mill.accept(data("PointSet")).await;
    // Both stand on what is not there yet, and the prediction on a model that is not either: it comes after.
    mill.accept(training("Training", &[1, 2])).await;
    let trained = mill.end(JobKind::Train, &dir("Training")).await;
    assert_eq!(trained.state, JobState::Done, "{:?}", trained.error);
    mill.accept(prediction("Predict1")).await;
    let predicted = mill.end(JobKind::Predict, &dir("Predict1")).await;
    assert_eq!(predicted.state, JobState::Done, "{:?}", predicted.error);
    (mill, trained, predicted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_and_a_prediction_leave_the_documented_files() {
    let (mill, trained, predicted) = trained_and_predicted(1, 1).await;
    let n_cells = u64::from(CASES * IMAGES_OF_A_CASE * 4);

    let info: ProjectInfo =
        serde_json::from_slice(&file(&mill, "Training", ProjectFile::Info).await).unwrap();
    assert_eq!((info.id, info.project_type, info.status), (1, 2, 1));
    let lists: ProjectLists =
        serde_json::from_slice(&file(&mill, "Training", ProjectFile::Lists).await).unwrap();
    assert_eq!(lists.lists[0].cells, n_cells);
    let result: TrainResult =
        serde_json::from_slice(&file(&mill, "Training", ProjectFile::Model).await).unwrap();
    assert_eq!(
        (result.n_classes, result.input_shape.as_str()),
        (2, "32x32x3")
    );
    assert_eq!(trained.result, Some(serde_json::to_value(&result).unwrap()));

    // The split: every cell once, no case on two sides, and the label tables say the same.
    let split = String::from_utf8(file(&mill, "Training", ProjectFile::Split).await).unwrap();
    let rows: Vec<Vec<&str>> = split
        .lines()
        .skip(1)
        .map(|it| it.split(',').collect())
        .collect();
    assert_eq!(rows.len() as u64, n_cells);
    for case in 0..CASES {
        let of_case = format!("img/b/c{case}/");
        let mut parts: Vec<&str> = rows
            .iter()
            .filter(|row| row[0].trim_matches('"').starts_with(&of_case))
            .map(|row| row[3])
            .collect();
        parts.dedup();
        assert_eq!(parts.len(), 1, "case {case}: {parts:?}");
    }
    let n_rows = |table: Vec<u8>| String::from_utf8(table).unwrap().lines().count() - 1;
    let train = n_rows(file(&mill, "Training", ProjectFile::Labels(ProjectFolder::Train)).await);
    let test = n_rows(file(&mill, "Training", ProjectFile::Labels(ProjectFolder::Test)).await);
    assert_eq!((train + test) as u64, n_cells);
    assert_eq!(
        result.n_train as usize,
        rows.iter().filter(|it| it[3] == "train").count()
    );

    let key = ModelKey::of_number(ModelKind::Classifier, 100);
    let card = mill
        .store
        .read::<ModelCard>(&ObjectKey::ModelCard(key.clone()))
        .await
        .unwrap()
        .expect("the card")
        .value;
    assert_eq!((card.state, card.mid), (ModelState::Ready, 100));
    let model = mill.store.get_bytes(&ObjectKey::Model(key)).await.unwrap();
    assert_eq!(model.len() as u64, card.bytes);

    let predict2: PredictResult =
        serde_json::from_slice(&file(&mill, "Predict1", ProjectFile::Predict2 { part: 0 }).await)
            .unwrap();
    assert_eq!(predict2.crop_cells.len() as u64, n_cells);
    for class in &predict2.result {
        let own = predict2
            .crop_cells
            .iter()
            .filter(|it| it.true_type == class.class);
        let right = own.clone().filter(|it| it.predict == class.class).count() as u64;
        assert_eq!((class.total, class.correct), (own.count() as u64, right));
    }
    assert_eq!(
        predicted.result,
        Some(serde_json::to_value(&predict2.result).unwrap())
    );
    // The job record is predict.json, with the keys of legacy readers at its top.
    let record = file(&mill, "Predict1", ProjectFile::Job(JobKind::Predict)).await;
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["crop_cells"], serde_json::json!([]));
    assert_eq!(
        (&record["ddir"], &record["type"]),
        (&"PointSet".into(), &3.into())
    );
    assert!(record["result"].is_array());
    for cell in &predict2.crop_cells {
        assert!(
            mill.store.head(&cell.url).await.unwrap().is_some(),
            "{}",
            cell.url
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_shuffled_messages_give_the_same_results() {
    let (once, ..) = trained_and_predicted(1, 1).await;
    let (often, ..) = trained_and_predicted(2, 2).await;
    for (name, it) in [
        ("Training", ProjectFile::Model),
        ("Training", ProjectFile::Split),
        ("Training", ProjectFile::Labels(ProjectFolder::Train)),
        ("Training", ProjectFile::Curves),
        ("Training", ProjectFile::Confusion),
        ("Predict1", ProjectFile::Predict2 { part: 0 }),
        ("Predict1", ProjectFile::Labels(ProjectFolder::Predict)),
    ] {
        let (a, b) = (
            file(&once, name, it.clone()).await,
            file(&often, name, it.clone()).await,
        );
        assert!(a == b, "{name} {it:?} differs");
    }
    let model = ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, 100));
    assert_eq!(
        once.store.get_bytes(&model).await.unwrap(),
        often.store.get_bytes(&model).await.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_learned_from_fails_with_its_reason() {
    let mut mill = filled(3, 1).await;
    mill.accept(data("PointSet")).await;
    mill.accept(training("OneClass", &[1])).await;
    let job = mill.end(JobKind::Train, &dir("OneClass")).await;
    assert_eq!(job.state, JobState::Failed);
    let error = job.error.unwrap();
    assert!(
        error.contains("at least 2 classes") && error.contains("PointSet"),
        "{error}"
    );

    let mut other = data("Cancelled");
    other.dir = Some(dir("CancelSet"));
    mill.accept(other).await;
    let event = JobEvent::Cancelled {
        by: "me".to_owned(),
    };
    mill.store
        .change_job(JobKind::Data, &dir("CancelSet"), event, 4)
        .await
        .unwrap();
    let mut on_it = training("OnIt", &[1, 2]);
    if let JobParameters::Train(it) = &mut on_it.parameters {
        it.ddir = dir("CancelSet");
    }
    mill.accept(on_it).await;
    let job = mill.end(JobKind::Train, &dir("OnIt")).await;
    assert!(job.error.unwrap().contains("`CancelSet` was cancelled"));
}
