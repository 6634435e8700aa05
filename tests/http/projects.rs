//! Projects: which trainings and predictions are accepted, and what is shown of them.

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobEvent, JobParameters, JobRecord};
use cellmill_core::keys::{DatasetFile, JobKind, NumberKind, ObjectKey, ProjectFile};
use cellmill_core::messages::ASSEMBLE;
use cellmill_core::records::NumberRecord;
use cellmill_store::Put;
use serde_json::{Value, json};

use crate::datasets::{apply, with_image};
use crate::models::{model_file, new_model, with_model};
use crate::server::{Answer, Server};

const DATASET: &str = "DkxD9Kjl";

/// A server with a finished data set of these cells by class.
pub(crate) async fn with_dataset(counts: &[(u32, u64)]) -> Server {
    let server = with_open_dataset().await;
    let types: Vec<Value> = counts
        .iter()
        .map(|(class, n)| json!({"celltype": class, "labelcnt": n}))
        .collect();
    let key = ObjectKey::Dataset(Dir::parse(DATASET).unwrap(), DatasetFile::Info);
    let info = json!({ "types": types }).to_string();
    server
        .store
        .put_bytes(&key, info, Put::Create)
        .await
        .unwrap();
    let assembled = JobEvent::Assembled {
        units: 0,
        snapshot: "s1".to_owned(),
    };
    apply(&server, DATASET, assembled).await;
    let collected = JobEvent::Collected {
        result: json!({}),
        report: None,
    };
    apply(&server, DATASET, collected).await;
    server
}

async fn with_open_dataset() -> Server {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": DATASET});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    server
}

/// A request with some fields changed.
pub(crate) async fn ask(server: &Server, base: Value, change: &Value) -> Answer {
    let mut new = base;
    new.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    server.post("/api/v1/projects", &new).await
}

pub(crate) fn train() -> Value {
    json!({"kind": "train", "dataset": DATASET})
}

fn predict(mid: u64) -> Value {
    json!({"kind": "predict", "dataset": DATASET, "mid": mid})
}

async fn record(server: &Server, kind: JobKind, dir: &str) -> JobRecord {
    let key = ObjectKey::job(kind, &Dir::parse(dir).unwrap());
    server.store.read(&key).await.unwrap().unwrap().value
}

