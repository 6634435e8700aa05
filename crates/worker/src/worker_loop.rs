//! The loop around everything: hints in, units done.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::keys::UnitKey;
use cellmill_core::messages::UnitHint;
use cellmill_queue::{Outgoing, QueueName, Received};
use cellmill_service::health::Pulse;
use cellmill_service::metrics::Source;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::claim::{Claimed, Lease};
use crate::device::URGENT_PAUSE;
use crate::inner::Inner;
use crate::{Algorithm, Error, Options, Parts};

/// How long a hint rests that can't be followed yet.
const REST: Duration = Duration::from_secs(5);
/// How long handing back may take at shutdown: with the grace of 20 s this stays below 30 s.
const HAND_BACK: Duration = Duration::from_secs(8);
/// Urgent hints that are followed at a checkpoint before one that asks for something must have come.
const MAX_URGENT_LOOKS: usize = 10;
/// Pauses after errors of store or queue grow up to this.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// A worker: leases units and has algorithms work on them.
#[derive(Debug)]
pub struct WorkerLoop {
    inner: Arc<Inner>,
}

impl WorkerLoop {
    /// A worker that is not started yet. An algorithm serves each of its kinds; with [`Options::kinds`] only
    /// those asked for.
    pub fn new(
        parts: Parts,
        algorithms: Vec<Arc<dyn Algorithm>>,
        options: Options,
    ) -> Result<Self, Error> {
        let inner = Arc::new(Inner::new(parts, algorithms, options)?);
        Ok(Self { inner })
    }

    /// How many units it holds, now and as it changes.
    pub fn held(&self) -> watch::Receiver<usize> {
        self.inner.held.subscribe()
    }

    /// Its last sign of life: that store or queue answered it.
    pub fn pulse(&self) -> Pulse {
        self.inner.pulse.clone()
    }

    /// What it did so far and how its machine is, for a collector of figures.
    pub fn metrics(&self) -> Source {
        let inner = Arc::clone(&self.inner);
        Arc::new(move |page| inner.tell(page))
    }

    /// Works until `shutdown` is cancelled; then hands its units back and returns within 30 s.
    ///
    /// An error is one of the start: afterwards errors of store and queue are logged and outlived.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let started_at = self.inner.store.now();
        self.inner.register(started_at).await?;
        tracing::info!(worker = %self.inner.options.id, device = self.inner.options.device, "worker started");
        let mut slots = JoinSet::new();
        for _ in 0..self.inner.options.concurrency {
            let (inner, shutdown) = (Arc::clone(&self.inner), shutdown.clone());
            slots.spawn(async move { inner.work(&shutdown).await });
        }
        tokio::select! {
            biased;
            _ = slots.join_all() => {}
            () = self.inner.stay_registered(started_at) => {}
            () = self.inner.patience(&shutdown) => tracing::warn!("worker ends before its units did"),
        }
        self.inner.unregister().await;
        tracing::info!(worker = %self.inner.options.id, "worker ended");
        Ok(())
    }
}

impl Inner {
    /// Ends when a shutdown took longer than units are given to stop and be handed back.
    async fn patience(&self, shutdown: &CancellationToken) {
        shutdown.cancelled().await;
        tokio::time::sleep(self.options.grace + HAND_BACK).await;
    }

