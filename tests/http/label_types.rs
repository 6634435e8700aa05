//! Label types: what they keep, and trainings on demand.

use cellmill_core::ids::{Dir, TableName};
use cellmill_core::keys::ObjectKey;
use cellmill_core::records::{LabelTypeSettings, Named, PeriodicTraining};
use cellmill_store::Decision;
use serde_json::json;

use crate::models::with_model;
use crate::server::Server;

type Stored = Named<LabelTypeSettings>;

#[tokio::test]
async fn a_change_keeps_what_a_label_type_knows_of_its_trainings() {
    let server = Server::start().await;
    let path = "/api/v1/label-types/smears";
    let settings = json!({"algorithm": 1101, "labels": ["a", "b"], "training_interval_days": 30});
    server.put(path, &settings).await;
    let key = ObjectKey::LabelType(TableName::parse("smears").unwrap());
    let last = PeriodicTraining {
        at: server.store.now(),
        dir: Some(Dir::parse("DkxD9Kjl").unwrap()),
        n_labelled: 40,
        outcome: "started".to_owned(),
    };
    let decide = |stored: Option<&Stored>| {
        let mut next = stored.unwrap().clone();
        next.value.last_training = Some(last.clone());
        next.value.train_now = true;
        Decision::Write(next)
    };
    assert!(server.store.swap(&key, decide).await.unwrap().changed);
    let changed = json!({"algorithm": 1101, "labels": ["c", "d"]});
    let view = server.put(path, &changed).await.json();
    assert_eq!(
        (&view["labels"], &view["training_interval_days"]),
        (&json!(["c", "d"]), &json!(null))
    );
    assert_eq!(view["train_now"], json!(true));
    assert_eq!(
        (
            &view["last_training"]["dir"],
            &view["last_training"]["n_labelled"]
        ),
        (&json!("DkxD9Kjl"), &json!(40))
    );
}

#[tokio::test]
async fn a_training_is_wanted_once_and_only_of_classes_of_whole_images() {
    let server = Server::start().await;
    server
        .put("/api/v1/label-types/smears", &json!({"algorithm": 1100}))
        .await;
    server
        .put("/api/v1/label-types/cells", &json!({"algorithm": 0}))
        .await;
    let train = async |name: &str| {
        let path = format!("/api/v1/label-types/{name}/train");
        server.post(&path, &json!({})).await
    };
    let wanted = train("smears").await.json();
    assert_eq!(
        (&wanted["train_now"], &wanted["rev"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        train("smears").await.json()["rev"],
        2,
        "a repeat changes nothing"
    );
    assert_eq!(
        train("cells").await.error(),
        (409, "not_trainable".to_owned())
    );
    assert_eq!(train("none").await.error(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn pre_annotation_is_switched_on_and_off_by_the_model() {
    let server = Server::start().await;
    let mid = with_model(&server, 1).await;
    let path = "/api/v1/label-types/cells";
    let on = server.put(path, &json!({"algorithm": 0, "mid": mid})).await;
    assert_eq!(on.json()["mid"], json!(mid));
    let off = server
        .put(path, &json!({"algorithm": 0, "mid": null}))
        .await;
    assert_eq!(off.json()["mid"], json!(null));
    for change in [json!({"mid": 7}), json!({"training_interval_days": 0})] {
        let mut settings = json!({"algorithm": 0});
        settings
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        assert_eq!(server.put(path, &settings).await.status, 422, "{change}");
    }
}
