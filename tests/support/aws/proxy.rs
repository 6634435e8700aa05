//! A proxy in front of an AWS endpoint: counts every request, and breaks some by plan.
//!
//! Requests go on as they came, the `Host` included: it is signed, so whoever is to go through here is given this
//! address as its endpoint, and the upstream must take any host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::answer;
use super::body::{Counted, Way};
use super::call::{Call, Seen};
use super::faults::{Draws, Fault, Plan};
use super::ledger::{Counts, Ledger};

/// How long an idle connection to the upstream is kept.
const KEPT: Duration = Duration::from_secs(2);

type Answer = Response<Either<Full<Bytes>, Counted>>;

/// A running proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    parts: Arc<Parts>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Parts {
    upstream: Authority,
    client: Client<HttpConnector, Counted>,
    ledger: Arc<Ledger>,
    draws: Draws,
}

impl Proxy {
    /// Listens on a free port of the loopback interface in front of `upstream`, such as `http://127.0.0.1:4566`.
    pub async fn start(upstream: &str) -> Result<Self> {
        Self::start_at(0, upstream).await
    }

    /// As [`Proxy::start`], on a port that is known before.
    pub async fn start_at(port: u16, upstream: &str) -> Result<Self> {
        let uri: Uri = upstream
            .parse()
            .with_context(|| format!("`{upstream}` is no address"))?;
        let authority = uri
            .authority()
            .filter(|_| uri.scheme() == Some(&Scheme::HTTP))
            .with_context(|| format!("`{upstream}` is not of the form http://host:port"))?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("listen on port {port}"))?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http1_preserve_header_case(true);
        // Kept shorter than upstreams keep theirs: one that is just being closed would look like a fault of ours.
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT);
        let parts = Arc::new(Parts {
            upstream: authority.clone(),
            client: builder.build_http(),
            ledger: Arc::default(),
            draws: Draws::default(),
        });
        Ok(Self {
            address: listener.local_addr().context("read the own address")?,
            task: tokio::spawn(accept(listener, Arc::clone(&parts))),
            parts,
        })
    }

    /// What callers are given as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came since the start or the last reset.
    pub fn counts(&self) -> Counts {
        self.parts.ledger.counts()
    }

    pub fn reset(&self) {
        self.parts.ledger.reset();
    }

    /// Breaks requests by this plan from now on; by an empty one none.
    pub fn follow(&self, plan: Plan) {
        self.parts.draws.follow(plan);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections end with this task.
async fn accept(listener: TcpListener, parts: Arc<Parts>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    open.spawn(serve(stream, Arc::clone(&parts)));
                }
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, parts: Arc<Parts>) {
    // Small answers wait for nothing.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let parts = Arc::clone(&parts);
        async move { parts.handle(request).await }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let served = http.preserve_header_case(true).half_close(true);
    // A caller that goes away, and an answer that is dropped on purpose, end a connection with an error.
    let _ = served.serve_connection(TokioIo::new(stream), service).await;
}

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is dropped")]
struct Dropped;

impl Parts {
    async fn handle(&self, request: Request<Incoming>) -> Result<Answer, Dropped> {
        let (head, body) = request.into_parts();
        let seen = Seen::of(&head);
        let call = Arc::new(seen.call.clone());
        let fault = self.draws.draw(&seen);
        self.ledger.add(&call, |tally| {
            tally.requests += 1;
            if let Some(fault) = fault {
                *tally.injected.entry(fault).or_default() += 1;
            }
        });
        let body = Counted::new(body, Way::In, &call, &self.ledger);
        if let Some(refusal) = fault.and_then(|it| answer::of_fault(it, &call)) {
            // Read to its end: else the caller may meet a closed connection before it sees the answer.
            let _ = body.collect().await;
            return Ok(refusal.map(Either::Left));
        }
        let mut forwarded = Request::from_parts(head, body);
        *forwarded.uri_mut() = self.upstream_uri(forwarded.uri());
        without_connection(forwarded.headers_mut());
        match self.client.request(forwarded).await {
            Ok(answer) if fault == Some(Fault::AnswerLost) => {
                // It is done when the upstream has said all of it.
                let _ = answer.into_body().collect().await;
                Err(Dropped)
            }
            Ok(answer) => Ok(self.passed_on(answer, &call)),
            Err(error) => {
                self.ledger.add(&call, |tally| tally.failed += 1);
                let why = format!("the upstream does not answer: {error:?}");
                Ok(answer::unreachable(&why).map(Either::Left))
            }
        }
    }

    fn upstream_uri(&self, asked: &Uri) -> Uri {
        let mut parts = asked.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static("/"));
        }
        Uri::from_parts(parts).expect("all three parts of an address are there")
    }

    fn passed_on(&self, mut answer: Response<Incoming>, call: &Arc<Call>) -> Answer {
        let status = answer.status();
        self.ledger.add(call, |tally| {
            tally.not_modified += u64::from(status == StatusCode::NOT_MODIFIED);
            tally.refused += u64::from(status.is_client_error());
            tally.failed += u64::from(status.is_server_error());
        });
        without_connection(answer.headers_mut());
        answer.map(|it| Either::Right(Counted::new(it, Way::Out, call, &self.ledger)))
    }
}

/// Each of the two connections is kept or closed for its own reasons.
fn without_connection(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}
