//! Processes that are stopped in the middle of what they do and go on later: `SIGSTOP`, `SIGCONT`.
//!
//! To be called with the ids of children of this program, which can't have been given to others yet.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A thread that waits for the disk stops when the disk has answered.
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_micros(50);

/// Stops a process and waits until none of its threads runs any more. Blocking.
pub fn freeze(id: u32) -> Result<()> {
    signal(id, Signal::STOP)?;
    let begun = Instant::now();
    while !stands_still(id)? {
        if begun.elapsed() > LIMIT {
            bail!("process {id} did not stop within {LIMIT:?}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Lets a process go on.
pub fn thaw(id: u32) -> Result<()> {
    signal(id, Signal::CONT)
}

fn signal(id: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{id} is no process"))?;
    kill_process(pid, signal).with_context(|| format!("send {signal:?} to process {id}"))
}

fn stands_still(id: u32) -> Result<bool> {
    let threads = format!("/proc/{id}/task");
    for thread in fs::read_dir(&threads).with_context(|| format!("read {threads}"))? {
        let stat = thread.context("a thread")?.path().join("stat");
        // A thread that ended meanwhile runs no more.
        let Ok(stat) = fs::read_to_string(stat) else {
            continue;
        };
        if !matches!(state_of(&stat), Some('T' | 't' | 'Z' | 'X')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The letter behind the name, which may hold anything.
fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Does a process hold a lock on a file alone, so that others wait for it?
pub fn holds_a_lock(id: u32) -> Result<bool> {
    let locks = fs::read_to_string("/proc/locks").context("read /proc/locks")?;
    Ok(locks.lines().any(|it| holder(it) == Some(id)))
}

/// The process in a line of `/proc/locks` that has the lock alone. Locks for reading are shared, and an open SQLite
/// file always has one; a line with an arrow tells of one that waits.
fn holder(line: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_alone = fields.get(3) == Some(&"WRITE");
    let holder = fields.get(4).filter(|_| is_alone);
    holder.and_then(|it| it.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn states_and_holders_are_read() {
        assert_eq!(state_of("12 (a ) name) T 1 12 12"), Some('T'));
        let held = "3: FLOCK  ADVISORY  WRITE 4711 08:01:9 0 EOF";
        assert_eq!(holder(held), Some(4711));
        assert_eq!(holder(&held.replace("3: ", "3: -> ")), None);
        assert_eq!(holder(&held.replace("WRITE", "READ ")), None);
    }

    #[test]
    fn a_frozen_process_stands_still_until_it_is_thawed() {
        let mut child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let id = child.id();
        freeze(id).unwrap();
        assert!(stands_still(id).unwrap());
        thaw(id).unwrap();
        let begun = Instant::now();
        while stands_still(id).unwrap() {
            assert!(begun.elapsed() < LIMIT, "it does not go on");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
