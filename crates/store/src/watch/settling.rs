//! Which files have stood still for long enough. Pure: times and sizes come from the caller.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What changes when somebody writes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    print: Print,
    since: Instant,
}

/// Files that changed lately.
#[derive(Debug)]
pub(super) struct Settling {
    time: Duration,
    files: HashMap<PathBuf, Noted>,
}

impl Settling {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            time,
            files: HashMap::new(),
        }
    }

    /// A file was seen. One that is known and looks the same goes on settling.
    pub(super) fn note(&mut self, path: PathBuf, print: Print, now: Instant) {
        let noted = self
            .files
            .entry(path)
            .or_insert(Noted { print, since: now });
        if noted.print != print {
            *noted = Noted { print, since: now };
        }
    }

    /// A file is gone.
    pub(super) fn forget(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Takes out the files that stood still, in the order of their paths; `look` says how a file is now.
    pub(super) fn settled(
        &mut self,
        now: Instant,
        look: impl Fn(&Path) -> Option<Print>,
    ) -> Vec<PathBuf> {
        let due = |noted: &Noted| now.saturating_duration_since(noted.since) >= self.time;
        let mut paths: Vec<PathBuf> = self
            .files
            .iter()
            .filter(|(_, noted)| due(noted))
            .map(|(path, _)| path.clone())
            .collect();
        paths.retain(|path| {
            let Some(print) = look(path) else {
                self.files.remove(path);
                return false;
            };
            let stood_still = self.files.get(path).is_some_and(|it| it.print == print);
            if stood_still {
                self.files.remove(path);
            } else {
                self.note(path.clone(), print, now);
            }
            stood_still
        });
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    fn print(size: u64) -> Print {
        Print {
            size,
            modified: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_growing_file_settles_only_after_its_last_growth() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut settling = Settling::new(SETTLE);
        settling.note("a".into(), print(1), at(0));
        settling.note("a".into(), print(2), at(1500));
        assert!(settling.settled(at(2000), |_| Some(print(2))).is_empty());
        // Grown without an event.
        assert!(settling.settled(at(3500), |_| Some(print(3))).is_empty());
        assert!(settling.settled(at(5499), |_| Some(print(3))).is_empty());
        assert_eq!(
            settling.settled(at(5500), |_| Some(print(3))),
            [PathBuf::from("a")]
        );
        assert!(settling.settled(at(9000), |_| Some(print(3))).is_empty());
    }

    #[test]
    fn a_file_that_is_gone_does_not_settle() {
        let start = Instant::now();
        let mut settling = Settling::new(SETTLE);
        settling.note("a".into(), print(1), start);
        assert!(settling.settled(start + SETTLE, |_| None).is_empty());
        assert!(
            settling
                .settled(start + SETTLE, |_| Some(print(1)))
                .is_empty()
        );
    }

    /// Being looked at twice, by an event and by a scan, must not start the time anew.
    #[test]
    fn seeing_the_same_file_again_goes_on_settling() {
        let start = Instant::now();
        let mut settling = Settling::new(SETTLE);
        settling.note("a".into(), print(1), start);
        settling.note("a".into(), print(1), start + SETTLE / 2);
        assert_eq!(
            settling.settled(start + SETTLE, |_| Some(print(1))).len(),
            1
        );
    }
}