async fn n_projects(server: &Server) -> usize {
    let page = server.get("/api/v1/projects").await.json();
    page["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_accepted_training_has_a_model_number_and_the_keys_of_legacy_readers() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    let before = server.n_waiting(ASSEMBLE).await;
    let change =
        json!({"dir": "TrainAAA", "description": "first", "network": {"epochs": 3}, "seed": 7});
    let answer = ask(&server, train(), &change).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let view = answer.json();
    assert_eq!(
        (&view["number"], &view["mid"], &view["did"], &view["kind"]),
        (&json!(1), &json!(100), &json!(1), &json!("train"))
    );
    assert_eq!(view["types"], json!([1, 2]), "all that the data set has");
    assert_eq!(view["parameters"]["network"]["epochs"], 3);
    assert_eq!(view["parameters"]["network"]["batch"], 64, "the default");
    assert_eq!(view["job"]["state"], "assembling");
    let stored = record(&server, JobKind::Train, "TrainAAA").await;
    let JobParameters::Train(parameters) = &stored.parameters else {
        panic!("{stored:?}");
    };
    assert_eq!((parameters.resize, parameters.time), (64, 0));
    let file = serde_json::to_value(&stored).unwrap();
    for (key, value) in [
        ("id", json!(1)),
        ("did", json!(1)),
        ("ddir", json!(DATASET)),
        ("type", json!(2)),
        ("status", json!(1)),
        ("types", json!([1, 2])),
        ("modpath", json!("modules/classifier/100.safetensors")),
        ("parameter_mid", json!(100)),
        ("parameter_resize", json!(64)),
    ] {
        assert_eq!(file[key], value, "{key}");
    }
    assert!(file.get("crop_cells").is_none());
    let number: NumberRecord = server
        .store
        .read(&ObjectKey::Number(NumberKind::Models, 100))
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!(number.dir, "TrainAAA");
    assert_eq!(server.n_waiting(ASSEMBLE).await, before + 1);
    assert_eq!(
        server.get("/api/v1/models").await.json()["items"],
        json!([]),
        "a number without a card is no model"
    );
    let taken = ask(&server, train(), &change).await;
    assert_eq!(taken.error(), (409, "taken".to_owned()));
    let early = ask(&server, predict(100), &json!({})).await;
    assert_eq!(early.error(), (422, "unknown_model".to_owned()));
    assert!(
        early.json()["message"]
            .as_str()
            .unwrap()
            .contains("TrainAAA")
    );
}

#[tokio::test]
async fn merged_classes_stand_in_the_parameters_with_their_ids() {
    let server = with_dataset(&[(1, 20), (2, 7), (7, 3)]).await;
    let merge = json!({"merge": [{"name": "negative", "of": [1, 5]}, {"name": "positive", "of": [2, 3, 7]}]});
    let view = ask(&server, train(), &merge).await.json();
    assert_eq!(view["parameters"]["types"], json!([50, 51]));
    assert_eq!(view["types"], json!([1, 5, 2, 3, 7]));
    let dir = view["dir"].as_str().unwrap();
    let stored = record(&server, JobKind::Train, dir).await;
    let JobParameters::Train(parameters) = stored.parameters else {
        panic!("no training");
    };
    assert_eq!(parameters.class_of(7), Some(1));
}

#[tokio::test]
async fn a_training_needs_a_data_set_with_two_classes() {
    let server = with_dataset(&[(301, 40)]).await;
    let one = ask(&server, train(), &json!({})).await;
    assert_eq!(one.error(), (422, "too_few_classes".to_owned()));
    let message = one.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("301 (40 cells)"), "{message}");
    for (change, status, code) in [
        (json!({"types": [301, 302]}), 422, "unknown_class"),
        (json!({"types": [301, 301]}), 422, "too_few_classes"),
        (
            json!({"merge": [{"name": "a", "of": [301]}, {"name": "b", "of": [302]}]}),
            422,
            "too_few_classes",
        ),
        (json!({"dataset": "Nothing0"}), 422, "unknown_dataset"),
        (json!({"dataset": null}), 422, "bad_parameter"),
        (json!({"label_type": "none"}), 422, "unknown_label_type"),
    ] {
        let answer = ask(&server, train(), &change).await;
        // The label type is looked at before the classes.
        assert_eq!(answer.error(), (status, code.to_owned()), "{change}");
    }
    assert_eq!(n_projects(&server).await, 0);
    let numbers = server
        .store
        .head(&ObjectKey::Number(NumberKind::Models, 100))
        .await
        .unwrap();
    assert!(numbers.is_none(), "a refused training takes no number");
}

#[tokio::test]
async fn a_training_may_wait_for_its_data_set_when_it_names_its_classes() {
    let server = with_open_dataset().await;
    let unnamed = ask(&server, train(), &json!({})).await;
    assert_eq!(unnamed.error(), (422, "types_needed".to_owned()));
    let named = ask(&server, train(), &json!({"types": [2, 1]})).await;
    assert_eq!(named.status, 201, "{named:?}");
    assert_eq!(named.json()["parameters"]["types"], json!([2, 1]));
    server
        .post(&format!("/api/v1/jobs/data/{DATASET}/cancel"), &json!({}))
        .await;
    let late = ask(&server, train(), &json!({"types": [2, 1]})).await;
    assert_eq!(late.error(), (409, "dataset_unusable".to_owned()));
}

