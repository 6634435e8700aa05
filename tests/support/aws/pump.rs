//! A pump between the bucket's notifications and the queues: repeats, shuffles and drops events by a seed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

use super::events;
use super::objects::Listed;
use super::queues::{MAX_BATCH, Queue};

/// How events come out.
#[derive(Clone, Copy, Debug)]
pub struct Pump {
    pub seed: u64,
    /// Of all events.
    pub share_dropped: f64,
    /// An event that is not dropped is delivered 1 to this many times.
    pub max_deliveries: u32,
}

/// Where events go.
#[derive(Clone, Debug)]
pub struct Outlets {
    pub uploads: Queue,
    pub points: Queue,
}

/// What the pump did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pumped {
    pub events: u64,
    pub dropped: u64,
    pub deliveries: u64,
}

/// Calls on their way at once.
const PARALLEL: usize = 8;

impl Pump {
    /// Each event 1 to 5 times in any order, one of ten never.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            share_dropped: 0.1,
            max_deliveries: 5,
        }
    }

    /// Every event once, in order: what an undisturbed run gets.
    pub const fn calm() -> Self {
        Self {
            seed: 0,
            share_dropped: 0.0,
            max_deliveries: 1,
        }
    }

    /// Delivers events about objects of a bucket.
    pub async fn deliver(
        &self,
        bucket: &str,
        objects: &[Listed],
        outlets: &Outlets,
    ) -> Result<Pumped> {
        let bodies = objects.iter().zip(1..);
        let bodies: Vec<String> = bodies
            .map(|(object, nth)| events::created(bucket, object, nth))
            .collect();
        self.pump(&bodies, outlets).await
    }

    /// Delivers what a bucket sent to `staging`, which is empty afterwards.
    pub async fn relay(&self, staging: &Queue, outlets: &Outlets) -> Result<Pumped> {
        let bodies = staging.drain().await.context("empty the staging queue")?;
        self.pump(&events::apart(&bodies), outlets).await
    }

    async fn pump(&self, bodies: &[String], outlets: &Outlets) -> Result<Pumped> {
        let order = self.order(bodies.len());
        let mut pumped = Pumped {
            events: bodies.len() as u64,
            deliveries: order.len() as u64,
            dropped: 0,
        };
        let mut times = vec![0_u32; bodies.len()];
        let mut by_queue: BTreeMap<bool, Vec<String>> = BTreeMap::new();
        for at in order {
            times[at] += 1;
            by_queue
                .entry(is_points(&bodies[at])?)
                .or_default()
                .push(bodies[at].clone());
        }
        pumped.dropped = times.iter().filter(|it| **it == 0).count() as u64;
        let batches = by_queue.iter().flat_map(|(is_points, bodies)| {
            let queue = if *is_points {
                &outlets.points
            } else {
                &outlets.uploads
            };
            bodies.chunks(MAX_BATCH).map(move |it| (queue, it))
        });
        stream::iter(batches.collect::<Vec<_>>())
            .map(|(queue, batch)| async move { queue.send(batch).await })
            .buffered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(pumped)
    }

    /// The places of the events in the order in which they are delivered.
    fn order(&self, n: usize) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut order = Vec::new();
        for at in 0..n {
            if random.random_bool(self.share_dropped) {
                continue;
            }
            let times = random.random_range(1..=self.max_deliveries);
            order.extend(std::iter::repeat_n(at, times as usize));
        }
        if self.max_deliveries > 1 {
            order.shuffle(&mut random);
        }
        order
    }
}

/// Whose event it is: points or an image. No other keys have events.
fn is_points(body: &str) -> Result<bool> {
    let key = events::raw_key(body).context("a message about an object")?;
    match key.split('/').next() {
        Some("csv") => Ok(true),
        Some("img" | "scratch") => Ok(false),
        _ => bail!("nothing is started by {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_dropped_and_the_rest_comes_one_to_five_times() {
        let order = Pump::new(11).order(10_000);
        let mut times = vec![0; 10_000];
        for at in &order {
            times[*at] += 1;
        }
        let n_dropped = times.iter().filter(|it| **it == 0).count();
        assert!((900..1100).contains(&n_dropped), "{n_dropped} dropped");
        assert_eq!(times.iter().max(), Some(&5));
        assert!(!order.is_sorted());
        assert_eq!(order, Pump::new(11).order(10_000));
        assert_ne!(order, Pump::new(12).order(10_000));
    }

    #[test]
    fn a_calm_pump_changes_nothing() {
        assert_eq!(Pump::calm().order(4), [0, 1, 2, 3]);
    }

    #[test]
    fn events_go_to_the_queue_of_their_folder() {
        let body = |key: &str| {
            let object = Listed {
                key: key.to_owned(),
                bytes: 1,
                etag: String::new(),
            };
            events::created("b", &object, 1)
        };
        assert!(is_points(&body("csv/b/2019-7-22/c/a.csv")).unwrap());
        assert!(!is_points(&body("scratch/img/b/c/Images/a.png")).unwrap());
        assert!(is_points(&body("records/x.json")).is_err());
    }
}
