//! The proxy in front of a small upstream.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::http;
use super::faults::{Fault, Only, Plan, Rule};
use super::operation::Charge;
use super::proxy::Proxy;

/// One request as the upstream saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    line: String,
    host: String,
    body: Bytes,
}

/// Answers every request with its own body, and remembers it.
struct Upstream {
    address: String,
    came: Arc<Mutex<Vec<Came>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let seen = Arc::clone(&came);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let service = service_fn(|request| echo(request, Arc::clone(&seen)));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            came,
            task,
        }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Came>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let host = head.headers["host"].to_str().unwrap().to_owned();
    seen.lock().unwrap().push(Came {
        line: format!("{} {}", head.method, head.uri),
        host,
        body: body.clone(),
    });
    Ok(Response::builder()
        .header("etag", "\"1\"")
        .body(Full::from(body))
        .unwrap())
}

fn always(fault: Fault, only: Only) -> Plan {
    Plan {
        seed: 1,
        rules: vec![Rule::new(fault, 1.0, only)],
    }
}

#[tokio::test]
async fn requests_go_on_as_they_came_and_are_counted() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.address).await.unwrap();
    let path = "/bucket/records/img/b/c%20d/Images/%C3%A9+1.png.json?x-id=PutObject";
    // Larger than any one frame, so it streams.
    let body: Vec<u8> = (0..3_000_000_u32).map(|it| it as u8).collect();
    let client = http();
    let put = client.put(format!("{}{path}", proxy.endpoint()));
    let answer = put.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.headers()["etag"], "\"1\"");
    assert_eq!(answer.bytes().await.unwrap(), body);

    let came = upstream.came();
    assert_eq!(came.len(), 1);
    assert_eq!(came[0].line, format!("PUT {path}"));
    assert_eq!(format!("http://{}", came[0].host), proxy.endpoint());
    assert_eq!(came[0].body, body);

    let counts = proxy.counts();
    assert_eq!(counts.rows.len(), 1);
    let row = &counts.rows[0];
    assert_eq!(row.call.prefix, "records");
    assert_eq!(row.tally.requests, 1);
    assert_eq!(row.tally.bytes_in, body.len() as u64);
    assert_eq!(row.tally.bytes_out, body.len() as u64);
    assert_eq!(counts.charged(Charge::Put), 1);
    proxy.reset();
    assert_eq!(proxy.counts().requests(), 0);
}

#[tokio::test]
async fn a_request_that_is_put_off_does_not_reach_the_upstream() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.address).await.unwrap();
    proxy.follow(always(Fault::SlowDown, Only::All));
    let client = http();
    let url = format!("{}/bucket/img/a.png", proxy.endpoint());
    let answer = client
        .put(&url)
        .body(vec![7; 1 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("<Code>SlowDown</Code>")
    );
    let queue = client.post(proxy.endpoint());
    let queue = queue.header("x-amz-target", "AmazonSQS.SendMessage");
    let answer = queue.body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("sqs#ServiceUnavailable")
    );
    assert_eq!(upstream.came(), []);
    assert_eq!(proxy.counts().injected(Fault::SlowDown), 2);

    proxy.follow(Plan::default());
    assert!(client.get(&url).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_lost_answer_is_of_a_write_that_was_done() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.address).await.unwrap();
    proxy.follow(always(Fault::AnswerLost, Only::Writes));
    let client = http();
    let url = format!("{}/bucket/labels/a.label", proxy.endpoint());
    let answer = client.put(&url).body("once").send().await;
    assert!(answer.is_err(), "{answer:?}");
    let came = upstream.came();
    assert_eq!(came.len(), 1, "nobody tried again by itself");
    assert_eq!(came[0].body, "once");
    assert!(client.get(&url).send().await.unwrap().status().is_success());
    assert_eq!(proxy.counts().injected(Fault::AnswerLost), 1);
}

#[tokio::test]
async fn a_race_is_lost_only_by_conditional_writes() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.address).await.unwrap();
    proxy.follow(always(Fault::Conflict, Only::ConditionalWrites));
    let client = http();
    let url = format!("{}/bucket/labels/a.label", proxy.endpoint());
    let plain = client.put(&url).body("a").send().await.unwrap();
    assert!(plain.status().is_success());
    let swap = client.put(&url).header("if-match", "\"1\"");
    let answer = swap.body("b").send().await.unwrap();
    assert_eq!(answer.status(), 409);
    let said = answer.text().await.unwrap();
    assert!(said.contains("<Code>ConditionalRequestConflict</Code>"));
    assert_eq!(upstream.came().len(), 1);
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_of() {
    let proxy = Proxy::start("http://127.0.0.1:1").await.unwrap();
    let url = format!("{}/bucket/a", proxy.endpoint());
    let answer = http().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(Proxy::start("https://127.0.0.1:1").await.is_err());
}
