//! Bounded attempts with growing, jittered pauses.

use std::time::Duration;

use crate::Error;
use crate::chance::Chance;

/// With pauses that grow to [`LONGEST_PAUSE`] these are about six seconds: longer than a storm of
/// swaps on one document lasts, shorter than a heartbeat is old.
const MAX_ATTEMPTS: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Counts the attempts of one conditional write and paces them.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
    last: Option<Error>,
}

impl Attempts {
    /// Notes a failure.
    pub(crate) fn failed(&mut self, error: Error) {
        self.failed += 1;
        self.last = Some(error);
    }

    /// The error to give up with, once there were enough failures.
    pub(crate) fn exhausted(&mut self, key: &str) -> Option<Error> {
        if self.failed < MAX_ATTEMPTS {
            return None;
        }
        Some(match self.last.take() {
            Some(Error::Conflict { .. }) | None => Error::Conflict {
                key: key.to_owned(),
                attempts: self.failed,
            },
            Some(error) => error,
        })
    }

    /// Waits before the next attempt: not at all before the first, then a random part of a doubling pause,
    /// so that those who collided do not collide again.
    pub(crate) async fn pause(&self, chance: &Chance) {
        if self.failed > 0 {
            pause(self.failed, chance).await;
        }
    }
}

/// Waits after `failed` attempts.
pub(crate) async fn pause(failed: u32, chance: &Chance) {
    let longest = (FIRST_PAUSE * (1 << failed.min(16))).min(LONGEST_PAUSE);
    tokio::time::sleep(chance.below(longest)).await;
}
