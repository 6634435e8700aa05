//! Worker processes beside a stack.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::agent::Agent;
use super::client::http;
use super::stack::{Stack, free_port};
use crate::show::child::Running;
use crate::show::wait::wait_until;

/// A running `worker-gpu`, with an agent of its own that hears when it may be ended.
#[derive(Debug)]
pub struct Worker {
    pub process: Running,
    pub agent: Agent,
    /// What stands as the owner in the records of its units.
    pub id: String,
    health: String,
}

impl Worker {
    /// Starts a worker on the CPU and waits until it says that it is well. Its access key is `name`, so that what it asks
    /// for can be told apart at the proxy.
    pub async fn start(
        stack: &Stack,
        name: &str,
        settings: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let program = own.with_file_name("worker-gpu");
        ensure!(program.is_file(), "{} is not built", program.display());
        let agent = Agent::start().await?;
        let health = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command
            .args(["--class", "cpu", "--device", "cpu"])
            .args(["--store", stack.variable("CELLMILL_STORE")?])
            .args(["--queue", stack.variable("CELLMILL_QUEUE")?])
            .envs(stack.environment().iter().cloned())
            .env("AWS_ACCESS_KEY_ID", name)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("CELLMILL_HEALTH", &health)
            .env("CELLMILL_LOG", "info")
            .env("CELLMILL_LOG_FORMAT", "json")
            .env("ECS_AGENT_URI", agent.uri())
            .envs(settings.iter().copied());
        let process = Running::start(&mut command, log)?;
        let mut worker = Self {
            process,
            agent,
            id: String::new(),
            health: format!("http://{health}/health"),
        };
        worker.wait_until_healthy().await?;
        let pause = Duration::from_millis(20);
        let limit = Duration::from_secs(20);
        worker.id = wait_until("a worker names itself", limit, pause, async || {
            Ok(worker.process.log()?.lines().find_map(id_of))
        })
        .await?;
        Ok(worker)
    }

    async fn wait_until_healthy(&mut self) -> Result<()> {
        let (health, process, http) = (&self.health, &mut self.process, http());
        let pause = Duration::from_millis(50);
        wait_until(
            "a worker is well",
            Duration::from_secs(30),
            pause,
            async || {
                ensure!(process.is_alive(), "the worker ended: {}", process.log()?);
                let answer = http.get(health).send().await;
                let is_well = answer.is_ok_and(|it| it.status().is_success());
                Ok(is_well.then_some(()))
            },
        )
        .await
    }

    /// SIGTERM: it hands back what it holds.
    pub async fn stop(self) -> Result<Duration> {
        self.process.stop(Duration::from_secs(40)).await
    }
}

/// The worker that a line of its log tells of.
fn id_of(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let places = [&line["worker"], &line["fields"]["worker"]];
    places.iter().find_map(|it| it.as_str()).map(str::to_owned)
}
