//! The store's clock: leases are judged by the stamps of the storage, so also "now" must be its time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The time of a storage that tells it with every answer. Clones are the same clock.
///
/// Nobody has to ask for it: a lease is judged on a record that was just read, and that answer brought the time.
#[derive(Clone, Debug, Default)]
pub struct StorageClock(Arc<Mutex<Option<Offset>>>);

impl StorageClock {
    /// An answer of this `Date` came.
    ///
    /// A date is cut to whole seconds and older by the way back, so of two offsets the later one is nearer to the
    /// truth; an old one goes whatever it says, as oscillators drift.
    pub fn heard(&self, date: DateTime<Utc>, received: Instant) {
        let heard = Offset::of_answer(date, received);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keeps =
            known.is_some_and(|known| !known.is_stale(received) && known.now(received) >= date);
        if !keeps {
            *known = Some(heard);
        }
    }

    /// The storage's time when the monotonic clock shows `instant`; `None` before the first answer.
    pub fn at(&self, instant: Instant) -> Option<DateTime<Utc>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(|it| it.now(instant))
    }
}

/// A time that somebody else makes, such as the virtual one of a simulation.
pub type GivenClock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Where a store takes its time from.
#[derive(Clone)]
pub(crate) enum Clock {
    /// Memory and folder: their stamps are made by this machine's clock.
    System,
    /// Memory whose time somebody else makes.
    Given(GivenClock),
    /// A bucket: its stamps are made elsewhere.
    #[cfg(feature = "aws")]
    Storage(StorageClock),
}

impl Clock {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Given(clock) => clock(),
            #[cfg(feature = "aws")]
            // A store is opened by asking it, so the first answer was there.
            Self::Storage(clock) => clock.at(Instant::now()).unwrap_or_else(Utc::now),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Given(_) => "Given",
            #[cfg(feature = "aws")]
            Self::Storage(_) => "Storage",
        })
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
    fn of_two_answers_the_later_time_counts_until_it_is_old() {
        let clock = StorageClock::default();
        let start = Instant::now();
        clock.heard(date() + chrono::Duration::seconds(1), start);
        // The second has just begun here, and was about to end there.
        clock.heard(date(), start);
        let offset = |clock: &StorageClock| clock.0.lock().unwrap().unwrap();
        assert_eq!(
            offset(&clock).now(start),
            date() + chrono::Duration::seconds(1)
        );
        let later = start + MAX_AGE + Duration::from_secs(1);
        clock.heard(date(), later);
        assert_eq!(offset(&clock).now(later), date());
    }

    #[test]
    fn an_offset_is_stale_after_ten_minutes() {
        let start = Instant::now();
        let offset = Offset::of_answer(date(), start);
        assert!(!offset.is_stale(start + MAX_AGE));
        assert!(offset.is_stale(start + MAX_AGE + Duration::from_millis(1)));
    }
}
