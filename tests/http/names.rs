//! Names that would like to be somewhere else (the list of `hostile/names.json`): each is decided.

use cellmill_api::Settings;
use cellmill_store::Store;
use serde_json::json;

use crate::server::{Server, bmp, escaped, file};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    /// It could leave the folder, or can't be part of a path.
    Refuse,
    /// It is harmless: stored, and given back byte for byte.
    Store,
}
use Decided::{Refuse, Store as Keep};

/// File names. A slash, a backslash, a control character, two dots in a row, or nothing: refused.
fn file_names() -> Vec<(String, Decided)> {
    let plain = [
        ("../evil.jpg", Refuse),
        ("../../../../etc/passwd", Refuse),
        ("..\\..\\evil.jpg", Refuse),
        ("/etc/cron.d/evil", Refuse),
        ("C:\\Windows\\evil.jpg", Refuse),
        ("img/../../evil.jpg", Refuse),
        ("....//....//evil.jpg", Refuse),
        ("..%2f..%2fevil.jpg", Refuse),
        ("..%252fevil.jpg", Refuse),
        ("%c0%ae%c0%ae/evil.jpg", Refuse),
        ("a\u{0}.jpg", Refuse),
        ("", Refuse),
        (".", Refuse),
        ("..", Refuse),
        ("/", Refuse),
        ("~/evil.jpg", Refuse),
        ("\\\\host\\share\\evil.jpg", Refuse),
        ("a/b/c.jpg", Refuse),
        ("con", Keep),
        ("nul.jpg", Keep),
        ("file.jpg::$DATA", Keep),
        (" .jpg", Keep),
        ("\u{2024}\u{2024}/evil.jpg", Refuse),
        ("\u{ff0e}\u{ff0e}/evil.jpg", Refuse),
        // Beside the list: what a lab's files are really called, and what a decoder may stumble over.
        ("汉 子.JPG", Keep),
        ("100%.jpg", Keep),
        ("a+b%20c.jpg", Keep),
        ("\u{2024}\u{2024}evil.jpg", Keep),
        (".hidden", Keep),
        ("'; DROP TABLE c_image; --.jpg", Keep),
        ("a\nb.jpg", Refuse),
        ("a\u{7f}.jpg", Refuse),
    ];
    let mut names: Vec<_> = plain
        .map(|(name, decided)| (name.to_owned(), decided))
        .into();
    // Longer than any file system takes: shortened in the key, whole in the record.
    names.push((format!("{}.jpg", "x".repeat(5000)), Keep));
    names.push((format!("{}.jpg", "病".repeat(300)), Keep));
    names
}

/// Batches and cases: as file names, and at most 40 bytes, which are not shortened.
fn group_names() -> Vec<(String, Decided)> {
    let plain = [
        ("..", Refuse),
        ("../x", Refuse),
        ("a/b", Refuse),
        ("", Refuse),
        (".", Refuse),
        ("20190523/../../x", Refuse),
        ("1' OR '1'='1", Keep),
        ("1; DROP TABLE c_image", Keep),
        ("\u{0}", Refuse),
        ("中文", Keep),
        (" ", Keep),
        ("%00", Keep),
        ("${jndi:test}", Keep),
    ];
    let mut names: Vec<_> = plain
        .map(|(name, decided)| (name.to_owned(), decided))
        .into();
    names.push(("x".repeat(300), Refuse));
    names
}

/// A server over a folder inside another one, so that anything that climbs out is seen.
struct Fenced {
    server: Server,
    outer: tempfile::TempDir,
}

