//! The store's clock: leases are judged by the stamps of the storage, so also "now" must be its time.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// An offset older than this is measured anew, so that a drifting local oscillator cannot move a lease by a second.
pub const MAX_AGE: Duration = Duration::from_mins(10);

/// The storage's time as monotonic time plus the offset of its last `Date` header.
///
/// Pure: the caller says what the monotonic clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    at: Instant,
    date: DateTime<Utc>,
}

impl Offset {
    /// From the `Date` of an answer and the monotonic time at which it came.
    ///
    /// Our `now` is then behind the storage's by at most a second and the way back, and never ahead,
    /// so no lease is called over too early.
    pub fn of_answer(date: DateTime<Utc>, received: Instant) -> Self {
        Self { at: received, date }
    }

    /// The storage's time when the monotonic clock shows `instant`.
    pub fn now(&self, instant: Instant) -> DateTime<Utc> {
        let passed = instant.saturating_duration_since(self.at);
        let passed = chrono::Duration::from_std(passed).unwrap_or(chrono::Duration::MAX);
        self.date
            .checked_add_signed(passed)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Whether the offset is due to be measured again.
    pub fn is_stale(&self, instant: Instant) -> bool {
        instant.saturating_duration_since(self.at) > MAX_AGE
    }
}

/// Where a store takes its time from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Memory and folder: their stamps are made by this machine's clock.
    System,
}

impl Clock {
    pub(crate) fn now(self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date() -> DateTime<Utc> {
        "2026-08-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_storages_time_runs_on_with_the_monotonic_clock() {
        let start = Instant::now();
        let offset = Offset::of_answer(date(), start);
        assert_eq!(offset.now(start), date());
        assert_eq!(
            offset.now(start + Duration::from_millis(1500)),
            date() + chrono::Duration::milliseconds(1500)
        );
    }

    /// Two threads may read the monotonic clock in one order and use it in the other.
    #[test]
    fn an_instant_before_the_answer_does_not_go_back() {
        let start = Instant::now();
        let offset = Offset::of_answer(date(), start + Duration::from_secs(5));
        assert_eq!(offset.now(start), date());
    }

    #[test]
    fn an_offset_is_stale_after_ten_minutes() {
        let start = Instant::now();
        let offset = Offset::of_answer(date(), start);
        assert!(!offset.is_stale(start + MAX_AGE));
        assert!(offset.is_stale(start + MAX_AGE + Duration::from_millis(1)));
    }
}
