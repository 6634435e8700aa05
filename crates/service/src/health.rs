//! `GET /health` and `GET /metrics` on loopback: is this process at work, and what did it do? For the container's own
//! health check and a collector on the same machine, never for the network.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Page, Source};

/// The last sign of life. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Pulse {
    last: Arc<Mutex<Instant>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            last: Arc::new(Mutex::new(Instant::now())),
        }
    }
}

impl Pulse {
    /// Something went well just now.
    pub fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nothing went well.
    pub fn age(&self) -> Duration {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// Why the health can't be told.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address can be reached from elsewhere.
    #[error(
        "health address `{address}` is not on loopback\nhint: set CELLMILL_HEALTH to an address such as `127.0.0.1:8751`"
    )]
    NotLoopback {
        /// As given.
        address: SocketAddr,
    },
    /// The address can't be listened on.
    #[error("health address `{address}` can't be listened on")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Answers on `address` until the shutdown: 200 while the pulse is younger than `limit`, 503 after that; and the
/// figures of `source`. Returns the address, whose port may have been 0.
pub async fn tell_health(
    address: SocketAddr,
    pulse: Pulse,
    limit: Duration,
    source: Source,
    shutdown: CancellationToken,
) -> Result<SocketAddr, HealthError> {
    if !address.ip().is_loopback() {
        return Err(HealthError::NotLoopback { address });
    }
    let failed = |source| HealthError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    // Now is the start that they tell.
    metrics::process(&mut Page::default());
    tokio::spawn(async move {
        let serving = serve(&listener, &pulse, limit, &source);
        shutdown.run_until_cancelled(serving).await;
    });
    Ok(bound)
}

async fn serve(listener: &TcpListener, pulse: &Pulse, limit: Duration, source: &Source) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (pulse, source) = (pulse.clone(), Arc::clone(source));
        let answer = service_fn(move |request: Request<Incoming>| {
            let (age, source) = (pulse.age(), Arc::clone(&source));
            async move {
                let answer = match (request.method(), request.uri().path()) {
                    (&Method::GET | &Method::HEAD, "/metrics") => figures(source, age).await,
                    (method, path) => answer(method, path, age, limit),
                };
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        tokio::spawn(async move {
            // A client that goes away is no business of ours.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// What `source` tells, with what every program tells. It may look at the machine, which takes some milliseconds.
async fn figures(source: Source, age: Duration) -> Response<Full<Bytes>> {
    let told = tokio::task::spawn_blocking(move || {
        let mut page = Page::default();
        metrics::process(&mut page);
        page.family(
            "cellmill_last_sign_age_seconds",
            metrics::Kind::Gauge,
            "Seconds since storage or queue last answered this process.",
        )
        .set(&[], age.as_secs_f64());
        source(&mut page);
        page.to_text()
    });
    match told.await {
        Ok(text) => respond(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            "the figures can't be told\n".to_owned(),
        ),
    }
}

fn answer(method: &Method, path: &str, age: Duration, limit: Duration) -> Response<Full<Bytes>> {
    let (status, word) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/health") if age <= limit => (StatusCode::OK, "ok"),
        (&Method::GET | &Method::HEAD, "/health") => (StatusCode::SERVICE_UNAVAILABLE, "silent"),
        _ => (StatusCode::NOT_FOUND, "no such address"),
    };
    let body = format!(
        "{{\"status\":\"{word}\",\"last_sign_s\":{}}}\n",
        age.as_secs()
    );
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn nothing() -> Source {
        Arc::new(|_| {})
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_fresh_pulse_is_healthy_and_an_old_one_is_not() {
        let shutdown = CancellationToken::new();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let fresh = tell_health(
            any,
            Pulse::default(),
            Duration::from_mins(1),
            nothing(),
            shutdown.clone(),
        );
        let fresh = fresh.await.unwrap();
        assert!(ask(fresh, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(ask(fresh, "/").await.starts_with("HTTP/1.1 404"));

        let silent = Pulse::default();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let old = tell_health(
            any,
            silent.clone(),
            Duration::from_millis(1),
            nothing(),
            shutdown.clone(),
        );
        let old = old.await.unwrap();
        assert!(ask(old, "/health").await.starts_with("HTTP/1.1 503"));
        shutdown.cancel();
    }

    #[tokio::test]
    async fn an_address_of_the_network_is_refused() {
        let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let told = tell_health(
            open,
            Pulse::default(),
            Duration::MAX,
            nothing(),
            CancellationToken::new(),
        )
        .await;
        assert!(
            matches!(told, Err(HealthError::NotLoopback { .. })),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn figures_are_told_beside_the_health() {
        let shutdown = CancellationToken::new();
        let source: Source = Arc::new(|page| {
            page.family("x_units_total", metrics::Kind::Counter, "Units.")
                .count(&[("end", "done")], 2);
        });
        let told = tell_health(
            "127.0.0.1:0".parse().unwrap(),
            Pulse::default(),
            Duration::from_mins(1),
            source,
            shutdown.clone(),
        );
        let text = ask(told.await.unwrap(), "/metrics").await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let head = head.to_lowercase();
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        for name in [
            "cellmill_build_info{version=",
            "process_start_time_seconds ",
            "cellmill_last_sign_age_seconds ",
            "x_units_total{end=\"done\"} 2",
        ] {
            let found = body.lines().filter(|it| it.starts_with(name)).count();
            assert_eq!(found, 1, "{name}: {body}");
        }
        shutdown.cancel();
    }
}