#[tokio::test]
async fn every_value_of_a_training_has_its_limits_and_every_problem_is_named() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    for (change, n_problems) in [
        (json!({"parameter_resize": 15}), 1),
        (json!({"parameter_resize": 513}), 1),
        (json!({"parameter_time": 700_000}), 1),
        (json!({"network": {"family": "resnet", "scale": "huge"}}), 2),
        (
            json!({"network": {"epochs": 0, "batch": 1, "learning_rate": 0.0}}),
            3,
        ),
        (json!({"network": {"epochs": 1001, "dropout": 1.0}}), 2),
        (json!({"split": {"by": "cases", "test": []}}), 1),
        (json!({"types": [0, 10_000]}), 2),
        (json!({"mid": 100, "binary": true}), 2),
        (json!({"merge": [{"name": "a", "of": []}]}), 1),
        (json!({"description": "x".repeat(2001)}), 1),
        (json!({"kind": "data"}), 1),
    ] {
        let answer = ask(&server, train(), &change).await;
        assert_eq!(
            answer.error(),
            (422, "bad_parameter".to_owned()),
            "{change}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message.split("; ").count(), n_problems, "{message}");
    }
    for change in [
        json!({"network": {"epoch": 3}}),
        json!({"split": {"by": "moon"}}),
        json!({"kind": "bake"}),
        json!({"dir": "a-b"}),
        json!({"class": "GPU 1"}),
        json!({"more": 1}),
    ] {
        let answer = ask(&server, train(), &change).await;
        assert_eq!(answer.error(), (400, "malformed".to_owned()), "{change}");
    }
}

#[tokio::test]
async fn a_prediction_names_its_model_and_its_options() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    let mid = with_model(&server, 1).await;
    let change = json!({"dir": "PredictA", "binary": true, "min_side": 20, "filter_mid": mid, "class": "gpu"});
    let answer = ask(&server, predict(mid), &change).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let stored = record(&server, JobKind::Predict, "PredictA").await;
    assert_eq!(stored.class.as_str(), "gpu");
    let JobParameters::Predict(parameters) = &stored.parameters else {
        panic!("{stored:?}");
    };
    assert!(parameters.is_labelled && parameters.binary);
    assert_eq!(
        (parameters.min_side, parameters.filter_mid),
        (Some(20), Some(mid))
    );
    let file = serde_json::to_value(&stored).unwrap();
    for (key, value) in [
        ("type", json!(3)),
        ("crop_cells", json!([])),
        ("parameter_type", json!(1)),
        ("parameter_mid", json!(mid)),
        ("parameter_resize", json!(64)),
    ] {
        assert_eq!(file[key], value, "{key}");
    }
    let unlabelled = json!({"parameter_type": 0});
    let view = ask(&server, predict(mid), &unlabelled).await.json();
    assert_eq!(view["parameters"]["is_labelled"], json!(false));
    let train_there = ask(&server, train(), &json!({"dir": "PredictA"})).await;
    assert_eq!(
        train_there.error(),
        (409, "taken".to_owned()),
        "one project a directory"
    );
}

#[tokio::test]
async fn a_prediction_that_cannot_be_answered_is_refused() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    let mid = with_model(&server, 1).await;
    let bytes = model_file(2);
    let mut lab = new_model(&bytes);
    lab["classes"] =
        json!([{"id": 301, "name": "RBC"}, {"id": 302, "name": "WBC"}, {"id": 303, "name": "x"}]);
    let uploading = server.post("/api/v1/models", &lab).await.json()["mid"].clone();
    for (change, status, code) in [
        (json!({"mid": null}), 422, "bad_parameter"),
        (json!({"mid": 7}), 422, "unknown_model"),
        (json!({"mid": uploading}), 409, "model_uploading"),
        (json!({"filter_mid": 7}), 422, "unknown_model"),
        (json!({"target_recall": 0.95}), 422, "bad_parameter"),
        (
            json!({"target_recall": 1.5, "binary": true}),
            422,
            "bad_parameter",
        ),
        (
            json!({"target_recall": 0.9, "binary": true}),
            422,
            "no_thresholds",
        ),
        (json!({"min_side": 0}), 422, "bad_parameter"),
        (json!({"types": [9]}), 422, "unknown_class"),
        (json!({"parameter_type": 2}), 422, "bad_parameter"),
        (
            json!({"seed": 1, "split": {"by": "case"}}),
            422,
            "bad_parameter",
        ),
    ] {
        let answer = ask(&server, predict(mid), &change).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{change}");
    }
    let sent = server
        .request("PUT", &format!("/api/v1/models/{uploading}/file"))
        .body(bytes);
    assert_eq!(server.send(sent).await.status, 200);
    let lab = uploading.as_u64().unwrap();
    for (change, code) in [
        (json!({"binary": true}), "no_polarity"),
        (json!({"filter_mid": lab}), "bad_filter"),
    ] {
        let answer = ask(&server, predict(lab), &change).await;
        assert_eq!(answer.error(), (422, code.to_owned()), "{change}");
    }
    assert_eq!(n_projects(&server).await, 0);
}

