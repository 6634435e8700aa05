//! Weights from elsewhere: sent once, kept under their hash, named by trainings.

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::ObjectKey;
use serde_json::{Value, json};

use crate::projects::{ask, train, with_dataset};
use crate::server::{Answer, Server};

const BYTES: &[u8] = b"what another program learnt";

fn new_weights() -> Value {
    json!({"sha256": sha256_hex(BYTES), "bytes": BYTES.len(), "ending": "safetensors"})
}

fn key() -> String {
    format!("modules/weights/{}.safetensors", sha256_hex(BYTES))
}

async fn ask_to_send(server: &Server, new: &Value) -> Answer {
    server.post("/api/v1/weights", new).await
}

async fn put(server: &Server, file: &str, bytes: &[u8]) -> Answer {
    let path = format!("/api/v1/weights/{file}");
    server
        .send(server.request("PUT", &path).body(bytes.to_vec()))
        .await
}

async fn stored(server: &Server) -> Option<Vec<u8>> {
    let key = ObjectKey::parse(&key()).unwrap().unwrap();
    let bytes = server.store.get_bytes(&key).await.ok()?;
    Some(bytes.to_vec())
}

#[tokio::test]
async fn weights_are_sent_once() {
    let server = Server::start().await;
    let grant = ask_to_send(&server, &new_weights()).await.json();
    assert_eq!(grant["key"], key());
    let sent = server.send_granted(&grant, BYTES).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(sent.json()["key"], key());
    assert_eq!(stored(&server).await.as_deref(), Some(BYTES));

    let again = ask_to_send(&server, &new_weights()).await.json();
    assert_eq!(again["status"], "stored", "{again}");
    let name = key().replace("modules/weights/", "");
    let again = put(&server, &name, BYTES).await;
    assert_eq!(again.status, 200, "sending it twice is sending it once");
}

#[tokio::test]
async fn bytes_of_another_hash_are_not_kept() {
    let server = Server::start().await;
    let name = key().replace("modules/weights/", "");
    let mut others = BYTES.to_vec();
    others[0] ^= 1;
    for bytes in [&others[..], &BYTES[1..]] {
        let sent = put(&server, &name, bytes).await;
        assert_eq!(sent.error(), (422, "sha256_differs".to_owned()));
        assert_eq!(stored(&server).await, None);
    }
}

#[tokio::test]
async fn what_is_no_file_of_weights_is_refused() {
    let server = Server::start().await;
    for (change, status, code) in [
        (json!({"ending": "exe"}), 422, "bad_parameter"),
        (json!({"sha256": "../../etc/passwd"}), 422, "bad_parameter"),
        (json!({"bytes": 0}), 422, "bad_parameter"),
        (json!({"bytes": (1_u64 << 30) + 1}), 413, "too_large"),
    ] {
        let mut new = new_weights();
        new.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = ask_to_send(&server, &new).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{change}");
    }
    for name in ["x.pth", "..%2F..%2Fsecret.pth"] {
        let sent = put(&server, name, BYTES).await;
        assert_eq!(sent.error(), (404, "not_found".to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_training_begins_with_weights_that_are_there() {
    let server = with_dataset(&[(1, 20), (2, 7)]).await;
    let change = json!({"network": {"weights": key()}});
    let refused = ask(&server, train(), &change).await;
    assert_eq!(refused.error(), (422, "unknown_weights".to_owned()));

    let grant = ask_to_send(&server, &new_weights()).await.json();
    server.send_granted(&grant, BYTES).await;
    let accepted = ask(&server, train(), &change).await;
    assert_eq!(accepted.status, 201, "{accepted:?}");
}
