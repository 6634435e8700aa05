//! Protection of an ECS task from being scaled in while it holds a unit.
//!
//! ECS gives a container an address of its agent; the state put there lasts until it is taken back or its time is
//! over, so a worker that is killed is not protected for ever.

use std::time::Duration;

use cellmill_service::report;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where ECS says that its agent is.
const AGENT: &str = "ECS_AGENT_URI";
/// How long a protection lasts unless it is renewed.
const LASTS_MINUTES: u64 = 60;
/// It is renewed in half of that.
const RENEW: Duration = Duration::from_mins(LASTS_MINUTES / 2);
/// A worker between two units is not given up.
const BETWEEN_UNITS: Duration = Duration::from_secs(20);
/// The agent refuses more than a few requests a second, and while a deployment replaces the task.
const AGAIN: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the task protected while `held` is not 0, until the shutdown. Does nothing outside of ECS.
pub(crate) async fn protect(held: watch::Receiver<usize>, shutdown: CancellationToken) {
    let Some(agent) = std::env::var(AGENT).ok().filter(|it| !it.is_empty()) else {
        return;
    };
    let agent = Agent {
        url: format!("{}/task-protection/v1/state", agent.trim_end_matches('/')),
        http: client(),
    };
    shutdown.run_until_cancelled(agent.follow(held)).await;
    // At shutdown the units are handed back anyhow; ECS need not wait for us.
    agent.put(false).await;
}

/// The agent speaks plain HTTP, but a client is not made without TLS that works.
fn client() -> reqwest::Client {
    cellmill_aws::install_tls();
    reqwest::Client::new()
}

struct Agent {
    url: String,
    http: reqwest::Client,
}

impl Agent {
    async fn follow(&self, mut held: watch::Receiver<usize>) {
        let mut is_protected = false;
        loop {
            let is_wanted = *held.borrow_and_update() > 0;
            if !is_wanted && is_protected {
                // Somebody takes a unit within seconds as long as there are some.
                match tokio::time::timeout(BETWEEN_UNITS, held.changed()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
            }
            let pause = if is_wanted || is_protected {
                if self.put(is_wanted).await {
                    is_protected = is_wanted;
                    RENEW
                } else {
                    AGAIN
                }
            } else {
                RENEW
            };
            if let Ok(Err(_)) = tokio::time::timeout(pause, held.changed()).await {
                // The worker has ended.
                return;
            }
        }
    }

    /// Puts the state. `false`: the agent did not take it.
    async fn put(&self, is_protected: bool) -> bool {
        let state = if is_protected {
            json!({"ProtectionEnabled": true, "ExpiresInMinutes": LASTS_MINUTES})
        } else {
            json!({"ProtectionEnabled": false})
        };
        let sent = self
            .http
            .put(&self.url)
            .timeout(TIMEOUT)
            .json(&state)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        match sent {
            Ok(_) => {
                tracing::info!(is_protected, "task protection set");
                true
            }
            Err(error) => {
                tracing::warn!(error = report(&error), "task protection not set");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// An agent that notes what is put.
    async fn agent() -> (Agent, Arc<Mutex<Vec<bool>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/task-protection/v1/state",
            listener.local_addr().unwrap()
        );
        let states = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&states);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                while !text.contains('}') {
                    let mut some = [0; 1024];
                    let n = stream.read(&mut some).await.unwrap();
                    text.push_str(std::str::from_utf8(&some[..n]).unwrap());
                }
                assert!(text.starts_with("PUT /task-protection/v1/state "), "{text}");
                noted.lock().unwrap().push(text.contains("true"));
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        });
        let http = client();
        (Agent { url, http }, states)
    }

    #[tokio::test]
    async fn a_held_unit_protects_and_an_idle_worker_was_never_protected() {
        let (agent, states) = agent().await;
        let (hold, held) = watch::channel(0);
        let following = tokio::spawn(async move { agent.follow(held).await });
        tokio::task::yield_now().await;
        assert!(states.lock().unwrap().is_empty());
        hold.send(1).unwrap();
        while states.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*states.lock().unwrap(), [true]);
        drop(hold);
        following.await.unwrap();
    }
}
