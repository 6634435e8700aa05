//! A program as a process group of its own: what it says, and how it is ended with everything that it started.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc as threads;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cellmill_worker::Failure;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc;

use super::folder::Folder;

/// A longer line is cut: nothing that is meant for us is so long.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Lines that may wait to be taken; then the program waits.
const BUFFER: usize = 256;
/// What is still in the pipes when the program has ended comes within this, unless something outlived it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Something that a program said or did.
#[derive(Debug)]
pub(super) enum Said {
    /// A line of its standard output.
    Out(String),
    /// A line of its standard error.
    Err(String),
    /// It ended. Nothing comes after it.
    Ended(ExitStatus),
}

/// A running program. When it is dropped it is asked to end, and killed after the grace.
#[derive(Debug)]
pub(super) struct Child {
    group: Arc<Group>,
    to: threads::Sender<&'static str>,
    said: mpsc::Receiver<Said>,
    grace: Duration,
}

/// All processes of a program. Its number is ours until the program is waited for, so signals meet nobody else.
#[derive(Debug)]
struct Group {
    id: Pid,
    has_ended: Mutex<bool>,
}

impl Group {
    fn has_ended(&self) -> MutexGuard<'_, bool> {
        self.has_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let has_ended = self.has_ended();
        if !*has_ended {
            // It may be ending just now.
            let _ = kill_process_group(self.id, signal);
        }
    }
}

impl Child {
    /// Starts a line of the shell and gives it its first line.
    pub(super) fn start(
        command: &str,
        folder: &Folder,
        line: &str,
        grace: Duration,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::temporary(format!("could not start `{command}`"), error)
        };
        let mut process = Command::new("sh")
            .args(["-c", command])
            .env("CELLMILL_FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what it starts is ended with it, and Ctrl-C in a terminal comes to us alone.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let lost = || failed(std::io::Error::other("its pipes are missing"));
        let stdin = process.stdin.take().ok_or_else(lost)?;
        let stdout = process.stdout.take().ok_or_else(lost)?;
        let stderr = process.stderr.take().ok_or_else(lost)?;
        let group = Arc::new(Group {
            id: Pid::from_child(&process),
            has_ended: Mutex::new(false),
        });
        let (said, hears) = mpsc::channel(BUFFER);
        let (to, first) = (write(stdin, line.to_owned()), said.clone());
        let (finished, readers) = threads::channel();
        let (out_finished, err_said) = (finished.clone(), said.clone());
        thread::spawn(move || {
            read(stdout, &out_finished, |line| {
                // Once nobody hears it, it is read on all the same: it must not stop at a full pipe.
                let _ = first.blocking_send(Said::Out(line));
            });
        });
        thread::spawn(move || {
            read(stderr, &finished, |line| {
                let _ = err_said.blocking_send(Said::Err(line));
            });
        });
        let waited = Arc::clone(&group);
        thread::spawn(move || wait(process, &waited, &readers, &said));
        Ok(Self {
            group,
            to,
            said: hears,
            grace,
        })
    }

    /// What it says next.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.said.recv().await
    }

    /// A person wants the best so far: it writes that and ends by itself.
    pub(super) fn ask_to_finish(&self) {
        let _ = self.to.send("{\"stop\":true}\n");
    }

    /// Its unit goes back: it may save a checkpoint and ends.
    pub(super) fn hand_back(&self) {
        let _ = self.to.send("{\"hand_back\":true}\n");
        self.group.signal(Signal::TERM);
    }

    /// Ends it, and all that it started, at once.
    pub(super) fn kill(&self) {
        self.group.signal(Signal::KILL);
    }
}

impl Drop for Child {
    /// Nobody wants its result any more: the job was cancelled, or another worker has the unit.
    fn drop(&mut self) {
        if *self.group.has_ended() {
            return;
        }
        let _ = self.to.send("{\"cancel\":true}\n");
        self.group.signal(Signal::TERM);
        let (group, grace) = (Arc::clone(&self.group), self.grace);
        thread::spawn(move || {
            let until = Instant::now() + grace;
            while Instant::now() < until && !*group.has_ended() {
                thread::sleep(Duration::from_millis(20));
            }
            group.signal(Signal::KILL);
        });
    }
}

/// A thread that writes: a program that never reads must not hold anybody up. The pipe is closed when the sender is
/// dropped, which tells the program that its worker is gone.
fn write(mut stdin: ChildStdin, first: String) -> threads::Sender<&'static str> {
    let (sender, lines) = threads::channel::<&'static str>();
    thread::spawn(move || {
        let mut written = stdin.write_all(first.as_bytes());
        while let (Ok(()), Ok(line)) = (&written, lines.recv()) {
            written = stdin.write_all(line.as_bytes());
        }
    });
    sender
}

fn read(pipe: impl Read, finished: &threads::Sender<()>, say: impl Fn(String)) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(n) = (&mut pipe)
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
    {
        if n == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            say(text.to_owned());
        }
        line.clear();
    }
    let _ = finished.send(());
}

fn wait(
    mut process: Process,
    group: &Group,
    readers: &threads::Receiver<()>,
    said: &mpsc::Sender<Said>,
) {
    let id = WaitId::Pid(group.id);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(id.clone(), options), Err(rustix::io::Errno::INTR)) {}
    {
        let mut has_ended = group.has_ended();
        // What it left behind would keep its pipes open, and run on for nobody.
        let _ = kill_process_group(group.id, Signal::KILL);
        *has_ended = true;
    }
    let Ok(status) = process.wait() else {
        return;
    };
    let until = Instant::now() + LAST_WORDS;
    for _ in 0..2 {
        let left = until.saturating_duration_since(Instant::now());
        let _ = readers.recv_timeout(left);
    }
    let _ = said.blocking_send(Said::Ended(status));
}
