//! The folders under watch, and how what lies in them is found by looking.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::settling::{Print, Settling};

/// Folders that are known, and new ones that are still looked into.
#[derive(Debug)]
pub(super) struct Tree {
    known: HashSet<PathBuf>,
    /// The watch of a new folder begins some time after it is made, and nobody tells of what came into it
    /// before that. So it is looked into at once and again after each `pause`, until a look finds nothing new.
    fresh: HashMap<PathBuf, Fresh>,
    pause: Duration,
}

#[derive(Debug)]
struct Fresh {
    next_look: Instant,
    seen: HashSet<OsString>,
    looks: u32,
}

impl Tree {
    /// `pause` is at most the settling time: then whatever is seen between two looks is still settling at the second.
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            known: HashSet::new(),
            fresh: HashMap::new(),
            pause,
        }
    }

    /// Takes a folder and all below as known, with what is in them.
    pub(super) fn learn(&mut self, folder: &Path) {
        self.known.insert(folder.to_owned());
        for entry in entries(folder) {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                self.learn(&entry.path());
            }
        }
    }

    /// A folder is there; if it is a new one, everything in it is noted.
    pub(super) fn found_folder(&mut self, folder: &Path, settling: &mut Settling, now: Instant) {
        if self.known.insert(folder.to_owned()) {
            let fresh = Fresh {
                next_look: now,
                seen: HashSet::new(),
                looks: 0,
            };
            self.fresh.insert(folder.to_owned(), fresh);
            self.look(folder, settling, now);
        }
    }

    /// A path is gone, with everything below.
    pub(super) fn forget(&mut self, path: &Path) {
        if self.known.contains(path) {
            self.known.retain(|folder| !folder.starts_with(path));
            self.fresh.retain(|folder, _| !folder.starts_with(path));
        }
    }

    /// Looks again into the new folders whose time has come.
    pub(super) fn look_again(&mut self, settling: &mut Settling, now: Instant) {
        let due: Vec<PathBuf> = self
            .fresh
            .iter()
            .filter(|(_, fresh)| fresh.next_look <= now)
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in due {
            self.look(&folder, settling, now);
        }
    }

    fn look(&mut self, folder: &Path, settling: &mut Settling, now: Instant) {
        let Some(mut fresh) = self.fresh.remove(folder) else {
            return;
        };
        let mut is_quiet = true;
        for entry in entries(folder) {
            if !fresh.seen.insert(entry.file_name()) {
                continue;
            }
            is_quiet = false;
            match entry.metadata() {
                Ok(it) if it.is_dir() => self.found_folder(&entry.path(), settling, now),
                Ok(it) => settling.note(entry.path(), print_of(&it), now),
                Err(_) => {} // Gone again.
            }
        }
        fresh.looks += 1;
        if fresh.looks < 2 || !is_quiet {
            fresh.next_look = now + self.pause;
            self.fresh.insert(folder.to_owned(), fresh);
        }
    }

    /// Looks through a known folder and all below for what changed since a time, when nobody told.
    pub(super) fn rescan(
        &mut self,
        folder: &Path,
        since: SystemTime,
        settling: &mut Settling,
        now: Instant,
    ) {
        if !self.known.contains(folder) {
            self.found_folder(folder, settling, now);
            return;
        }
        for entry in entries(folder) {
            match entry.metadata() {
                Ok(it) if it.is_dir() => self.rescan(&entry.path(), since, settling, now),
                Ok(it) if changed(&it) >= since => {
                    settling.note(entry.path(), print_of(&it), now);
                }
                _ => {}
            }
        }
    }
}

/// A folder that cannot be read, or is gone, has nothing to find.
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

/// When the file came to be what and where it is: other than the time of modification, this one is not carried
/// along by `cp -p` or a move.
fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

pub(super) fn print_of(metadata: &Metadata) -> Print {
    Print {
        size: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    }
}
