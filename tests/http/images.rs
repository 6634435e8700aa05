//! Batches, cases, images, their bytes and labels.

use serde_json::{Value, json};

use crate::server::{Server, bmp, escaped, file, image, points};

async fn with_images() -> Server {
    let server = Server::start().await;
    for (shade, (root, batch, case, name)) in [
        ("hospital", "b1", "c1", "a.bmp"),
        ("hospital", "b1", "c2", "b.bmp"),
        ("hospital", "b2", "c1", "c.bmp"),
        ("upload", "b1", "c1", "汉 子.bmp"),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = bmp(20, 10, shade as u8);
        server
            .upload(&file(root, "image", batch, case, name, &bytes), &bytes)
            .await;
    }
    server
}

fn column(page: &Value, name: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|it| it[name].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn batches_and_cases_are_those_that_have_images() {
    let server = with_images().await;
    let batches = server.get("/api/v1/batches").await.json();
    let expected = json!([
        {"batch": "b1", "roots": ["hospital", "upload"]},
        {"batch": "b2", "roots": ["hospital"]},
    ]);
    assert_eq!(batches["items"], expected);
    let cases = server.get("/api/v1/batches/b1/cases").await.json();
    assert_eq!(column(&cases, "case"), ["c1", "c2"]);
    let first = server.get("/api/v1/batches?limit=1").await.json();
    let next = first["next"].as_str().unwrap();
    let second = server
        .get(&format!("/api/v1/batches?limit=1&after={next}"))
        .await
        .json();
    assert_eq!(
        (column(&first, "batch"), column(&second, "batch")),
        (vec!["b1".into()], vec!["b2".into()])
    );
    assert_eq!(second["next"], json!(null));
}

#[tokio::test]
async fn new_cases_of_a_day_share_their_batch_and_nothing_else() {
    let server = Server::start().await;
    let mut cases = Vec::new();
    let mut batches = Vec::new();
    for _ in 0..3 {
        let answer = server.post("/api/v1/batches", &json!({})).await;
        assert_eq!(answer.status, 201);
        cases.push(answer.json()["case"].as_str().unwrap().to_owned());
        batches.push(answer.json()["batch"].as_str().unwrap().to_owned());
    }
    cases.dedup();
    assert_eq!(cases.len(), 3);
    assert!(cases.iter().all(|it| it.starts_with('m')) && batches[0].starts_with('b'));
}

#[tokio::test]
async fn images_are_listed_by_key_page_by_page_and_filtered() {
    let server = with_images().await;
    let all = server.get("/api/v1/images").await.json();
    let names = column(&all, "name");
    assert_eq!(names, ["a.bmp", "b.bmp", "c.bmp", "汉 子.bmp"]);
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = server
            .get(&format!("/api/v1/images?limit=1{after}"))
            .await
            .json();
        paged.extend(column(&page, "name"));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={}", escaped(next));
    }
    assert_eq!(paged, names);
    for (query, expected) in [
        ("batch=b1", vec!["a.bmp", "b.bmp", "汉 子.bmp"]),
        ("batch=b1&case=c1&root=hospital", vec!["a.bmp"]),
        ("root=upload", vec!["汉 子.bmp"]),
        ("state=rejected", vec![]),
        ("batch=none", vec![]),
    ] {
        let page = server.get(&format!("/api/v1/images?{query}")).await.json();
        assert_eq!(column(&page, "name"), expected, "{query}");
    }
}

#[tokio::test]
async fn an_image_is_described_and_sent_whole_or_in_part() {
    let server = Server::start().await;
    let bytes = bmp(20, 10, 7);
    let key = server.upload(&image("a.bmp", &bytes), &bytes).await;
    let view = server
        .get(&format!("/api/v1/image?key={}", escaped(&key)))
        .await
        .json();
    assert_eq!(
        (&view["width"], &view["height"], &view["format"]),
        (&json!(20), &json!(10), &json!("bmp"))
    );
    let path = format!("/api/v1/image/bytes?key={}", escaped(&key));
    let whole = server.get(&path).await;
    assert_eq!(
        (whole.status, whole.header("content-type")),
        (200, "image/bmp")
    );
    assert_eq!(
        whole.header("content-security-policy"),
        "default-src 'none'; sandbox"
    );
    assert!(whole.bytes == bytes);
    let part = server
        .send(server.request("GET", &path).header("range", "bytes=2-5"))
        .await;
    assert_eq!((part.status, &part.bytes[..]), (206, &bytes[2..6]));
    assert_eq!(
        part.header("content-range"),
        format!("bytes 2-5/{}", bytes.len())
    );
    let beyond = server
        .send(server.request("GET", &path).header("range", "bytes=9999-"))
        .await;
    assert_eq!(beyond.error(), (416, "bad_range".to_owned()));
    assert_eq!(
        beyond.header("content-range"),
        format!("bytes */{}", bytes.len())
    );
    let etag = whole.header("etag");
    let known = server
        .send(server.request("GET", &path).header("if-none-match", etag))
        .await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    let thumbnail = server
        .get(&format!("/api/v1/image/thumbnail?key={}", escaped(&key)))
        .await;
    assert_eq!(
        (thumbnail.status, thumbnail.header("content-type")),
        (200, "image/jpeg")
    );
    assert_eq!(&thumbnail.bytes[..3], b"\xff\xd8\xff");
}

