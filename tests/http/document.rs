//! The `OpenAPI` document: sound in itself, and true of the running api.

use std::collections::BTreeSet;

use cellmill_core::ids::{Dir, sha256_hex};
use serde_json::{Value, json};

use crate::models::{model_file, new_model, with_model};
use crate::server::{Server, bmp, escaped, image, points};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

async fn document() -> (Server, Value) {
    let server = Server::start().await;
    let answer = server.get("/openapi.json").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    let document = answer.json();
    (server, document)
}

/// Every operation as (path, method, what the document says of it).
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            all.push((path.as_str(), method.as_str(), operation));
        }
    }
    all
}

fn names_in_braces(path: &str) -> BTreeSet<&str> {
    path.split('/')
        .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}

#[tokio::test]
async fn the_document_keeps_the_rules_of_openapi_3_1() {
    let (_, document) = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Cellmill");
    assert!(document["info"]["version"].is_string());
    let tags: Vec<&Value> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(path.starts_with('/') && !path.contains('*'), "{at}");
        assert!(
            ids.insert(operation["operationId"].as_str().expect("an id")),
            "{at}: the id is not unique"
        );
        assert!(
            operation["tags"]
                .as_array()
                .unwrap()
                .iter()
                .all(|it| tags.contains(&it)),
            "{at}"
        );
        assert!(operation["summary"].is_string(), "{at} says what it does");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|it| it.starts_with('2')), "{at}");
        for response in responses.values() {
            assert!(response["description"].is_string(), "{at}");
        }
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut in_path = BTreeSet::new();
        for parameter in &parameters {
            let (name, place) = (
                parameter["name"].as_str().unwrap(),
                parameter["in"].as_str().unwrap(),
            );
            assert!(["path", "query"].contains(&place), "{at} {name}");
            assert!(seen.insert((name, place)), "{at} {name} twice");
            assert!(parameter["schema"].is_object(), "{at} {name}");
            if place == "path" {
                assert_eq!(parameter["required"], true, "{at} {name}");
                in_path.insert(name);
            }
        }
        assert_eq!(in_path, names_in_braces(path), "{at}");
    }
    check_references(&document, &document);
}

/// Every `$ref` leads somewhere.
fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                assert!(
                    document.pointer(pointer).is_some(),
                    "{reference} leads nowhere"
                );
            }
            fields
                .values()
                .for_each(|it| check_references(it, document));
        }
        Value::Array(items) => items.iter().for_each(|it| check_references(it, document)),
        _ => {}
    }
}

/// What the parameters and bodies of the document stand for in a server that has one of everything.
struct Sample {
    image: String,
    upload: String,
    /// An upload in parts, and the token of its last part, [`LAST_PART`].
    parts: String,
    part: String,
    mid: u64,
}

const LAST_PART: &[u8] = b"abc";

/// What lies under the name that is its hash.
const WEIGHTS: &[u8] = b"weights of another program";

impl Sample {
    async fn make(server: &Server) -> Self {
        let classes = server
            .put("/api/v1/classes/lab", &json!({"ids": {"RBC": 301}}))
            .await;
        assert_eq!(classes.status, 200, "{classes:?}");
        let label_type = server
            .put("/api/v1/label-types/cells", &json!({"algorithm": 1100}))
            .await;
        assert_eq!(label_type.status, 200, "{label_type:?}");
        let bytes = bmp(120, 110, 9);
        let image = server.upload(&image("a.bmp", &bytes), &bytes).await;
        let csv = b"X,Y,Type\n50,50,301\n";
        server.upload(&points("a.csv", csv), csv).await;
        let new = json!({"batches": ["b1"], "dir": "DkxD9Kjl"});
        let dataset = server.post("/api/v1/datasets", &new).await;
        assert_eq!(dataset.status, 201, "{dataset:?}");
        assert!(Dir::parse("DkxD9Kjl").is_ok());
        let new =
            json!({"kind": "train", "dataset": "DkxD9Kjl", "dir": "DkxD9Kjl", "types": [1, 2]});
        let project = server.post("/api/v1/projects", &new).await;
        assert_eq!(project.status, 201, "{project:?}");
        let mid = with_model(server, 1).await;
        let other = server
            .grant(&crate::server::image("b.bmp", &bmp(9, 9, 1)))
            .await;
        let upload = other["url"]
            .as_str()
            .unwrap()
            .trim_start_matches("/uploads/")
            .to_owned();
        let (parts, part) = large(server).await;
        Self {
            image,
            upload,
            parts,
            part,
            mid,
        }
    }

