//! The emulated AWS as a person gets it: `localstack/up`, `localstack/down`, and what `up` says of the stack.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::Aws;
use super::objects::Bucket;
use super::proxy::Proxy;
use super::queues::Queue;

/// Which stack to start.
#[derive(Clone, Debug)]
pub struct StackWish {
    /// Port of the emulator; `None`: a free one.
    pub port: Option<u16>,
    /// Where the emulator keeps its environment and state.
    pub state: PathBuf,
    /// The zips of the functions.
    pub lambdas: PathBuf,
    /// Clients, functions and workers go through a proxy.
    pub is_proxied: bool,
}

/// A running stack. It is taken down when this is dropped.
#[derive(Debug)]
pub struct Stack {
    wish: StackWish,
    /// What `localstack/up --json` said.
    said: Value,
    proxy: Option<Proxy>,
    aws: Aws,
    environment: Vec<(String, String)>,
    /// What `up` took.
    pub took: Duration,
    is_up: bool,
}

impl Stack {
    /// Brings it up, functions and all.
    pub async fn up(wish: StackWish) -> Result<Self> {
        let port = match wish.port {
            Some(port) => port,
            None => free_port()?,
        };
        let own = format!("http://127.0.0.1:{port}");
        let proxy = if wish.is_proxied {
            Some(Proxy::start(&own).await?)
        } else {
            None
        };
        let mut command = script("up");
        command.arg("--json");
        command.args(["--port", &port.to_string()]);
        command.arg("--state").arg(&wish.state);
        command.arg("--lambdas").arg(&wish.lambdas);
        if let Some(proxy) = &proxy {
            // What functions and clients are given instead of the emulator's own address.
            command.args(["--endpoint", &proxy.endpoint()]);
        }
        let begun = Instant::now();
        let output = run(command).await.context("localstack/up")?;
        let took = begun.elapsed();
        let mut stack = Self {
            said: Value::Null,
            aws: Aws::new(proxy.as_ref().map_or(own.clone(), Proxy::endpoint).as_str()),
            environment: Vec::new(),
            is_up: true,
            wish,
            proxy,
            took,
        };
        stack.said =
            serde_json::from_slice(&output.stdout).context("localstack/up said no JSON")?;
        let given = stack.said["environment"].as_object();
        let given = given.context("localstack/up named no environment")?;
        let seen = stack.aws.endpoint().to_owned();
        stack.environment = given
            .iter()
            // Also when `up` names the emulator itself: nobody is to go around the proxy.
            .map(|(name, it)| (name.clone(), text(it).replace(&own, &seen)))
            .collect();
        Ok(stack)
    }

    /// Takes it down; says how long that took.
    pub async fn down(mut self) -> Result<Duration> {
        self.is_up = false;
        let begun = Instant::now();
        let mut command = script("down");
        command.arg("--state").arg(&self.wish.state);
        run(command).await.context("localstack/down")?;
        Ok(begun.elapsed())
    }

    /// Signed as the owner of the account, through the proxy if there is one.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The same around the proxy: what the show looks at and puts there by itself is not counted and not broken.
    pub fn unseen(&self) -> Aws {
        let port = self.said["port"].as_u64().unwrap_or(0);
        Aws::new(&format!("http://127.0.0.1:{port}"))
    }

    pub fn proxy(&self) -> Result<&Proxy> {
        self.proxy.as_ref().context("this stack has no proxy")
    }

    /// What programs find in their environment.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub fn variable(&self, name: &str) -> Result<&str> {
        let found = self.environment.iter().find(|it| it.0 == name);
        let found = found.with_context(|| format!("localstack/up did not name {name}"))?;
        Ok(&found.1)
    }

    /// Prefix of its queues and functions.
    pub fn prefix(&self) -> String {
        text(&self.said["outputs"]["QueuePrefix"])
    }

    /// Its bucket, around the proxy.
    pub fn bucket(&self) -> Bucket {
        Bucket::new(&self.unseen(), &text(&self.said["outputs"]["Bucket"]))
    }

    /// One of its queues, around the proxy.
    pub async fn queue(&self, name: &str) -> Result<Queue> {
        Queue::named(&self.unseen(), &format!("{}-{name}", self.prefix())).await
    }

    /// The full name of one of its functions.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix())
    }
}

impl Drop for Stack {
    /// A scenario that broke off leaves nothing running.
    fn drop(&mut self) {
        if self.is_up {
            let mut command = script("down");
            command.arg("--state").arg(&self.wish.state);
            let _ = command.stdout(Stdio::null()).status();
        }
    }
}

/// The repository.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn script(name: &str) -> Command {
    let mut command = Command::new(repository().join("localstack").join(name));
    // Settings of the caller's own cloud are none of the emulator's business.
    for variable in ["AWS_ENDPOINT_URL", "AWS_PROFILE", "CELLMILL_ENDPOINT"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

async fn run(mut command: Command) -> Result<Output> {
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.context("run the script")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output)
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("read the free port")?.port())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
