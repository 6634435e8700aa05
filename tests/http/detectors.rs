//! Detectors: which trainings are accepted, and what a detector may be used for.

use cellmill_core::keys::{ModelKey, ModelKind, NumberKind, ObjectKey};
use cellmill_core::model::{ModelCard, ModelClass};
use serde_json::{Value, json};

use crate::datasets::with_image;
use crate::models::with_model;
use crate::server::Server;

/// A detector of red and white cells that is ready, as a training leaves its card.
async fn with_detector(server: &Server) -> u64 {
    let store = &server.store;
    let number = store.take_number(NumberKind::Models, "ek1roy1R", "", "me");
    let mid = number.await.unwrap();
    let key = ModelKey::of_number(ModelKind::Detector, mid);
    let file = ObjectKey::Model(key.clone()).to_path();
    let class = |id: u32, name: &str| ModelClass {
        id,
        name: name.to_owned(),
    };
    let card = ModelCard {
        kind: ModelKind::Detector,
        classes: vec![class(301, "RBC"), class(302, "WBC")],
        ..ModelCard::of_file(mid, file, 1, String::new())
    };
    let key = ObjectKey::ModelCard(key);
    store.create(&key, card).await.unwrap();
    mid
}

#[tokio::test]
async fn a_detector_is_listed_and_finds_cells_but_names_none() {
    let server = with_image().await;
    let (classifier, detector) = (with_model(&server, 1).await, with_detector(&server).await);
    let listed = server.get("/api/v1/models").await.json();
    let kinds: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["kind"])
        .collect();
    assert_eq!(kinds, ["detector", "classifier"]);
    let one = server.get(&format!("/api/v1/models/{detector}")).await;
    assert_eq!(one.json()["file"], "modules/detector/101.safetensors");

    let data = |mid: u64, more: Value| {
        let mut new = json!({"batches": ["b1"], "parameter_type": 0, "parameter_mid": mid});
        let (to, from) = (new.as_object_mut().unwrap(), more.as_object().unwrap());
        to.extend(from.clone());
        new
    };
    let ask = async |new: Value| server.post("/api/v1/datasets", &new).await;
    let refused = (422, "wrong_kind".to_owned());
    assert_eq!(ask(data(classifier, json!({}))).await.error(), refused);
    let unknown = ask(data(999, json!({}))).await.error();
    assert_eq!(unknown, (422, "unknown_model".to_owned()));
    let bad = (422, "bad_parameter".to_owned());
    assert_eq!(ask(data(0, json!({"min_score": 0.5}))).await.error(), bad);
    assert_eq!(
        ask(data(detector, json!({"min_score": 1.5}))).await.error(),
        bad
    );
    let wish = data(
        detector,
        json!({"dir": "DkxD9Kjl", "min_score": 0.5, "min_distance": 30}),
    );
    assert_eq!(ask(wish).await.status, 201);

    let predict = json!({"kind": "predict", "dataset": "DkxD9Kjl", "mid": detector});
    let answer = server.post("/api/v1/projects", &predict).await;
    assert_eq!(answer.error(), refused);
}

#[tokio::test]
async fn a_detector_labels_cells_and_no_whole_images() {
    let server = Server::start().await;
    let (classifier, detector) = (with_model(&server, 1).await, with_detector(&server).await);
    let put = async |name: &str, body: Value| {
        server
            .put(&format!("/api/v1/label-types/{name}"), &body)
            .await
    };
    for (name, algorithm) in [("cells", 0), ("smears", 1101)] {
        let labels = json!(["negative", "positive"]);
        let labels = if algorithm == 0 { json!([]) } else { labels };
        let body = json!({"algorithm": algorithm, "labels": labels});
        assert_eq!(put(name, body).await.status, 200);
    }
    let promote = async |mid: u64, name: &str| {
        let path = format!("/api/v1/models/{mid}/promote");
        server.post(&path, &json!({"label_type": name})).await
    };
    let refused = (422, "wrong_kind".to_owned());
    assert_eq!(promote(detector, "smears").await.error(), refused);
    let both = json!({"algorithm": 0, "mid": classifier, "detector": detector});
    assert_eq!(put("cells", both).await.json()["detector"], detector);
    // It finds cells and names them: nobody beside it is asked.
    let alone = promote(detector, "cells").await.json();
    assert_eq!(alone["label_type"]["mid"], detector);
    assert_eq!(alone["label_type"]["detector"], Value::Null);
    assert_eq!(alone["model"]["state"], "adopted");
    let back = promote(classifier, "cells").await.json();
    assert_eq!(back["replaced"], detector);
    let before = server.get(&format!("/api/v1/models/{detector}")).await;
    assert_eq!(before.json()["state"], "ready");
    for body in [
        json!({"algorithm": 0, "mid": detector, "detector": detector}),
        json!({"algorithm": 1100, "detector": detector}),
    ] {
        let (status, code) = put("cells", body).await.error();
        assert_eq!((status, code.as_str()), (422, "bad_parameter"));
    }
    let wrong = put("cells", json!({"algorithm": 0, "detector": classifier})).await;
    assert_eq!(wrong.error(), refused);
}

#[tokio::test]
async fn a_training_of_one_class_is_a_detector_s_and_its_settings_are_checked() {
    let server = with_image().await;
    let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    let train = async |more: Value| {
        let mut new = json!({"kind": "train", "dataset": "DkxD9Kjl", "types": [301]});
        let (to, from) = (new.as_object_mut().unwrap(), more.as_object().unwrap());
        to.extend(from.clone());
        server.post("/api/v1/projects", &new).await
    };
    let few = (422, "too_few_classes".to_owned());
    assert_eq!(train(json!({})).await.error(), few);
    let made = train(json!({"detector": {"epochs": 3}})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let parameters = &made.json()["parameters"]["detector"];
    assert_eq!(
        (&parameters["epochs"], &parameters["family"]),
        (&json!(3), &json!("resnet18"))
    );
    let bad = (422, "bad_parameter".to_owned());
    for more in [
        json!({"detector": {"side": 100}}),
        json!({"detector": {"family": "yolo"}}),
        json!({"detector": {}, "parameter_resize": 64}),
        json!({"detector": {}, "network": {}}),
        json!({"detector": {}, "split": {"by": "legacy"}}),
    ] {
        assert_eq!(train(more.clone()).await.error(), bad, "{more}");
    }
    let predict = json!({"kind": "predict", "dataset": "DkxD9Kjl", "mid": 1, "detector": {}});
    assert_eq!(server.post("/api/v1/projects", &predict).await.error(), bad);
}
