//! Large files in parts: cut off and resumed, sent twice, sent wrong, given up.

use std::time::Duration;

use cellmill_api::Settings;
use cellmill_core::ids::sha256_hex;
use cellmill_core::messages::UPLOADS;
use cellmill_store::Store;
use serde_json::{Value, json};

use crate::server::{Answer, Server, bmp, image, points};

const PART: usize = 1000;

fn settings() -> Settings {
    Settings {
        parts_above: PART as u64,
        part_bytes: PART as u64,
        ..Settings::default()
    }
}

/// A photograph of four parts, each different from the others.
fn photograph(shade: u8) -> Vec<u8> {
    let mut bytes = bmp(20, 56, shade);
    assert_eq!(bytes.len().div_ceil(PART), 4);
    for (part, number) in bytes.chunks_mut(PART).zip(1..) {
        part[100] = number;
    }
    bytes
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

impl Server {
    async fn of_parts() -> Self {
        Self::over(Store::memory(), settings()).await
    }

    /// Asks to send a large file; gives the upload's path.
    async fn begin(&self, file: &Value) -> String {
        let answer = self.grant(file).await;
        assert_eq!(answer["status"], "send_parts", "{answer}");
        assert_eq!(
            (&answer["url"], &answer["method"]),
            (&json!(null), &json!(null))
        );
        format!("/api/v1/uploads/{}", answer["upload"].as_str().unwrap())
    }

    async fn sign(&self, upload: &str, parts: &[(usize, &[u8])]) -> Answer {
        let parts: Vec<Value> = parts
            .iter()
            .map(|(number, bytes)| json!({"number": number, "sha256": sha256_hex(bytes)}))
            .collect();
        let body = json!({ "parts": parts });
        self.post(&format!("{upload}/parts"), &body).await
    }

    async fn put_part(&self, signed: &Value, bytes: &[u8]) -> Answer {
        let url = signed["url"].as_str().unwrap();
        self.send(self.request("PUT", url).body(bytes.to_vec()))
            .await
    }

    /// Signs a part and sends it as signed.
    async fn send_part(&self, upload: &str, number: usize, bytes: &[u8]) -> Answer {
        let signed = self.sign(upload, &[(number, bytes)]).await;
        assert_eq!(signed.status, 200, "{signed:?}");
        self.put_part(&signed.json()["parts"][0], bytes).await
    }

    async fn send_all(&self, upload: &str, bytes: &[u8]) {
        for (part, number) in bytes.chunks(PART).zip(1..) {
            let sent = self.send_part(upload, number, part).await;
            assert_eq!(sent.status, 201, "{sent:?}");
        }
    }

    async fn complete(&self, upload: &str) -> Answer {
        self.post(&format!("{upload}/complete"), &json!({})).await
    }

    async fn numbers_there(&self, upload: &str) -> Vec<u64> {
        let view = self.get(upload).await.json();
        let parts = view["parts"].as_array().unwrap();
        parts
            .iter()
            .map(|it| it["number"].as_u64().unwrap())
            .collect()
    }
}

/// The server is killed between the parts: the folder is all that is left.
#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = photograph(7);
    let file = image("large.bmp", &bytes);
    let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
    let store = Store::open_folder(folder.path()).await.unwrap();
    let server = Server::over(store, settings()).await;
    let upload = server.begin(&file).await;
    for number in [4, 2] {
        let sent = server.send_part(&upload, number, parts[number - 1]).await;
        assert_eq!(sent.status, 201, "{sent:?}");
    }
    drop(server);

    let store = Store::open_folder(folder.path()).await.unwrap();
    let server = Server::over(store, settings()).await;
    assert_eq!(server.begin(&file).await, upload, "the same session");
    let view = server.get(&upload).await.json();
    assert_eq!(
        (&view["state"], &view["n_parts"], &view["part_bytes"]),
        (&json!("open"), &json!(4), &json!(PART))
    );
    assert_eq!(
        view["parts"][0],
        json!({"number": 2, "bytes": PART, "sha256": sha256_hex(parts[1])})
    );
    let early = server.complete(&upload).await;
    assert_eq!(early.error(), refused(409, "parts_missing"));
    let key = view["key"].as_str().unwrap();
    assert_eq!(server.store.head(key).await.unwrap(), None);
    assert_eq!(server.numbers_there(&upload).await, [2, 4], "at no cost");
    for number in [1, 3] {
        server.send_part(&upload, number, parts[number - 1]).await;
    }
    let stored = server.complete(&upload).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    assert_eq!(
        stored.json(),
        json!({"key": key, "bytes": bytes.len(), "sha256": sha256_hex(&bytes)})
    );
    assert!(server.store.get_bytes(key).await.unwrap() == bytes);
    assert_eq!(server.n_waiting(UPLOADS).await, 1, "the function is told");
    server.work().await;
    assert_eq!(server.grant(&file).await["status"], "stored");
    let status = server.post("/api/v1/status", &json!({"keys": [key]})).await;
    assert_eq!(status.json()["items"][0]["state"], "ok");
    assert_eq!(server.get(&upload).await.json()["state"], "complete");
}