impl Fenced {
    async fn start() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let store = Store::open_folder(&outer.path().join("root"))
            .await
            .unwrap();
        let server = Server::over(store, Settings::default()).await;
        Self { server, outer }
    }

    async fn check(
        &self,
        root: &str,
        batch: &str,
        case: &str,
        name: &str,
        shade: u8,
        decided: Decided,
    ) {
        let bytes = bmp(8, 8, shade);
        let file = file(root, "image", batch, case, name, &bytes);
        let short: String = name.chars().take(40).collect();
        let at = format!("{root} {batch:?} {case:?} {short:?}");
        let grant = self.server.grant(&file).await;
        if decided == Refuse {
            assert_eq!(grant["status"], "refused", "{at}");
            assert!(
                grant["reason"].is_string() && grant["url"].is_null(),
                "{at}: {grant}"
            );
            return;
        }
        let answer = self.server.send_granted(&grant, &bytes).await;
        assert_eq!(answer.status, 201, "{at}: {answer:?}");
        self.server.work().await;
        let key = escaped(grant["key"].as_str().unwrap());
        let view = self
            .server
            .get(&format!("/api/v1/image?key={key}"))
            .await
            .json();
        assert_eq!(view["name"], json!(name), "{at}");
        assert_eq!(
            (&view["batch"], &view["case"]),
            (&json!(batch), &json!(case)),
            "{at}"
        );
        assert_eq!(view["state"], "ok", "{at}: {view}");
        let stored = self
            .server
            .get(&format!("/api/v1/image/bytes?key={key}"))
            .await;
        assert!(stored.bytes == bytes, "{at}");
        assert_eq!(
            self.server.grant(&file).await["status"],
            "stored",
            "{at}: sent twice"
        );
    }

    /// Nothing beside the root, and inside it nothing but the layout.
    fn check_tree(&self) {
        let names = |path: &std::path::Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).unwrap();
            let mut names: Vec<String> = entries
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.outer.path()), ["root"]);
        let known = [
            ".cellmill",
            "audit",
            "cache",
            "img",
            "labels",
            "records",
            "scratch",
        ];
        for name in names(&self.outer.path().join("root")) {
            assert!(known.contains(&name.as_str()), "{name}");
        }
    }
}

#[tokio::test]
async fn every_file_name_is_refused_or_comes_back_as_it_was() {
    let fenced = Fenced::start().await;
    for (shade, (name, decided)) in file_names().into_iter().enumerate() {
        for root in ["hospital", "upload"] {
            fenced
                .check(root, "b1", "c1", &name, shade as u8, decided)
                .await;
        }
    }
    fenced.check_tree();
}

#[tokio::test]
async fn every_batch_and_case_is_refused_or_comes_back_as_it_was() {
    let fenced = Fenced::start().await;
    for (shade, (name, decided)) in group_names().into_iter().enumerate() {
        for root in ["hospital", "upload"] {
            fenced
                .check(root, &name, "c1", "a.bmp", shade as u8, decided)
                .await;
            fenced
                .check(root, "b1", &name, "a.bmp", shade as u8, decided)
                .await;
        }
    }
    for batch in ["img", "review", "static", "data", "cells"] {
        fenced
            .check("hospital", batch, "c1", "a.bmp", 0, Refuse)
            .await;
    }
    fenced.check_tree();
}

/// The same names as keys of a request: what is no key is not looked for.
#[tokio::test]
async fn no_hostile_key_is_ever_read() {
    let server = Server::start().await;
    for path in ["image", "image/bytes", "image/thumbnail", "image/label"] {
        for key in [
            "../../etc/passwd",
            "/etc/passwd",
            "img/../b/Images/c.jpg",
            "datasets/x/data.json",
            "",
        ] {
            let answer = server
                .get(&format!("/api/v1/{path}?key={}", escaped(key)))
                .await;
            assert_eq!(
                answer.error(),
                (400, "malformed".to_owned()),
                "{path} {key}"
            );
        }
    }
    for (name, decided) in file_names() {
        if decided == Refuse && !name.is_empty() {
            let answer = server
                .get(&format!(
                    "/api/v1/datasets/DkxD9Kjl/files/{}",
                    escaped(&name)
                ))
                .await;
            assert!((400..500).contains(&answer.status), "{name:?}: {answer:?}");
        }
    }
}
