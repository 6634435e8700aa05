//! How long things took, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges of the buckets, in seconds: from what memory answers to what a large listing takes.
pub(super) const EDGES_S: [f64; 11] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Counts durations. Adding to it takes no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many fell into each bucket, not into those before it; the last is beyond all edges.
    buckets: [AtomicU64; EDGES_S.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = EDGES_S.partition_point(|edge| *edge < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// For each edge how many took no longer; then all of them, and what they took together, in seconds.
    pub(super) fn read(&self) -> ([u64; EDGES_S.len()], u64, f64) {
        let mut up_to = [0; EDGES_S.len()];
        let mut n = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            n += bucket.load(Ordering::Relaxed);
            if let Some(it) = up_to.get_mut(at) {
                *it = n;
            }
        }
        let sum_s = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        (up_to, n, sum_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::default();
        for ms in [1, 2, 3, 100_000] {
            histogram.add(Duration::from_millis(ms));
        }
        let (up_to, n, sum_s) = histogram.read();
        assert_eq!((up_to[0], up_to[1], up_to[10], n), (2, 3, 3, 4));
        assert!((sum_s - 100.006).abs() < 1e-9, "{sum_s}");
    }
}
