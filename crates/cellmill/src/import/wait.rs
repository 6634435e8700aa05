//! Waiting until the server has decided on every file.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cellmill_api::views::{FileKind, KeyState, KeyStatus};

use crate::client::{self, Client};

use super::progress::Progress;
use super::send::patiently;

/// The most keys that one question may hold.
const ASKED_AT_ONCE: usize = 1000;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A file that lies on the server.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    pub(super) key: String,
    pub(super) kind: FileKind,
    /// What an image and its points have in common.
    pub(super) subject: String,
    pub(super) batch: String,
    pub(super) case: String,
    /// On this machine.
    pub(super) path: PathBuf,
}

/// What the server decided, by key. Files that it had not decided on when patience ended are missing.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    pub(super) final_states: HashMap<String, KeyStatus>,
}

/// Asks until every file has a final state, or nothing moved for `stall`.
pub(super) async fn wait_for(
    client: &Client,
    files: Vec<Awaited>,
    stall: Duration,
    progress: &Progress,
) -> Result<Decisions, client::Error> {
    let mut rules = Rules::of(&files);
    let mut pending: VecDeque<Awaited> = files.into();
    let mut decisions = Decisions::default();
    let mut moved_at = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    while !pending.is_empty() && moved_at.elapsed() < stall {
        // Only some are asked for at a time, so that a large import does not make the server read all its
        // records over and over; those without an answer go to the end of the line.
        let asked: Vec<Awaited> = pending.drain(..pending.len().min(ASKED_AT_ONCE)).collect();
        let keys: Vec<String> = asked.iter().map(|it| it.key.clone()).collect();
        let items = patiently(|| client.status(&keys)).await?;
        let mut by_key: HashMap<String, KeyStatus> =
            items.into_iter().map(|it| (it.key.clone(), it)).collect();
        let n_before = decisions.final_states.len();
        for file in asked {
            match by_key.remove(&file.key) {
                Some(item) if rules.is_final(&file, &item) => {
                    rules.note(&file, &item);
                    decisions.final_states.insert(file.key, item);
                }
                _ => pending.push_back(file),
            }
        }
        progress.set(decisions.final_states.len() as u64);
        if decisions.final_states.len() > n_before {
            moved_at = Instant::now();
            pause = SHORTEST_PAUSE;
        } else {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if !pending.is_empty() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(decisions)
}

/// When a state is the last word.
#[derive(Debug)]
struct Rules {
    /// Subjects whose image is here and may still become good, or is.
    hopeful: HashSet<String>,
}

impl Rules {
    fn of(files: &[Awaited]) -> Self {
        let images = files.iter().filter(|it| it.kind == FileKind::Image);
        Self {
            hopeful: images.map(|it| it.subject.clone()).collect(),
        }
    }

    /// An image that came to nothing lets its points wait for good.
    fn note(&mut self, file: &Awaited, item: &KeyStatus) {
        if file.kind == FileKind::Image && item.state == KeyState::Rejected {
            self.hopeful.remove(&file.subject);
        }
    }

    /// The server answers `unknown` while it has not looked at the bytes that lie there now.
    fn is_final(&self, file: &Awaited, item: &KeyStatus) -> bool {
        match item.state {
            KeyState::Unknown | KeyState::Expected => false,
            KeyState::Waiting => !self.hopeful.contains(&file.subject),
            KeyState::Ok | KeyState::Rejected | KeyState::Conflict | KeyState::Applied => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, kind: FileKind) -> Awaited {
        Awaited {
            key: key.to_owned(),
            kind,
            subject: "b/c/x".to_owned(),
            batch: "b".to_owned(),
            case: "c".to_owned(),
            path: PathBuf::new(),
        }
    }

    fn item(key: &str, state: KeyState) -> KeyStatus {
        KeyStatus {
            key: key.to_owned(),
            state,
            code: None,
            reason: None,
        }
    }

    #[test]
    fn points_that_wait_are_final_only_when_no_image_can_come() {
        let image = file("img", FileKind::Image);
        let points = file("csv", FileKind::Points);
        let waiting = item("csv", KeyState::Waiting);
        let mut rules = Rules::of(&[image.clone(), points.clone()]);
        assert!(!rules.is_final(&points, &waiting));
        rules.note(&image, &item("img", KeyState::Ok));
        assert!(!rules.is_final(&points, &waiting), "they will be applied");
        rules.note(&image, &item("img", KeyState::Rejected));
        assert!(rules.is_final(&points, &waiting));
        assert!(
            Rules::of(std::slice::from_ref(&points)).is_final(&points, &waiting),
            "no image in this import"
        );
    }
}
