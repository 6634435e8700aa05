//! Signed uploads: exactly the granted bytes, once, in time.

use std::time::Duration;

use cellmill_api::Settings;
use cellmill_core::messages::{POINTS, UPLOADS};
use cellmill_store::Store;
use serde_json::{Value, json};

use crate::server::{Server, bmp, escaped, file, image, points};

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_granted_upload_is_stored_and_known_from_then_on() {
    let server = Server::start().await;
    let bytes = bmp(20, 10, 7);
    let grant = server.grant(&image("a.bmp", &bytes)).await;
    assert_eq!(grant["key"], "img/b1/c1/Images/a.bmp");
    assert_eq!(grant["method"], "PUT");
    let stored = server.send_granted(&grant, &bytes).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    assert_eq!(stored.json()["bytes"], bytes.len());
    assert_eq!(server.n_waiting(UPLOADS).await, 1, "the function is told");
    let again = server.grant(&image("a.bmp", &bytes)).await;
    assert_eq!(
        again["status"], "stored",
        "known by its bytes before it is recorded"
    );
    server.work().await;
    assert_eq!(
        server.grant(&image("a.bmp", &bytes)).await["status"],
        "stored"
    );
    let status = server
        .post("/api/v1/status", &json!({"keys": [grant["key"]]}))
        .await
        .json();
    assert_eq!(status["items"][0]["state"], "ok");
}

#[tokio::test]
async fn a_repeated_put_is_the_same_put() {
    let server = Server::start().await;
    let bytes = bmp(20, 10, 7);
    let grant = server.grant(&image("a.bmp", &bytes)).await;
    assert_eq!(server.send_granted(&grant, &bytes).await.status, 201);
    let replayed = server.send_granted(&grant, &bytes).await;
    assert_eq!(replayed.status, 200, "{replayed:?}");
    assert_eq!(replayed.json()["key"], grant["key"]);
}

#[tokio::test]
async fn other_bytes_than_granted_are_refused_and_leave_nothing() {
    let server = Server::start().await;
    let bytes = bmp(20, 10, 7);
    let grant = server.grant(&image("a.bmp", &bytes)).await;
    let shorter = server.send_granted(&grant, &bytes[1..]).await;
    assert_eq!(shorter.error(), refused(400, "malformed"));
    let other = server.send_granted(&grant, &bmp(20, 10, 8)).await;
    assert_eq!(other.error(), refused(422, "sha256_differs"));
    let url = grant["url"].as_str().unwrap();
    let wrong_type = server
        .request("PUT", url)
        .header("content-type", "image/png")
        .body(bytes.clone());
    assert_eq!(
        server.send(wrong_type).await.error(),
        refused(415, "wrong_type")
    );
    let key = grant["key"].as_str().unwrap();
    assert_eq!(server.store.head(key).await.unwrap(), None);
    assert_eq!(server.n_waiting(UPLOADS).await, 0);
    assert_eq!(
        server.send_granted(&grant, &bytes).await.status,
        201,
        "the grant is still good"
    );
}

