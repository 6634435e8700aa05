//! What every request meets: errors as JSON, fixed headers, limits, and no word of our insides.

use cellmill_core::keys::{ImageKey, ObjectKey};
use cellmill_store::Put;
use serde_json::json;

use crate::server::{Server, escaped};

#[tokio::test]
async fn every_answer_has_an_id_and_forbids_sniffing() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for path in [
        "/health",
        "/openapi.json",
        "/api/v1/images",
        "/nowhere",
        "/api/v1/image?key=x",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        ids.push(answer.header("x-request-id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|it| it.len() == 26));
}

#[tokio::test]
async fn unknown_paths_methods_and_things_are_errors_in_json() {
    let server = Server::start().await;
    let not_found = (404, "not_found".to_owned());
    let image = escaped("img/b/c/Images/a.jpg");
    for path in [
        "/",
        "/nowhere",
        "/api/v1",
        "/api/v1/datasets/DkxD9Kjl",
        "/api/v1/datasets/DkxD9Kjl/files",
        "/api/v1/datasets/DkxD9Kjl/files/data.json",
        "/api/v1/jobs/data/DkxD9Kjl",
        "/api/v1/jobs/data/DkxD9Kjl/log",
        "/api/v1/jobs/data/DkxD9Kjl/units",
        "/api/v1/batches/b/cases",
        "/api/v1/classes/none",
        "/api/v1/label-types/none",
        "/api/v1/models/100",
        "/api/v1/models/100/file",
        "/api/v1/projects/DkxD9Kjl",
        &format!("/api/v1/image?key={image}"),
        &format!("/api/v1/image/bytes?key={image}"),
        &format!("/api/v1/image/thumbnail?key={image}"),
        &format!("/api/v1/image/label?key={image}"),
    ] {
        assert_eq!(server.get(path).await.error(), not_found, "{path}");
    }
    for action in ["cancel", "stop", "raise", "retry"] {
        let answer = server
            .post(&format!("/api/v1/jobs/data/DkxD9Kjl/{action}"), &json!({}))
            .await;
        assert_eq!(answer.error(), not_found, "{action}");
    }
    let wrong_method = server
        .send(server.request("DELETE", "/api/v1/images"))
        .await;
    assert_eq!(wrong_method.error(), (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_reason() {
    let server = Server::start().await;
    let malformed = (400, "malformed".to_owned());
    for path in [
        "/api/v1/images?limit=0",
        "/api/v1/images?limit=1001",
        "/api/v1/images?limit=many",
        "/api/v1/images?state=lost",
        "/api/v1/images?root=moon",
        "/api/v1/images?after=x",
        "/api/v1/images?case=c",
        "/api/v1/images?batch=a%2Fb",
        "/api/v1/image",
        "/api/v1/jobs?after=x",
        "/api/v1/jobs/bake/DkxD9Kjl",
        "/api/v1/jobs/data/D-x",
        "/api/v1/datasets/D.x",
        "/api/v1/datasets?after=x",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.error(), malformed, "{path}");
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    let raw = |body: &'static str, content_type: &str| {
        let request = server.request("POST", "/api/v1/status").body(body);
        server.send(request.header("content-type", content_type))
    };
    for body in [
        "{",
        "[]",
        r#"{"keys": 3}"#,
        r#"{"keys": ["a"], "more": 1}"#,
        r#"{"keys": []}"#,
    ] {
        assert_eq!(
            raw(body, "application/json").await.error(),
            malformed,
            "{body}"
        );
    }
    let no_json = raw(r#"{"keys": []}"#, "text/plain").await;
    assert_eq!(no_json.error(), (415, "wrong_type".to_owned()));
    let keys = json!({"keys": ["img/a/b/Images/c.jpg", "datasets/x/data.json"]});
    assert_eq!(
        server.post("/api/v1/status", &keys).await.error(),
        malformed
    );
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let head = |length: &str| {
        format!(
            "POST /api/v1/status HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
        )
    };
    assert_eq!(server.raw(&head("content-length: 1048577")).await, 413);
    let long = json!({ "keys": ["x".repeat(1 << 20)] });
    let request = server
        .request("POST", "/api/v1/status")
        .header("content-type", "application/json");
    let streamed = reqwest::Body::wrap_stream(futures_of(long.to_string()));
    let answer = server.send(request.body(streamed)).await;
    assert_eq!(
        answer.error(),
        (413, "too_large".to_owned()),
        "also without a length"
    );
}

fn futures_of(text: String) -> impl futures::Stream<Item = Result<String, std::io::Error>> {
    futures::stream::iter([Ok(text)])
}

/// A page of another site that a browser shows may send requests here, but not change anything.
#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let server = Server::start().await;
    let with_origin = |origin: &str| {
        let request = server
            .request("POST", "/api/v1/batches")
            .header("origin", origin);
        server.send(request)
    };
    for origin in ["https://evil.example", "null"] {
        assert_eq!(
            with_origin(origin).await.error(),
            (403, "cross_origin".to_owned()),
            "{origin}"
        );
    }
    assert_eq!(with_origin(&server.base.clone()).await.status, 201);
}

/// A name that somebody lets lead to this machine would make a foreign page one of ours.
#[tokio::test]
async fn a_foreign_name_of_this_machine_is_not_answered() {
    let server = Server::start().await;
    let asked = |host: &str| {
        let request = server.request("GET", "/health").header("host", host);
        server.send(request)
    };
    for host in ["evil.example", "evil.example:8750"] {
        let answer = asked(host).await;
        assert_eq!(answer.error(), (403, "unknown_host".to_owned()), "{host}");
    }
    for host in ["localhost:8750", "[::1]:8750", "10.0.0.7"] {
        assert_eq!(asked(host).await.status, 200, "{host}");
    }
}

/// The chain names files and parsers; it is for the log.
#[tokio::test]
async fn a_fault_of_ours_says_nothing_of_our_insides() {
    let server = Server::start().await;
    let key: ImageKey = "img/b/c/Images/a.jpg".parse().unwrap();
    let record = ObjectKey::ImageRecord(key.clone());
    server
        .store
        .put_bytes(&record, &b"{ no document"[..], Put::Create)
        .await
        .unwrap();
    let answer = server
        .get(&format!("/api/v1/image?key={}", escaped(&key.to_path())))
        .await;
    assert_eq!(answer.error(), (500, "internal".to_owned()));
    let id = answer.header("x-request-id").to_owned();
    let expected = json!({
        "code": "internal",
        "message": "an internal error",
        "hint": format!("the log has more under `{id}`"),
    });
    assert_eq!(answer.json(), expected);
    let listed = server.get("/api/v1/images").await;
    assert_eq!(listed.status, 200, "one bad document hides no list");
}
