//! `GET /health` on loopback: is this process at work? For the container's own health check, never for the network.

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

/// Answers on `address` until the shutdown: 200 while the pulse is younger than `limit`, 503 after that. Returns
/// the address, whose port may have been 0.
pub async fn tell_health(
    address: SocketAddr,
    pulse: Pulse,
    limit: Duration,
    shutdown: CancellationToken,
) -> Result<SocketAddr, HealthError> {
    if !address.ip().is_loopback() {
        return Err(HealthError::NotLoopback { address });
    }
    let failed = |source| HealthError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let serving = serve(&listener, &pulse, limit);
        shutdown.run_until_cancelled(serving).await;
    });
    Ok(bound)
}

async fn serve(listener: &TcpListener, pulse: &Pulse, limit: Duration) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pulse = pulse.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.method(), request.uri().path(), pulse.age(), limit);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        tokio::spawn(async move {
            // A client that goes away is no business of ours.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
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
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

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
            CancellationToken::new(),
        )
        .await;
        assert!(
            matches!(told, Err(HealthError::NotLoopback { .. })),
            "{told:?}"
        );
    }
}
