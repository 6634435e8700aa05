//! The thread that watches.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc as events;
use std::time::{Duration, Instant, SystemTime};

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Found;
use super::settling::Settling;
use super::tree::{Tree, print_of};
use crate::folder;

/// What waits to be taken; the thread stops watching meanwhile and the system keeps the events for it.
const WAITING: usize = 1024;

/// How often the folders are looked through when the system does not tell what changed.
const POLL: Duration = Duration::from_secs(10);

/// How long before an overflow something may have been missed.
const OVERFLOW_SLACK: Duration = Duration::from_secs(10);

/// Stamps of files come from a coarser clock than ours.
pub(super) const STAMP_SLACK: Duration = Duration::from_millis(20);

/// Why a folder cannot be watched at all.
#[derive(Debug, thiserror::Error)]
#[error("folder `{root}` cannot be watched")]
pub struct WatchError {
    root: String,
    #[source]
    source: std::io::Error,
}

/// Watches the prefixes of a root and reports each file once it stood still for `settle`. Ends when the
/// receiver is dropped.
///
/// `root` is [`Store::root`](crate::Store::root); the prefixes are whole segments and need not exist yet. Where the
/// system's watches do not suffice the folders are looked through every ten seconds instead, which is logged.
pub fn start(
    root: &Path,
    prefixes: &[&str],
    settle: Duration,
) -> Result<mpsc::Receiver<Found>, WatchError> {
    start_as(root, prefixes, settle, Source::System, POLL)
}

pub(super) fn start_as(
    root: &Path,
    prefixes: &[&str],
    settle: Duration,
    source: Source,
    poll: Duration,
) -> Result<mpsc::Receiver<Found>, WatchError> {
    let failed = |source| WatchError {
        root: root.display().to_string(),
        source,
    };
    let root = root.canonicalize().map_err(failed)?;
    let (found, receiver) = mpsc::channel(WAITING);
    let places = prefixes
        .iter()
        .map(|prefix| Place {
            folder: root.join(prefix.trim_end_matches('/')),
            identity: None,
        })
        .collect();
    let mut watch = Watch {
        root: root.clone(),
        places,
        tree: Tree::new(settle),
        settling: Settling::new(settle),
        found,
        tick: (settle / 8).clamp(Duration::from_millis(10), Duration::from_millis(250)),
        poll,
        polled: Polled {
            at: Instant::now(),
            since: SystemTime::now() - STAMP_SLACK,
        },
        quiet_since: SystemTime::now(),
        watcher: None,
    };
    let (sender, events) = events::channel();
    if source == Source::System {
        watch.attach(&sender);
    }
    watch.begin();
    std::thread::Builder::new()
        .name("folder-watch".to_owned())
        .spawn(move || watch.run(&sender, &events))
        .map_err(failed)?;
    Ok(receiver)
}

/// Who tells what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    System,
    #[cfg(test)]
    Polling,
}

/// A prefix, and which folder had its name when it was last looked at.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    identity: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Polled {
    at: Instant,
    since: SystemTime,
}

type Told = notify::Result<Event>;

struct Watch {
    root: PathBuf,
    places: Vec<Place>,
    tree: Tree,
    settling: Settling,
    found: mpsc::Sender<Found>,
    tick: Duration,
    poll: Duration,
    polled: Polled,
    /// When last no event was waiting.
    quiet_since: SystemTime,
    /// `None` when the folders are polled.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Asks the system to tell; if it will not, the folders are polled.
    fn attach(&mut self, sender: &events::Sender<Told>) {
        let sender = sender.clone();
        let config = notify::Config::default().with_follow_symlinks(false);
        // A closed channel means that the thread has ended, and the watcher with it.
        let tell = move |event| drop(sender.send(event));
        self.watcher = RecommendedWatcher::new(tell, config)
            .inspect_err(warn_polling)
            .ok();
    }

    fn begin(&mut self) {
        for index in 0..self.places.len() {
            if self.watch_place(index) {
                self.tree.learn(&self.places[index].folder);
            }
        }
    }

    /// Begins to watch the folder that has the name of a place now, `false` when there is none or it is watched already.
    fn watch_place(&mut self, index: usize) -> bool {
        let place = &mut self.places[index];
        let metadata = place.folder.symlink_metadata();
        let identity = metadata
            .ok()
            .filter(std::fs::Metadata::is_dir)
            .map(|it| (it.dev(), it.ino()));
        if identity == place.identity {
            return false;
        }
        place.identity = identity;
        if identity.is_none() {
            return false;
        }
        if let Some(watcher) = &mut self.watcher
            && let Err(error) = watcher.watch(&place.folder, RecursiveMode::Recursive)
        {
            // Gone again is seen at the next tick; anything else will not get better by itself.
            if matches!(error.kind, notify::ErrorKind::PathNotFound) {
                place.identity = None;
                return false;
            }
            warn_polling(&error);
            self.watcher = None;
        }
        true
    }

