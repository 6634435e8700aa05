//! The four times that a lease is made of, and the one rule that says when it is over.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Lease, heartbeat, self-stop and sweep, scaled together by one setting (DESIGN 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
}

impl Timing {
    /// 50 s: three heartbeats and a little.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(50);

    pub const fn of_lease(lease: Duration) -> Self {
        Self { lease }
    }

    pub const fn lease(self) -> Duration {
        self.lease
    }

    /// 15 s of a 50 s lease.
    pub fn heartbeat(self) -> Duration {
        self.lease.mul_f64(0.3)
    }

    /// A worker stops itself when its last good heartbeat *began* longer ago than this: 40 s of 50.
    pub fn self_stop(self) -> Duration {
        self.lease.mul_f64(0.8)
    }

    /// The janitor's sweep over units: 30 s of 50.
    pub fn sweep(self) -> Duration {
        self.lease.mul_f64(0.6)
    }

    /// The sweep of a worker without work: 20 s of 50.
    pub fn idle_sweep(self) -> Duration {
        self.lease.mul_f64(0.4)
    }

    /// A worker writes its own record once in this many heartbeats.
    pub const REGISTRATION: u32 = 4;

    /// Is nobody there any more whose worker record was last written at `last_modified`? It may miss one writing.
    pub fn is_gone(self, last_modified: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let silent = (now - last_modified).to_std().unwrap_or(Duration::ZERO);
        silent > self.heartbeat() * (2 * Self::REGISTRATION) + STAMP_SLACK
    }

    /// Is a lease over whose record was last written at `last_modified`?
    ///
    /// Both stamps are whole seconds, so two seconds are added: a lease must never be taken
    /// from a worker that still believes in it.
    pub fn is_over(self, last_modified: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let silent = (now - last_modified).to_std().unwrap_or(Duration::ZERO);
        silent > self.lease + STAMP_SLACK
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::of_lease(Self::DEFAULT_LEASE)
    }
}

/// What two stamps of whole seconds can be off together.
const STAMP_SLACK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_four_times_keep_their_order() {
        let timing = Timing::default();
        assert_eq!(timing.heartbeat(), Duration::from_secs(15));
        assert_eq!(timing.self_stop(), Duration::from_secs(40));
        assert_eq!(timing.sweep(), Duration::from_secs(30));
        assert_eq!(timing.idle_sweep(), Duration::from_secs(20));
    }

    #[test]
    fn a_lease_outlives_its_stamps_by_two_seconds() {
        let timing = Timing::default();
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
        assert!(!timing.is_over(now - TimeDelta::seconds(52), now));
        assert!(timing.is_over(now - TimeDelta::milliseconds(52_001), now));
        assert!(
            !timing.is_over(now + TimeDelta::seconds(5), now),
            "a stamp from the future is not over"
        );
    }
}
