//! Models: what comes from elsewhere, what is there, which one a label type uses.

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::Prefix;
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

/// A safetensors file of one tensor.
pub(crate) fn model_file(value: u8) -> Vec<u8> {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([value; 8]);
    bytes
}

/// What is said of a file before it is sent. Its classes are negative and positive.
pub(crate) fn new_model(bytes: &[u8]) -> Value {
    json!({
        "description": "from elsewhere", "bytes": bytes.len(), "sha256": sha256_hex(bytes),
        "family": "mobilenet", "scale": "small", "features": 256,
        "classes": [{"id": 50, "name": "negative"}, {"id": 51, "name": "positive"}],
        "input": {"side": 64, "gray": false, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
    })
}

async fn send(server: &Server, mid: u64, bytes: &[u8]) -> Answer {
    let path = format!("/api/v1/models/{mid}/file");
    let request = server.request("PUT", &path).body(bytes.to_vec());
    server.send(request).await
}

/// A usable model; gives its number.
pub(crate) async fn with_model(server: &Server, value: u8) -> u64 {
    let bytes = model_file(value);
    let made = server.post("/api/v1/models", &new_model(&bytes)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let mid = made.json()["mid"].as_u64().unwrap();
    let sent = send(server, mid, &bytes).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    mid
}

async fn actions(server: &Server) -> Vec<String> {
    let listed = server.store.list(&Prefix::Audit.to_path());
    let keys: Vec<String> = listed.map_ok(|it| it.key).try_collect().await.unwrap();
    let mut actions = Vec::new();
    for key in keys {
        let bytes = server.store.get_bytes(&key).await.unwrap();
        let entry: Value = serde_json::from_slice(&bytes).unwrap();
        actions.push(entry["action"].as_str().unwrap().to_owned());
    }
    actions
}

#[tokio::test]
async fn an_imported_model_is_usable_when_its_bytes_are_there() {
    let server = Server::start().await;
    let bytes = model_file(1);
    let made = server
        .post("/api/v1/models", &new_model(&bytes))
        .await
        .json();
    assert_eq!(
        (&made["mid"], &made["state"]),
        (&json!(100), &json!("uploading"))
    );
    assert_eq!(
        server.get("/api/v1/models/100/file").await.error(),
        (404, "not_found".to_owned())
    );
    let sent = send(&server, 100, &bytes).await;
    assert_eq!(
        (sent.status, &sent.json()["state"]),
        (200, &json!("ready")),
        "{sent:?}"
    );
    let again = send(&server, 100, &bytes).await;
    assert_eq!(again.status, 200, "sending it twice is sending it once");
    let file = server.get("/api/v1/models/100/file").await;
    assert!(file.bytes == bytes);
    assert_eq!(file.header("content-disposition"), "attachment");
    let card = server.get("/api/v1/models/100").await.json();
    assert_eq!(card["file"], "modules/classifier/100.safetensors");
    assert_eq!(card["input"]["side"], 64);
    assert_eq!(actions(&server).await, ["model.create", "model.file"]);
}

/// As a program does that knows no home: it asks where the file goes, sends it there, and says so.
#[tokio::test]
async fn a_model_s_file_goes_where_the_server_says() {
    let server = Server::start().await;
    let bytes = model_file(1);
    server.post("/api/v1/models", &new_model(&bytes)).await;
    let nothing = json!({});
    let ask = || server.post("/api/v1/models/100/upload", &nothing);
    let complete = || server.post("/api/v1/models/100/complete", &nothing);
    assert_eq!(
        complete().await.error(),
        (409, "file_missing".to_owned()),
        "it was not sent"
    );
    let grant = ask().await.json();
    assert_eq!(grant["key"], "modules/classifier/100.safetensors");
    let sent = server.send_granted(&grant, &bytes).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    for _ in 0..2 {
        let answer = complete().await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("ready"))
        );
    }
    assert_eq!(ask().await.json()["status"], "stored");
    assert_eq!(actions(&server).await, ["model.create", "model.file"]);
}

/// A bucket takes whatever bytes were signed; what they are is looked at before anybody may use them.
#[tokio::test]
async fn a_file_that_a_bucket_took_is_looked_at_before_it_is_a_model() {
    let server = Server::start().await;
    for (bytes, status, state) in [
        (model_file(1), 200, "ready"),
        (vec![b'{'; 90], 422, "uploading"),
    ] {
        let card = server.post("/api/v1/models", &new_model(&bytes)).await;
        let card = card.json();
        let key = card["file"].as_str().unwrap();
        let put = cellmill_store::Put::Create;
        server.store.put_bytes(key, bytes, put).await.unwrap();
        let path = format!("/api/v1/models/{}", card["mid"]);
        let answer = server.post(&format!("{path}/complete"), &json!({})).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(server.get(&path).await.json()["state"], state);
    }
}