/// A page of somebody's choice must not be shown under our name because it was uploaded as a picture.
#[tokio::test]
async fn a_rejected_file_is_only_ever_saved() {
    let server = Server::start().await;
    let page = b"<script>alert(1)</script>";
    let mut wanted = image("a.html", page);
    wanted["content_type"] = json!("text/html");
    let key = server.upload(&wanted, page).await;
    let answer = server
        .get(&format!("/api/v1/image/bytes?key={}", escaped(&key)))
        .await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
}

fn operation(id: char, rev: &Value, change: &Value) -> Value {
    let mut operation = change.clone();
    operation["id"] = json!(format!("01ARZ3NDEKTSV4RRFFQ69G5FA{id}"));
    operation["rev"] = rev.clone();
    operation
}

#[tokio::test]
async fn a_person_edits_the_label_that_was_seen() {
    let server = Server::start().await;
    let bytes = bmp(200, 100, 7);
    let key = server.upload(&image("a.bmp", &bytes), &bytes).await;
    let csv = b"X,Y,Type\n50,50,2\n150,60,3\n";
    server.upload(&points("a.csv", csv), csv).await;
    let path = format!("/api/v1/image/label?key={}", escaped(&key));
    let label = server.get(&path).await.json();
    assert_eq!(label["cells"].as_array().unwrap().len(), 2);
    let (rev, first) = (&label["rev"], &label["cells"][0]["id"]);

    let delete = operation('A', rev, &json!({"op": "delete", "cell": first}));
    let add = operation(
        'B',
        rev,
        &json!({"op": "add", "x": 10, "y": 20, "class": 7}),
    );
    let edit = json!({"operations": [delete, add]});
    let edited = server.post(&path, &edit).await.json();
    let shown = |label: &Value| -> Vec<(Value, Value)> {
        let cells = label["cells"].as_array().unwrap().iter();
        cells
            .map(|it| (it["class"].clone(), it["source"].clone()))
            .collect()
    };
    let expected = [
        (json!(3), json!("csv/2019-7-22")),
        (json!(7), json!("person/local")),
    ];
    assert_eq!(shown(&edited), expected);

    let repeated = server.post(&path, &edit).await;
    assert_eq!(
        (repeated.status, &repeated.json()["rev"]),
        (200, &edited["rev"]),
        "a repeat counts once"
    );
    let stale = operation('C', rev, &json!({"op": "set_image_class", "class": 50}));
    let answer = server.post(&path, &json!({"operations": [stale]})).await;
    assert_eq!(answer.error(), (409, "stale".to_owned()));

    let now = &edited["rev"];
    for (change, code) in [
        (json!({"op": "delete", "cell": "p1,1"}), "unknown_cell"),
        (
            json!({"op": "add", "x": 200, "y": 20, "class": 7}),
            "out_of_image",
        ),
        (
            json!({"op": "add", "x": 9, "y": 9, "class": 7, "bbox": {"x1": 5, "y1": 5, "x2": 5, "y2": 9}}),
            "out_of_image",
        ),
        (
            json!({"op": "add", "x": 9, "y": 9, "class": 0}),
            "bad_class",
        ),
    ] {
        let body = json!({"operations": [operation('D', now, &change)]});
        assert_eq!(
            server.post(&path, &body).await.error(),
            (422, code.to_owned()),
            "{change}"
        );
    }
    let unchanged = server.get(&path).await.json();
    assert_eq!(unchanged["rev"], *now);
}