    fn parameter(&self, path: &str, name: &str) -> Option<String> {
        Some(match name {
            "token" if path.contains("/parts/") => self.part.clone(),
            "token" => self.upload.clone(),
            "id" => self.parts.clone(),
            "key" | "subject" => escaped(&self.image),
            "batch" => "b1".to_owned(),
            "dir" => "DkxD9Kjl".to_owned(),
            "kind" if path.contains("{kind}") => "data".to_owned(),
            "path" if path.contains("projects") => "train.json".to_owned(),
            "path" => "data.json".to_owned(),
            "mid" => self.mid.to_string(),
            "file" => format!("{}.pth", sha256_hex(WEIGHTS)),
            "name" if path.contains("label-types") => "cells".to_owned(),
            "name" => "lab".to_owned(),
            _ => return None,
        })
    }

    fn body(&self, path: &str) -> Value {
        match path {
            "/api/v1/uploads" => json!({"files": [image("c.bmp", b"x")]}),
            "/api/v1/uploads/{id}/parts" => {
                json!({"parts": [{"number": 1, "sha256": sha256_hex(b"x")}]})
            }
            "/api/v1/status" => json!({"keys": [self.image]}),
            "/api/v1/datasets" => json!({"batches": ["b1"]}),
            "/api/v1/image/label" => json!({"operations": []}),
            "/api/v1/classes/{name}" => json!({"ids": {"RBC": 301}}),
            "/api/v1/label-types/{name}" => json!({"algorithm": 1100}),
            "/api/v1/projects" => json!({"kind": "train", "dataset": "DkxD9Kjl", "types": [1, 2]}),
            "/api/v1/models" => new_model(&model_file(9)),
            "/api/v1/models/legacy" => json!({"mtype": 7, "file": "detector/yolo.weights"}),
            "/api/v1/models/{mid}/promote" => json!({"label_type": "cells"}),
            "/api/v1/weights" => {
                json!({"sha256": sha256_hex(WEIGHTS), "bytes": WEIGHTS.len(), "ending": "pth"})
            }
            _ => panic!("{path} has no sample body"),
        }
    }
}

/// Asks to send a file that is a little too large for one piece; gives the upload and the token of its last part.
async fn large(server: &Server) -> (String, String) {
    let mut large = image("large.bmp", b"");
    large["bytes"] = json!((32 << 20) + LAST_PART.len());
    let grant = server.grant(&large).await;
    let upload = grant["upload"].as_str().unwrap().to_owned();
    let last = json!({"number": grant["n_parts"], "sha256": sha256_hex(LAST_PART)});
    let path = format!("/api/v1/uploads/{upload}/parts");
    let signed = server.post(&path, &json!({ "parts": [last] })).await.json();
    let url = signed["parts"][0]["url"].as_str().unwrap();
    let token = url.trim_start_matches("/uploads/parts/").to_owned();
    (upload, token)
}

#[tokio::test]
async fn every_path_of_the_document_answers() {
    let (server, document) = document().await;
    let sample = Sample::make(&server).await;
    let mut n_asked = 0;
    let mut operations = operations(&document);
    // What is deleted can't be asked for.
    operations.sort_by_key(|(_, method, _)| *method == "delete");
    for (path, method, operation) in operations {
        let mut url = path.to_owned();
        let mut query = Vec::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let Some(value) = sample.parameter(path, name) else {
                assert_ne!(parameter["required"], true, "{path} {name} has no sample");
                continue;
            };
            match parameter["in"].as_str().unwrap() {
                "path" => url = url.replace(&format!("{{{name}}}"), &value),
                _ => query.push(format!("{name}={value}")),
            }
        }
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        let mut request = server.request(&method.to_uppercase(), &url);
        if path == "/uploads/{token}" {
            request = request
                .header("content-type", "application/octet-stream")
                .body(bmp(9, 9, 1));
        } else if path == "/uploads/parts/{token}" {
            request = request.body(LAST_PART);
        } else if path == "/api/v1/models/{mid}/file" && method == "put" {
            request = request.body(model_file(1));
        } else if path == "/api/v1/weights/{file}" {
            request = request.body(WEIGHTS);
        } else if !operation["requestBody"].is_null() {
            request = request.json(&sample.body(path));
        }
        let answer = server.send(request).await;
        let status = answer.status;
        assert!(
            status < 500 && status != 404 && status != 405,
            "{method} {url}: {answer:?}"
        );
        // What the document promises beside the errors.
        let is_documented = operation["responses"].get(status.to_string()).is_some();
        assert!(
            is_documented || status >= 400,
            "{method} {url}: {status} is not documented"
        );
        n_asked += 1;
    }
    assert!(n_asked > 45, "{n_asked}");
}

/// The document is also made without a running api, and is the same.
#[tokio::test]
async fn the_document_is_the_same_without_a_server() {
    let (_, document) = document().await;
    assert_eq!(
        serde_json::from_str::<Value>(&cellmill_api::document()).unwrap(),
        document
    );
}