/// The answer comes while the sender has sent no byte of the body.
#[tokio::test]
async fn a_wrong_size_is_refused_before_the_body_is_read() {
    let server = Server::start().await;
    let grant = server.grant(&image("a.bmp", b"123")).await;
    let put = |length: &str| {
        let url = grant["url"].as_str().unwrap();
        format!(
            "PUT {url} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n{length}\r\n\r\n"
        )
    };
    assert_eq!(server.raw(&put("content-length: 4")).await, 413);
    assert_eq!(server.raw(&put("content-length: 99999999999")).await, 413);
    assert_eq!(server.raw(&put("content-length: 2")).await, 400);
    assert_eq!(server.raw(&put("transfer-encoding: chunked")).await, 400);
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_and_only_as_it_was_signed() {
    let settings = Settings {
        upload_ttl: Duration::ZERO,
        ..Settings::default()
    };
    let server = Server::over(Store::memory(), settings).await;
    let bytes = bmp(20, 10, 7);
    let grant = server.grant(&image("a.bmp", &bytes)).await;
    assert_eq!(
        server.send_granted(&grant, &bytes).await.error(),
        refused(403, "expired")
    );

    let server = Server::start().await;
    let good = server.grant(&image("a.bmp", &bytes)).await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut tampered = good.clone().into_bytes();
    let at = "/uploads/".len() + 10;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let cut = &good[..good.len() - 4];
    for url in [&tampered, cut, "/uploads/x", "/uploads/e30.e30"] {
        let put = server
            .request("PUT", url)
            .header("content-type", "application/octet-stream");
        let answer = server.send(put.body(bytes.clone())).await;
        assert_eq!(answer.error(), refused(403, "bad_token"), "{url}");
    }
}

#[tokio::test]
async fn an_image_is_never_overwritten() {
    let server = Server::start().await;
    let (first, second) = (bmp(20, 10, 7), bmp(20, 10, 8));
    let early = server.grant(&image("a.bmp", &second)).await;
    server.upload(&image("a.bmp", &first), &first).await;
    assert_eq!(
        server.send_granted(&early, &second).await.error(),
        refused(409, "conflict")
    );
    for other in [&second, &bmp(21, 10, 7)] {
        let answer = server.grant(&image("a.bmp", other)).await;
        assert_eq!(answer["status"], "conflict", "{answer}");
    }
    let key = early["key"].as_str().unwrap();
    assert!(server.store.get_bytes(key).await.unwrap() == first);
}

/// A rejection is bound to the bytes: new bytes are a new chance.
#[tokio::test]
async fn a_rejected_image_may_be_sent_again_with_other_bytes() {
    let server = Server::start().await;
    let key = server
        .upload(&image("a.bmp", b"no image"), b"no image")
        .await;
    let ask = json!({ "keys": [key] });
    let status = server.post("/api/v1/status", &ask).await.json();
    assert_eq!(status["items"][0]["state"], "rejected", "{status}");
    assert!(status["items"][0]["reason"].is_string());
    assert_eq!(
        server.grant(&image("a.bmp", b"no image")).await["status"],
        "stored"
    );
    let good = bmp(20, 10, 7);
    let grant = server.grant(&image("a.bmp", &good)).await;
    assert_eq!(server.send_granted(&grant, &good).await.status, 201);
    let between = server.post("/api/v1/status", &ask).await.json();
    assert_eq!(
        between["items"][0]["state"], "unknown",
        "nothing was decided about these bytes"
    );
    server.work().await;
    let status = server.post("/api/v1/status", &ask).await.json();
    assert_eq!(status["items"][0]["state"], "ok", "{status}");
}

#[tokio::test]
async fn points_are_replaced_and_known_by_their_bytes() {
    let server = Server::start().await;
    let (first, second) = (b"X,Y,Type\n5,5,1\n", b"X,Y,Type\n5,5,2\n");
    let key = server.upload(&points("a.csv", first), first).await;
    assert_eq!(key, "csv/b1/2019-7-22/c1/a.csv");
    let ask = json!({ "keys": [key] });
    let status = server.post("/api/v1/status", &ask).await.json();
    assert_eq!(
        status["items"][0]["state"], "waiting",
        "its image is not here"
    );
    assert_eq!(
        server.grant(&points("a.csv", first)).await["status"],
        "stored"
    );
    let grant = server.grant(&points("a.csv", second)).await;
    assert_eq!(
        (&grant["status"], &grant["replaces"]),
        (&json!("send"), &json!(true)),
        "the sender is told"
    );
    server.upload(&points("a.csv", second), second).await;
    assert_eq!(
        server.grant(&points("a.csv", second)).await["status"],
        "stored"
    );
    assert_eq!(
        server.grant(&points("a.csv", first)).await["status"],
        "send"
    );
    let bytes = bmp(20, 10, 7);
    server.upload(&image("a.bmp", &bytes), &bytes).await;
    let status = server.post("/api/v1/status", &ask).await.json();
    assert_eq!(status["items"][0]["state"], "applied", "{status}");
    let listed = server.get("/api/v1/points?batch=b1&case=c1").await.json();
    assert_eq!(
        listed["items"][0]["images"],
        json!(["img/b1/c1/Images/a.bmp"])
    );
    assert_eq!(
        server.get("/api/v1/points?state=waiting").await.json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_label_type_is_chosen_at_upload_and_kept() {
    let server = Server::start().await;
    let bytes = bmp(20, 10, 7);
    let mut wanted = image("a.bmp", &bytes);
    wanted["label_type"] = json!("cats");
    let unknown = server.grant(&wanted).await;
    assert_eq!(
        (&unknown["status"], &unknown["code"]),
        (&json!("refused"), &json!("unknown_label_type"))
    );
    let settings = json!({"algorithm": 1001, "labels": ["cat", "dog"]});
    let defined = server
        .put("/api/v1/label-types/cats", &settings)
        .await
        .json();
    assert_eq!(
        defined["algorithm"], 1101,
        "an old number becomes the one of today"
    );
    let grant = server.grant(&wanted).await;
    let status = server
        .post("/api/v1/status", &json!({"keys": [grant["key"]]}))
        .await
        .json();
    assert_eq!(status["items"][0]["state"], "expected");
    server.upload(&wanted, &bytes).await;
    let image = server.get("/api/v1/images?batch=b1").await.json()["items"][0].clone();
    assert_eq!(
        (&image["label_type"], &image["state"]),
        (&json!("cats"), &json!("ok"))
    );
}

#[tokio::test]
async fn the_part_of_a_fixed_split_is_said_at_upload_and_kept() {
    let server = Server::start().await;
    for (at, (said, kept)) in [("train", "train"), ("val", "validation"), ("test", "test")]
        .into_iter()
        .enumerate()
    {
        let bytes = bmp(20, 10, at as u8);
        let mut wanted = image(&format!("{said}.bmp"), &bytes);
        wanted["part"] = json!(said);
        let key = escaped(&server.upload(&wanted, &bytes).await);
        let view = server.get(&format!("/api/v1/image?key={key}")).await.json();
        assert_eq!(
            (&view["part"], &view["state"]),
            (&json!(kept), &json!("ok"))
        );
    }
    let mut other = image("x.bmp", b"x");
    other["part"] = json!("rest");
    let answer = server
        .post("/api/v1/uploads", &json!({ "files": [other] }))
        .await;
    assert_eq!(answer.error(), refused(400, "malformed"));
}

#[tokio::test]
async fn each_file_of_a_request_gets_its_own_answer_in_order() {
    let server = Server::start().await;
    let good = image("a.bmp", b"123");
    let mut too_large = image("b.bmp", b"123");
    too_large["bytes"] = json!(300 << 20);
    let bad_name = image("../c.bmp", b"123");
    let no_date = file("hospital", "points", "b1", "c1", "a.csv", b"123");
    let body = json!({"files": [good, too_large, bad_name, no_date]});
    let answers = server.post("/api/v1/uploads", &body).await.json();
    let shown: Vec<(&Value, &Value)> = answers["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["status"], &it["code"]))
        .collect();
    let expected = [
        (json!("send"), json!(null)),
        (json!("refused"), json!("too_large")),
        (json!("refused"), json!("bad_name")),
        (json!("refused"), json!("bad_date")),
    ];
    assert_eq!(
        shown,
        expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>()
    );
    for n_files in [0, 1001] {
        let body = json!({ "files": vec![image("a.bmp", b"123"); n_files] });
        assert_eq!(
            server.post("/api/v1/uploads", &body).await.error(),
            refused(400, "malformed")
        );
    }
}

/// A table that knows the class comes after the CSV: the CSV is read again, and only then.
#[tokio::test]
async fn a_new_class_table_sends_the_csvs_that_did_not_know_a_class() {
    let server = Server::start().await;
    let csv = b"X,Y,Type\n5,5,1\n6,6,301\n";
    server.upload(&points("a.csv", csv), csv).await;
    let known = b"X,Y,Type\n5,5,1\n";
    server.upload(&points("b.csv", known), known).await;
    let table = json!({"ids": {"RBC": 301}});
    assert_eq!(server.put("/api/v1/classes/lab", &table).await.status, 200);
    assert_eq!(server.n_waiting(POINTS).await, 1);
}