    /// One slot: a unit at a time, until shutdown.
    async fn work(self: Arc<Self>, shutdown: &CancellationToken) {
        let mut pause = Duration::ZERO;
        while !shutdown.is_cancelled() {
            match self.next_lease(shutdown).await {
                Ok(Some(lease)) => self.run_unit(lease, shutdown).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        error = cellmill_service::report(&error),
                        "no unit could be taken"
                    );
                    pause = (pause * 2).clamp(Duration::from_millis(200), MAX_PAUSE);
                    shutdown
                        .run_until_cancelled(tokio::time::sleep(pause))
                        .await;
                    continue;
                }
            }
            pause = Duration::ZERO;
        }
        // What was claimed for a slot that ends now goes back at once.
        while let Some(lease) = self.pop_urgent() {
            self.run_unit(lease, shutdown).await;
        }
    }

    /// The next unit to work on, if there is one soon. Only the waiting is cut short by shutdown: a claim
    /// that was begun is finished, as its unit would be lost for a whole lease otherwise.
    async fn next_lease(&self, shutdown: &CancellationToken) -> Result<Option<Lease>, Error> {
        if let Some(mut lease) = self.pop_urgent() {
            lease.device = self.await_device(lease.key.kind).await;
            return Ok(Some(lease));
        }
        let receiving = self.queue.receive_first(
            &self.queues,
            1,
            self.options.timing.lease(),
            self.time_to_sweep(),
        );
        let Some(received) = shutdown.run_until_cancelled(receiving).await else {
            return Ok(None);
        };
        let received = received.map_err(Error::queue("receive hints"))?;
        self.pulse.beat();
        if let Some((queue, messages)) = received {
            let mut lease = None;
            for message in messages {
                lease = self.reserve_and_follow(&queue, message).await?;
            }
            return Ok(lease);
        }
        if !self.take_sweep() {
            return Ok(None);
        }
        let found = self.sweep().await?;
        if found.is_some() {
            // Where one was forgotten there may be more: the next idle moment looks again.
            self.sweep_after(Duration::ZERO);
        }
        Ok(found)
    }

    /// Claims an urgent unit, if one waits, for the slot whose own unit goes back for it.
    pub(crate) async fn claim_urgent(&self) -> Result<bool, Error> {
        let lease = self.options.timing.lease();
        for _ in 0..MAX_URGENT_LOOKS {
            let receiving =
                self.queue
                    .receive_first(self.urgent_queues(), 1, lease, Duration::ZERO);
            let received = receiving.await;
            let Some((queue, messages)) = received.map_err(Error::queue("receive urgent hints"))?
            else {
                return Ok(false);
            };
            for message in messages {
                if let Some(lease) = self.follow(&queue, message).await? {
                    self.push_urgent(lease);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Follows a hint, unless its unit would only wait for the device: then it is for other workers, or for later.
    async fn reserve_and_follow(
        &self,
        queue: &QueueName,
        message: Received,
    ) -> Result<Option<Lease>, Error> {
        let is_urgent = self.urgent_queues().contains(queue);
        let Ok(hint) = serde_json::from_str::<UnitHint>(&message.body) else {
            return self.follow(queue, message).await;
        };
        let Ok(device) = self.reserve(hint.kind, is_urgent) else {
            let (dir, kind, unit) = (hint.dir, hint.kind, hint.unit);
            if is_urgent && !self.is_free(&UnitKey { dir, kind, unit }).await? {
                // Nothing is asked for any more: no training gives way to that.
                return self.follow(queue, message).await;
            }
            let pause = if is_urgent {
                self.call_for_device();
                URGENT_PAUSE
            } else {
                self.options.timing.lease() / 2
            };
            self.put_off(queue, message, pause).await?;
            return Ok(None);
        };
        let mut lease = self.follow(queue, message).await?;
        if let Some(lease) = &mut lease {
            lease.device = device;
        }
        Ok(lease)
    }

    /// Sends the hint anew, for later. It is not given back: what comes back too often becomes a dead letter.
    async fn put_off(
        &self,
        queue: &QueueName,
        message: Received,
        pause: Duration,
    ) -> Result<(), Error> {
        let again = Outgoing::after(pause, message.body);
        let sent = self.queue.send(queue, &[again]).await;
        sent.map_err(Error::queue("put a hint off"))?;
        let deleted = self.queue.delete(queue, &[message.receipt]).await;
        deleted.map_err(Error::queue("put a hint off"))
    }

    /// Follows one hint. It is deleted once what it asks for is durable, or there is nothing to ask for.
    async fn follow(&self, queue: &QueueName, message: Received) -> Result<Option<Lease>, Error> {
        let Ok(hint) = serde_json::from_str::<UnitHint>(&message.body) else {
            // It goes on to the dead letters, where a person finds it.
            tracing::warn!(%queue, message_id = message.id, "hint can't be read");
            self.release(queue, &message, Duration::ZERO).await;
            return Ok(None);
        };
        if !self.algorithms.contains_key(&hint.kind) {
            self.release(queue, &message, REST).await;
            return Ok(None);
        }
        let key = UnitKey {
            dir: hint.dir,
            kind: hint.kind,
            unit: hint.unit,
        };
        let lease = match self.claim(&key).await {
            Ok(Claimed::Mine(lease)) => Some(*lease),
            Ok(Claimed::Settled) => None,
            Ok(Claimed::NotYet) => {
                self.release(queue, &message, REST).await;
                return Ok(None);
            }
            Err(error) => {
                self.release(queue, &message, REST).await;
                return Err(error);
            }
        };
        // From here on the lease keeps the unit, not the queue.
        if let Err(error) = self.queue.delete(queue, &[message.receipt]).await {
            tracing::warn!(unit = %key, error = cellmill_service::report(&error), "hint not deleted");
        }
        Ok(lease)
    }

    /// Gives a message back; when that fails it comes back by itself.
    async fn release(&self, queue: &QueueName, message: &Received, delay: Duration) {
        if let Err(error) = self.queue.release(queue, &message.receipt, delay).await {
            tracing::warn!(%queue, error = cellmill_service::report(&error), "hint not released");
        }
    }
}
