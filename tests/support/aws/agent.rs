//! The ECS agent as a task sees it: takes the task's word on whether it may be ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An agent for one task. It ends when it is dropped.
#[derive(Debug)]
pub struct Agent {
    uri: String,
    said: Arc<Mutex<Vec<Protection>>>,
    task: JoinHandle<()>,
}

/// What a task said.
#[derive(Clone, Copy, Debug)]
pub struct Protection {
    pub at: Instant,
    pub is_on: bool,
}

impl Agent {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("listen as an agent")?;
        let uri = format!("http://{}/api/task", listener.local_addr()?);
        let said: Arc<Mutex<Vec<Protection>>> = Arc::default();
        let noted = Arc::clone(&said);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, Arc::clone(&noted)));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { uri, said, task })
    }

    /// What the task is given as `ECS_AGENT_URI`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Everything that was said, in its order.
    pub fn said(&self) -> Vec<Protection> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }

    /// Is the task protected now?
    pub fn is_protected(&self) -> bool {
        self.said().last().is_some_and(|it| it.is_on)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    said: Arc<Mutex<Vec<Protection>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_protection = request.uri().path().ends_with("/task-protection/v1/state");
    let body = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, answer) = match asked["ProtectionEnabled"].as_bool() {
        Some(is_on) if is_protection => {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Protection {
                    at: Instant::now(),
                    is_on,
                });
            let protection = json!({
                "ExpirationDate": "2100-01-01T00:00:00Z",
                "ProtectionEnabled": is_on,
                "TaskArn": "arn:aws:ecs:us-east-1:000000000000:task/show/0",
            });
            (200, json!({ "protection": protection }))
        }
        _ => (400, json!({ "error": { "Code": "InvalidParameter" } })),
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::client::http;

    #[tokio::test]
    async fn a_task_is_protected_from_its_word_on() {
        let agent = Agent::start().await.unwrap();
        let url = format!("{}/task-protection/v1/state", agent.uri());
        let client = http();
        assert!(!agent.is_protected());
        for is_on in [true, false] {
            let body = json!({ "ProtectionEnabled": is_on, "ExpiresInMinutes": 10 });
            let answer = client.put(&url).json(&body).send().await.unwrap();
            assert!(answer.status().is_success());
            assert_eq!(agent.is_protected(), is_on);
        }
        let answer = client.put(&url).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(agent.said().len(), 2);
    }
}
