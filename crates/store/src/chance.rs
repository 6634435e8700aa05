//! Where a store takes its random numbers from: the pauses between attempts, the ids of writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use ulid::Ulid;

/// Clones draw from the same source.
#[derive(Clone, Debug, Default)]
pub(crate) enum Chance {
    /// This machine's.
    #[default]
    System,
    /// The same numbers in every run: a simulation is repeated by its seed.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A duration below `longest`, which is not zero.
    pub(crate) fn below(&self, longest: Duration) -> Duration {
        let range = Duration::ZERO..longest;
        match self {
            Self::System => rand::rng().random_range(range),
            Self::Seeded(random) => lock(random).random_range(range),
        }
    }

    /// A new id, whose beginning is `now`.
    pub(crate) fn ulid(&self, now: DateTime<Utc>) -> Ulid {
        match self {
            Self::System => Ulid::from_datetime(now.into()),
            Self::Seeded(random) => {
                let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
                Ulid::from_parts(now_ms, lock(random).random())
            }
        }
    }
}

fn lock(random: &Mutex<StdRng>) -> std::sync::MutexGuard<'_, StdRng> {
    random.lock().unwrap_or_else(PoisonError::into_inner)
}