    fn run(mut self, sender: &events::Sender<Told>, events: &events::Receiver<Told>) {
        let mut next_tick = Instant::now() + self.tick;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match events.recv_timeout(wait) {
                Ok(told) => self.hear(told, sender),
                Err(_) => self.quiet_since = SystemTime::now(),
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + self.tick;
                if !self.check(now) {
                    return;
                }
            }
        }
    }

    fn hear(&mut self, told: Told, sender: &events::Sender<Told>) {
        let now = Instant::now();
        match told {
            Ok(event) if event.need_rescan() => {
                tracing::warn!("folder watch overflowed, looking through the folders");
                self.watcher = None;
                self.attach(sender);
                for place in &mut self.places {
                    place.identity = None;
                }
                let since = self.quiet_since - OVERFLOW_SLACK;
                for index in 0..self.places.len() {
                    if self.watch_place(index) {
                        let folder = self.places[index].folder.clone();
                        self.tree.rescan(&folder, since, &mut self.settling, now);
                    }
                }
            }
            Ok(event) => self.hear_event(&event, now),
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                warn_polling(&error);
                self.watcher = None;
                self.polled.since = self.quiet_since - OVERFLOW_SLACK;
            }
            Err(error) => tracing::debug!(%error, "folder watch could not tell about a path"),
        }
    }

    fn hear_event(&mut self, event: &Event, now: Instant) {
        match event.kind {
            // Also our own reading is told; a file is not new because somebody reads it.
            EventKind::Access(_) => {}
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                for path in &event.paths {
                    self.tree.forget(path);
                    self.settling.forget(path);
                    // A folder made in its place may have the same inode.
                    for place in self.places.iter_mut().filter(|it| it.folder == *path) {
                        place.identity = None;
                    }
                }
            }
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
                for path in &event.paths {
                    self.see(path, now);
                }
            }
        }
    }

    fn see(&mut self, path: &Path, now: Instant) {
        match path.symlink_metadata() {
            Ok(it) if it.is_dir() => self.tree.found_folder(path, &mut self.settling, now),
            Ok(it) => self.settling.note(path.to_owned(), print_of(&it), now),
            Err(_) => self.settling.forget(path),
        }
    }

    /// The work of a tick; `false` when nobody listens any more.
    fn check(&mut self, now: Instant) -> bool {
        for index in 0..self.places.len() {
            if self.watch_place(index) {
                // Made, or made anew, while we watched.
                let folder = self.places[index].folder.clone();
                self.tree.forget(&folder);
                self.tree.found_folder(&folder, &mut self.settling, now);
            }
        }
        if self.watcher.is_none() && now.saturating_duration_since(self.polled.at) >= self.poll {
            self.poll(now);
        }
        // Before anything is reported, so that a file seen by an event is still settling when a look sees it again.
        self.tree.look_again(&mut self.settling, now);
        let look = |path: &Path| path.symlink_metadata().ok().map(|it| print_of(&it));
        for path in self.settling.settled(now, look) {
            let found = judge(&self.root, path);
            if self.found.blocking_send(found).is_err() {
                return false;
            }
        }
        !self.found.is_closed()
    }

    fn poll(&mut self, now: Instant) {
        let since = self.polled.since;
        self.polled = Polled {
            at: now,
            since: SystemTime::now() - STAMP_SLACK,
        };
        for index in 0..self.places.len() {
            let folder = self.places[index].folder.clone();
            if self.places[index].identity.is_some() {
                self.tree.rescan(&folder, since, &mut self.settling, now);
            }
        }
    }
}

fn warn_polling(error: &notify::Error) {
    tracing::warn!(%error, poll = ?POLL, "folders cannot be watched, looking through them instead");
}

/// What a settled path is.
fn judge(root: &Path, path: PathBuf) -> Found {
    let reason = match path.symlink_metadata() {
        Ok(it) if it.is_symlink() => "a symbolic link, which is not followed".to_owned(),
        Ok(it) if !it.is_file() => "not a regular file".to_owned(),
        _ => match folder::key_of(root, &path) {
            Ok(key) => return Found::Key(key),
            Err(reason) => reason,
        },
    };
    Found::Unusable { path, reason }
}