/// New images are predicted in one request: their data set is made first.
#[tokio::test]
async fn a_prediction_of_cases_makes_its_data_set() {
    let server = with_image().await;
    let mid = with_model(&server, 1).await;
    let new = json!({"kind": "predict", "mid": mid,
        "new_dataset": {"batches": ["b1"], "cases": ["c1"], "parameter_type": 0}});
    let bad = ask(
        &server,
        new.clone(),
        &json!({"new_dataset": {"batches": ["none"]}}),
    )
    .await;
    assert_eq!(bad.error(), (422, "unknown_batch".to_owned()));
    let bad = ask(&server, new.clone(), &json!({"filter_mid": 7})).await;
    assert_eq!(bad.error(), (422, "unknown_model".to_owned()));
    assert_eq!(
        server.get("/api/v1/datasets").await.json()["items"],
        json!([]),
        "a refused prediction makes no data set"
    );
    let both = ask(&server, new.clone(), &json!({"dataset": DATASET})).await;
    assert_eq!(both.error(), (422, "bad_parameter".to_owned()));
    let view = ask(&server, new, &json!({})).await.json();
    assert_eq!(view["parameters"]["is_labelled"], json!(false), "{view}");
    let dataset = view["dataset"].as_str().unwrap();
    let shown = server.get(&format!("/api/v1/datasets/{dataset}")).await;
    assert_eq!(shown.json()["number"], view["did"]);
}

#[tokio::test]
async fn projects_are_listed_the_newest_first_with_their_report_and_files() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    ask(&server, train(), &json!({"dir": "TrainAAA"})).await;
    let mid = with_model(&server, 1).await;
    ask(&server, predict(mid), &json!({"dir": "PredictA"})).await;
    let page = server.get("/api/v1/projects?limit=1").await.json();
    assert_eq!(
        (&page["items"][0]["dir"], &page["next"]),
        (&json!("PredictA"), &json!("2"))
    );
    let rest = server.get("/api/v1/projects?limit=1&after=2").await.json();
    assert_eq!(
        (&rest["items"][0]["dir"], &rest["next"]),
        (&json!("TrainAAA"), &json!(null))
    );
    let jobs = server.get("/api/v1/jobs?kind=predict").await.json();
    assert_eq!(jobs["items"][0]["report"], json!(null));
    let dir = Dir::parse("TrainAAA").unwrap();
    for (file, bytes) in [
        (ProjectFile::Curves, "png"),
        (ProjectFile::Split, "image,cell"),
    ] {
        let key = ObjectKey::Project(dir.clone(), file);
        server
            .store
            .put_bytes(&key, bytes, Put::Create)
            .await
            .unwrap();
    }
    let files = server.get("/api/v1/projects/TrainAAA/files").await.json();
    let names: Vec<&Value> = files["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["curves.png", "split.csv", "train.json"]);
    let curves = server
        .get("/api/v1/projects/TrainAAA/files/curves.png")
        .await;
    assert_eq!(
        (curves.header("content-type"), &curves.bytes[..]),
        ("image/png", &b"png"[..])
    );
    for path in [
        "/api/v1/projects/Nothing0",
        "/api/v1/projects/Nothing0/files",
        "/api/v1/projects/TrainAAA/files/none.png",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.error(), (404, "not_found".to_owned()), "{path}");
    }
}
