//! The figures that a collector reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cellmill_api::Settings;
use cellmill_core::ids::Dir;
use cellmill_core::job::JobEvent;
use cellmill_core::keys::{JobKind, ObjectKey};
use cellmill_core::messages::UnitClass;
use cellmill_queue::{Outgoing, Queue as _, QueueName};
use cellmill_store::Store;
use serde_json::json;

use crate::datasets::{apply, upload_image};
use crate::server::Server;
use crate::why::with_worker;

const DIR: &str = "DkxD9Kjl";

/// A page, taken apart line by line.
#[derive(Debug, Default)]
struct Read {
    kinds: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Read {
    /// Holds every line against the rules of the format.
    fn of(text: &str) -> Self {
        let mut read = Self::default();
        let (mut helped, mut last) = (BTreeSet::new(), String::new());
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a sentence");
                assert!(helped.insert(name.to_owned()), "{name} is told twice");
                assert!(help.ends_with('.'), "{line}");
                name.clone_into(&mut last);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, last, "its sentence stands above");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(
                    read.kinds
                        .insert(name.to_owned(), kind.to_owned())
                        .is_none()
                );
            } else {
                read.sample(line, &last);
            }
        }
        read
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a figure");
        let name = series.split('{').next().unwrap();
        let is_name = |it: &str| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
        };
        assert!(is_name(name), "{line}");
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .any(|it| name.strip_suffix(it) == Some(family));
        assert!(
            name == family || of_histogram,
            "{line} stands under {family}"
        );
        for (label, _) in labels(&series[name.len()..]) {
            assert!(is_name(&label), "{line}");
        }
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let before = self.values.insert(series.to_owned(), value);
        assert!(before.is_none(), "{series} is told twice");
    }

    fn value(&self, series: &str) -> f64 {
        *self
            .values
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.values))
    }
}

/// The labels in `{...}`, unescaped.
fn labels(text: &str) -> Vec<(String, String)> {
    let Some(inside) = text.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
        assert!(text.is_empty(), "{text}");
        return Vec::new();
    };
    let (mut found, mut rest) = (Vec::new(), inside);
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect("a value in quotes");
        let mut plain = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            let (at, c) = chars.next().expect("the quotes end");
            match c {
                '"' => break at,
                '\\' => plain.push(chars.next().expect("something escaped").1),
                c => plain.push(c),
            }
        };
        found.push((name.to_owned(), plain));
        rest = value[end + 1..].trim_start_matches(',');
    }
    found
}

async fn read(server: &Server) -> Read {
    let answer = server.get("/metrics").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/plain; version=0.0.4")
    );
    Read::of(std::str::from_utf8(&answer.bytes).unwrap())
}

/// A server whose every look is a new one, with a job of two units that wait.
async fn with_job() -> Server {
    let settings = Settings {
        metrics: Some(Duration::ZERO),
        ..Settings::default()
    };
    let server = Server::over(Store::memory(), settings).await;
    upload_image(&server).await;
    let first = read(&server).await;
    assert!(!first.kinds.contains_key("cellmill_jobs"));
    let new = json!({"batches": ["b1"], "dir": DIR});
    assert_eq!(server.post("/api/v1/datasets", &new).await.status, 201);
    let assembled = JobEvent::Assembled {
        units: 2,
        snapshot: "s".to_owned(),
    };
    apply(&server, DIR, assembled).await;
    server
}

#[tokio::test]
async fn jobs_units_workers_and_queues_are_told() {
    let server = with_job().await;
    with_worker(&server, UnitClass::gpu()).await;
    let dead = QueueName::parse("uploads-dead").unwrap();
    server
        .queue
        .send(&dead, &[Outgoing::now("lost")])
        .await
        .unwrap();
    let page = read(&server).await;
    for (series, value) in [
        (r#"cellmill_jobs{kind="data",state="queued"}"#, 1.0),
        (r#"cellmill_units_waiting{class="cpu"}"#, 2.0),
        (r#"cellmill_units_leased{class="cpu"}"#, 0.0),
        (r#"cellmill_workers{class="gpu",state="idle"}"#, 1.0),
        (r#"cellmill_worker_cpus{worker="lab-1"}"#, 4.0),
        (r#"cellmill_worker_memory_used_bytes{worker="lab-1"}"#, 3.0),
        (r#"cellmill_dead_letters{queue="uploads"}"#, 1.0),
        (
            r#"cellmill_queue_messages{queue="assemble",state="visible"}"#,
            1.0,
        ),
        (r#"cellmill_part_up{part="store"}"#, 1.0),
        (r#"cellmill_part_up{part="queue"}"#, 1.0),
    ] {
        assert!(
            (page.value(series) - value).abs() < 1e-9,
            "{series}: {page:#?}"
        );
    }
    assert!(page.value(r#"cellmill_units_oldest_waiting_seconds{class="cpu"}"#) < 100.0);
    assert!(page.value("process_start_time_seconds") > 1.7e9);
    assert!(page.value(r#"cellmill_store_calls_total{operation="get",outcome="ok"}"#) > 0.0);
    assert_eq!(
        page.kinds["cellmill_http_request_duration_seconds"],
        "histogram"
    );
}

#[tokio::test]
async fn a_job_that_ends_between_two_looks_counts_once() {
    let server = with_job().await;
    let cancelled = JobEvent::Cancelled {
        by: "me".to_owned(),
    };
    apply(&server, DIR, cancelled).await;
    let series = r#"cellmill_jobs_ended_total{kind="data",state="cancelled"}"#;
    for _ in 0..2 {
        let page = read(&server).await;
        assert!((page.value(series) - 1.0).abs() < 1e-9, "{page:#?}");
    }
    // The janitor takes the mark away: nothing changes.
    let mark = ObjectKey::Active {
        kind: JobKind::Data,
        dir: Dir::parse(DIR).unwrap(),
        round: 0,
    };
    server.store.delete(&mark).await.unwrap();
    let page = read(&server).await;
    assert!((page.value(series) - 1.0).abs() < 1e-9, "{page:#?}");
    assert!(!page.kinds.contains_key("cellmill_jobs"), "{page:#?}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        let path = format!("/api/v1/classes/{name}");
        assert_eq!(server.get(&path).await.status, 404);
    }
    server.get("/no/such/path").await;
    server.send(server.request("BREW", "/no")).await;
    let page = read(&server).await;
    let of = |series: &str| page.value(series).round() as u64;
    assert_eq!(
        of(
            r#"cellmill_http_requests_total{method="GET",route="/api/v1/classes/{name}",status="404"}"#
        ),
        2
    );
    assert_eq!(
        of(r#"cellmill_http_requests_total{method="GET",route="none",status="404"}"#),
        1
    );
    assert_eq!(
        of(r#"cellmill_http_request_duration_seconds_count{method="other",route="none"}"#),
        1
    );
    assert!(page.values.keys().all(|it| !it.contains("no/such")));
}

#[tokio::test]
async fn a_look_is_told_again_for_a_while_and_may_be_off() {
    let server = Server::start().await;
    let lists = r#"cellmill_store_calls_total{operation="list",outcome="ok"}"#;
    let first = read(&server).await.value(lists);
    let second = read(&server).await.value(lists);
    assert!((first - second).abs() < 1e-9, "nothing was listed again");
    let settings = Settings {
        metrics: None,
        ..Settings::default()
    };
    let off = Server::over(Store::memory(), settings).await;
    assert_eq!(
        off.get("/metrics").await.error(),
        (404, "not_found".to_owned())
    );
}