#[tokio::test]
async fn only_large_images_come_in_parts() {
    let server = Server::of_parts().await;
    let small = vec![7; PART];
    assert_eq!(
        server.grant(&image("a.bmp", &small)).await["status"],
        "send"
    );
    let csv = vec![b'1'; PART + 1];
    assert_eq!(server.grant(&points("a.csv", &csv)).await["status"], "send");
    let large = vec![7; PART + 1];
    server.begin(&image("b.bmp", &large)).await;
}

#[tokio::test]
async fn a_completion_that_is_repeated_is_the_same_completion() {
    let server = Server::of_parts().await;
    let bytes = photograph(7);
    let upload = server.begin(&image("a.bmp", &bytes)).await;
    server.send_all(&upload, &bytes).await;
    let first = server.complete(&upload).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = server.complete(&upload).await;
    assert_eq!((again.status, again.json()), (200, first.json()));
    let late = server.sign(&upload, &[(1, &bytes[..PART])]).await;
    assert_eq!(late.error(), refused(409, "upload_complete"));
}

#[tokio::test]
async fn a_part_is_taken_as_it_was_signed_or_not_at_all() {
    let server = Server::of_parts().await;
    let bytes = photograph(7);
    let upload = server.begin(&image("a.bmp", &bytes)).await;
    let first = &bytes[..PART];
    let signed = server.sign(&upload, &[(1, first)]).await.json()["parts"][0].clone();
    assert_eq!(
        (&signed["number"], &signed["method"]),
        (&json!(1), &json!("PUT"))
    );
    assert_eq!(signed["headers"]["content-length"], PART.to_string());
    let other = server.put_part(&signed, &bytes[PART..2 * PART]).await;
    assert_eq!(other.error(), refused(422, "sha256_differs"));
    let short = server.put_part(&signed, &first[1..]).await;
    assert_eq!(short.error(), refused(400, "malformed"));
    let long = server.put_part(&signed, &bytes[..=PART]).await;
    assert_eq!(long.error(), refused(413, "too_large"));
    let url = signed["url"].as_str().unwrap();
    let as_whole = json!({"url": url.replace("/parts/", "/"), "headers": {}});
    let whole = server.put_part(&as_whole, first).await;
    assert_eq!(whole.error(), refused(403, "bad_token"));
    let cut = json!({"url": &url[..url.len() - 4]});
    let cut = server.put_part(&cut, first).await;
    assert_eq!(cut.error(), refused(403, "bad_token"));
    assert!(server.numbers_there(&upload).await.is_empty());

    // Sent twice is sent once.
    for _ in 0..2 {
        let sent = server.put_part(&signed, first).await;
        assert_eq!(sent.status, 201, "{sent:?}");
        assert_eq!(sent.json()["sha256"], sha256_hex(first));
    }
    assert_eq!(server.numbers_there(&upload).await, [1]);
    for number in [0, 5] {
        let none = server.sign(&upload, &[(number, first)]).await;
        assert_eq!(none.error(), refused(400, "malformed"));
    }
    for parts in [vec![], vec![(1, first), (1, first)]] {
        let answer = server.sign(&upload, &parts).await;
        assert_eq!(answer.error(), refused(400, "malformed"));
    }
}