#[tokio::test]
async fn only_the_announced_bytes_become_a_model() {
    let server = Server::start().await;
    let bytes = model_file(1);
    server.post("/api/v1/models", &new_model(&bytes)).await;
    for (sent, status, code) in [
        (model_file(2), 422, "sha256_differs"),
        (bytes[..bytes.len() - 1].to_vec(), 400, "malformed"),
        ([&bytes[..], b"x"].concat(), 413, "too_large"),
        (vec![b'{'; bytes.len()], 422, "bad_model_file"),
    ] {
        let answer = send(&server, 100, &sent).await;
        assert_eq!(answer.error(), (status, code.to_owned()));
        let card = server.get("/api/v1/models/100").await.json();
        assert_eq!(card["state"], "uploading", "{code}");
    }
    let unknown = send(&server, 101, &bytes).await;
    assert_eq!(unknown.error(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_model_of_more_than_the_usual_body_is_taken() {
    let server = Server::start().await;
    let header = r#"{"w":{"dtype":"U8","shape":[3000000],"data_offsets":[0,3000000]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + 3_000_000, 9);
    server.post("/api/v1/models", &new_model(&bytes)).await;
    assert_eq!(send(&server, 100, &bytes).await.status, 200);
}

#[tokio::test]
async fn what_is_said_of_a_model_is_checked_and_every_problem_named() {
    let server = Server::start().await;
    let good = new_model(&model_file(1));
    for (change, n_problems) in [
        (json!({"bytes": 0}), 1),
        (json!({"bytes": (1_u64 << 30) + 1}), 1),
        (json!({"sha256": "x", "family": "vgg", "scale": "tiny"}), 3),
        (json!({"features": 0}), 1),
        (json!({"classes": [{"id": 1, "name": "a"}]}), 1),
        (
            json!({"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": ""}]}),
            2,
        ),
        (
            json!({"input": {"side": 8, "gray": true, "mean": [0, 0, 0], "std": [0, 1, 1]}}),
            2,
        ),
    ] {
        let mut new = good.clone();
        new.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = server.post("/api/v1/models", &new).await;
        assert_eq!(
            answer.error(),
            (422, "bad_parameter".to_owned()),
            "{change}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message.split("; ").count(), n_problems, "{message}");
    }
    assert_eq!(
        server.get("/api/v1/models").await.json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn models_are_listed_the_newest_first() {
    let server = Server::start().await;
    for value in 1..=3 {
        with_model(&server, value).await;
    }
    let page = server.get("/api/v1/models?limit=2").await.json();
    let shown: Vec<&Value> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["mid"])
        .collect();
    assert_eq!(shown, [&json!(102), &json!(101)]);
    assert_eq!(page["next"], "101");
    let rest = server.get("/api/v1/models?limit=2&after=101").await.json();
    assert_eq!(
        (&rest["items"][0]["mid"], &rest["next"]),
        (&json!(100), &json!(null))
    );
}

/// The way back is the same way.
#[tokio::test]
async fn a_promoted_model_replaces_another_and_can_be_replaced_by_it() {
    let server = Server::start().await;
    let settings = json!({"algorithm": 1101, "labels": ["negative", "positive"]});
    server.put("/api/v1/label-types/smears", &settings).await;
    let (first, second) = (with_model(&server, 1).await, with_model(&server, 2).await);
    let promote = async |mid: u64| {
        let answer = server
            .post(
                &format!("/api/v1/models/{mid}/promote"),
                &json!({"label_type": "smears"}),
            )
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let state = async |mid: u64| {
        let card = server.get(&format!("/api/v1/models/{mid}")).await.json();
        card["state"].clone()
    };
    let promoted = promote(first).await;
    assert_eq!(
        (&promoted["replaced"], &promoted["model"]["state"]),
        (&json!(null), &json!("adopted"))
    );
    assert_eq!(promoted["label_type"]["mid"], json!(first));
    assert_eq!(promoted["model"]["decided"]["by"], "local");
    assert_eq!(promote(second).await["replaced"], json!(first));
    assert_eq!(
        (state(first).await, state(second).await),
        (json!("ready"), json!("adopted"))
    );
    assert_eq!(promote(first).await["replaced"], json!(second), "undone");
    assert_eq!(promote(first).await["replaced"], json!(null), "a repeat");
    let shown = server.get("/api/v1/label-types/smears").await.json();
    assert_eq!(shown["mid"], json!(first));
    let promotions = actions(&server).await;
    let promotions = promotions.iter().filter(|it| *it == "model.promote");
    assert_eq!(promotions.count(), 3, "a repeat decides nothing");
}

#[tokio::test]
async fn a_model_that_cannot_answer_is_not_promoted() {
    let server = Server::start().await;
    let three = model_file(3);
    let mut new = new_model(&three);
    new["classes"] =
        json!([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]);
    server.post("/api/v1/models", &new).await;
    let two = json!({"algorithm": 1101, "labels": ["a", "b"]});
    server.put("/api/v1/label-types/two", &two).await;
    let promote = async |mid: u64, name: &str| {
        let path = format!("/api/v1/models/{mid}/promote");
        let answer = server.post(&path, &json!({"label_type": name})).await;
        answer.error()
    };
    let text = str::to_owned;
    assert_eq!(promote(100, "two").await, (409, text("model_uploading")));
    assert_eq!(send(&server, 100, &three).await.status, 200);
    assert_eq!(promote(100, "two").await, (422, text("classes_differ")));
    let of_blood = json!({"algorithm": 1100, "labels": ["RBC", "WBC", "Platelets"]});
    server.put("/api/v1/label-types/blood", &of_blood).await;
    assert_eq!(
        promote(100, "blood").await,
        (422, text("classes_differ")),
        "it knows none of them"
    );
    let some = json!({"algorithm": 1100, "labels": ["C", "d"]});
    server.put("/api/v1/label-types/some", &some).await;
    let path = "/api/v1/models/100/promote";
    let promoted = server.post(path, &json!({"label_type": "some"})).await;
    assert_eq!(promoted.status, 200, "it knows one: {promoted:?}");
    assert_eq!(
        promote(100, "none").await,
        (422, text("unknown_label_type"))
    );
    assert_eq!(promote(7, "two").await, (404, text("not_found")));
    for mid in [7, 100] {
        let with_mid = json!({"algorithm": 1101, "labels": ["a", "b"], "mid": mid});
        let answer = server.put("/api/v1/label-types/two", &with_mid).await;
        assert_eq!(answer.status, 422, "{answer:?}");
    }
}
