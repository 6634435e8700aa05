//! An orderly end: everything is told to stop, and the program waits for it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a shell reports for a process that ended by ctrl-c.
const EXIT_INTERRUPTED: i32 = 130;

/// Tells the parts of a program to stop, and knows when all of them have. Clones are the same thing.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// One that only [`trip`](Self::trip) trips: for tests and for programs inside other programs.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and ctrl-c trip; a second signal ends the process at once. Call it inside a runtime, at
    /// most once a process. The error says that the system takes no signal handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::listen()?;
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            let signal = signals.next().await;
            // First: nothing that goes wrong with a log may keep the process running.
            token.cancel();
            tracing::info!(signal, "stopping");
            let signal = signals.next().await;
            tracing::warn!(signal, "stopped at once by a second signal");
            // Not an orderly end: a second signal asks for just that.
            std::process::exit(EXIT_INTERRUPTED);
        });
        Ok(shutdown)
    }

    /// Cancelled when everything should stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Tells everything to stop.
    pub fn trip(&self) {
        self.token.cancel();
    }

    /// Whether everything was told to stop.
    pub fn is_tripped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until everything was told to stop.
    pub async fn tripped(&self) {
        self.token.cancelled().await;
    }

    /// Runs a task that [`drained`](Self::drained) waits for. The task itself watches the token.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Waits until every spawned task has ended, at most `grace`. The error holds how many still run.
    pub async fn drained(&self, grace: Duration) -> Result<(), StillRunning> {
        self.tasks.close();
        let ended = tokio::time::timeout(grace, self.tasks.wait()).await;
        ended.map_err(|_| StillRunning {
            n_tasks: self.tasks.len(),
            grace,
        })
    }
}

/// Tasks did not end in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{n_tasks} tasks still run {grace:?} after they were told to stop")]
pub struct StillRunning {
    /// How many.
    pub n_tasks: usize,
    /// How long they had.
    pub grace: Duration,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as on unix")]
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler there is no signal to wait for: the system's own end of the process holds.
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tripping_reaches_every_task_and_draining_waits_for_all() {
        let shutdown = Shutdown::new();
        for _ in 0..3 {
            let token = shutdown.token();
            shutdown.spawn(async move {
                token.cancelled().await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            });
        }
        assert!(!shutdown.is_tripped());
        shutdown.clone().trip();
        shutdown.tripped().await;
        let grace = Duration::from_secs(2);
        assert_eq!(
            shutdown.drained(grace).await,
            Err(StillRunning { n_tasks: 3, grace })
        );
        assert_eq!(shutdown.drained(Duration::from_secs(10)).await, Ok(()));
    }

    /// Runs the ignored test below in a process of its own and waits until it listens.
    fn spawn_child() -> (Child, impl Iterator<Item = String>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "shutdown::tests::child_waits_for_signals",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|it| Some(it.split_once("child: ")?.1.to_owned()));
        assert_eq!(lines.next().as_deref(), Some("listening"));
        (child, lines)
    }

    fn send(signal: &str, child: &Child) {
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    #[test]
    fn a_first_signal_trips_and_a_second_ends_the_process() {
        for signal in ["-TERM", "-INT"] {
            let (mut child, mut lines) = spawn_child();
            send(signal, &child);
            assert_eq!(lines.next().as_deref(), Some("tripped"));
            assert!(
                child.try_wait().unwrap().is_none(),
                "the first signal ended it"
            );
            send(signal, &child);
            assert_eq!(child.wait().unwrap().code(), Some(EXIT_INTERRUPTED));
        }
    }

    fn say(line: &str) {
        let mut output = std::io::stdout().lock();
        writeln!(output, "child: {line}").unwrap();
        output.flush().unwrap();
    }

    #[ignore = "the other process of `a_first_signal_trips_and_a_second_ends_the_process`"]
    #[tokio::test]
    async fn child_waits_for_signals() {
        let shutdown = Shutdown::on_signals().unwrap();
        say("listening");
        shutdown.tripped().await;
        say("tripped");
        // Ends by itself when its parent is gone.
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}