#[tokio::test]
async fn a_part_expires() {
    let settings = Settings {
        upload_ttl: Duration::ZERO,
        ..settings()
    };
    let server = Server::over(Store::memory(), settings).await;
    let bytes = photograph(7);
    let upload = server.begin(&image("a.bmp", &bytes)).await;
    let late = server.send_part(&upload, 1, &bytes[..PART]).await;
    assert_eq!(late.error(), refused(403, "expired"));
}

/// The file changed while it was sent: each part is right, and the whole is another file.
#[tokio::test]
async fn a_file_that_changed_is_not_stored_and_is_sent_anew() {
    let server = Server::of_parts().await;
    let (bytes, changed) = (photograph(7), photograph(8));
    let upload = server.begin(&image("a.bmp", &bytes)).await;
    server.send_all(&upload, &bytes).await;
    server
        .send_part(&upload, 3, &changed[2 * PART..3 * PART])
        .await;
    let refusal = server.complete(&upload).await;
    assert_eq!(refusal.error(), refused(422, "sha256_differs"));
    let key = "img/b1/c1/Images/a.bmp";
    assert_eq!(server.store.head(key).await.unwrap(), None);
    assert_eq!(server.n_waiting(UPLOADS).await, 0);
    assert!(server.numbers_there(&upload).await.is_empty());
    server.send_all(&upload, &bytes).await;
    assert_eq!(server.complete(&upload).await.status, 201);
}

#[tokio::test]
async fn two_who_send_the_same_file_share_the_work() {
    let server = Server::of_parts().await;
    let bytes = photograph(7);
    let file = image("a.bmp", &bytes);
    let (one, two) = tokio::join!(server.begin(&file), server.begin(&file));
    assert_eq!(one, two);
    tokio::join!(server.send_all(&one, &bytes), server.send_all(&two, &bytes));
    let (one, two) = tokio::join!(server.complete(&one), server.complete(&two));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(
        [[200, 200], [200, 201]].contains(&statuses),
        "{one:?} {two:?}"
    );
    assert_eq!(one.json(), two.json());
}

#[tokio::test]
async fn an_image_that_came_meanwhile_stays() {
    let server = Server::of_parts().await;
    let (late, early) = (photograph(7), photograph(8));
    let upload = server.begin(&image("a.bmp", &late)).await;
    server.send_all(&upload, &late).await;
    let other = server.begin(&image("a.bmp", &early)).await;
    assert_ne!(other, upload, "another file is another upload");
    server.send_all(&other, &early).await;
    assert_eq!(server.complete(&other).await.status, 201);
    let refusal = server.complete(&upload).await;
    assert_eq!(refusal.error(), refused(409, "conflict"));
    let key = "img/b1/c1/Images/a.bmp";
    assert!(server.store.get_bytes(key).await.unwrap() == early);
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_gone_with_its_parts() {
    let server = Server::of_parts().await;
    let bytes = photograph(7);
    let file = image("a.bmp", &bytes);
    let upload = server.begin(&file).await;
    let signed = server.sign(&upload, &[(1, &bytes[..PART])]).await.json()["parts"][0].clone();
    server.send_part(&upload, 2, &bytes[PART..2 * PART]).await;
    for _ in 0..2 {
        let gone = server.send(server.request("DELETE", &upload)).await;
        assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    }
    assert_eq!(server.get(&upload).await.error(), refused(404, "not_found"));
    let late = server.put_part(&signed, &bytes[..PART]).await;
    assert_eq!(late.error(), refused(404, "not_found"));
    let complete = server.complete(&upload).await;
    assert_eq!(complete.error(), refused(404, "not_found"));
    assert_eq!(server.begin(&file).await, upload);
    assert!(server.numbers_there(&upload).await.is_empty());
    let strange = server.get("/api/v1/uploads/x").await;
    assert_eq!(strange.error(), refused(400, "malformed"));
}
