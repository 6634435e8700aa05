//! From a hint to a lease.

use cellmill_core::job::{JobEvent, JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, UnitKey};
use cellmill_core::unit::{Claim, UnitRecord, decide_claim};
use cellmill_queue::hints;
use cellmill_store::{Created, Replaced, Versioned};
use tokio::time::Instant;

use crate::Error;
use crate::device::Held;
use crate::inner::Inner;

/// Others may come in between this often before the claim is left to a later hint.
const MAX_RACES: usize = 5;

/// A unit that this worker holds.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) key: UnitKey,
    /// The job as it was just before the claim.
    pub(crate) job: JobRecord,
    /// The unit as it was claimed.
    pub(crate) record: Versioned<UnitRecord>,
    /// When the write began that made the lease: it counts from here, by the own monotonic clock.
    pub(crate) began: Instant,
    /// Given free when the unit has ended.
    pub(crate) device: Option<Held>,
}

impl Lease {
    pub(crate) fn attempt(&self) -> u32 {
        self.record.value.attempt
    }

    /// May it be given back at a checkpoint, for urgent work? A training loses nothing by it.
    pub(crate) fn is_preemptible(&self) -> bool {
        self.key.kind == JobKind::Train
    }
}

/// A job, its unit as it was read, and what to do.
type Seen = (JobRecord, Option<Versioned<UnitRecord>>, Claim);

/// What became of a hint.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The unit is ours, durably.
    Mine(Box<Lease>),
    /// There is nothing to do for it any more.
    Settled,
    /// It is too early.
    NotYet,
}

impl Inner {
    /// The rule of DESIGN 5.2: read the job, then the unit, decide, swap.
    pub(crate) async fn claim(&self, key: &UnitKey) -> Result<Claimed, Error> {
        for _ in 0..MAX_RACES {
            let Some((job, unit, decided)) = self.look(key).await? else {
                return Ok(Claimed::Settled);
            };
            if job.class.is_legacy() {
                // Handed out by the legacy endpoints alone, under a lease of their own.
                return Ok(Claimed::Settled);
            }
            match decided {
                Claim::NotYet => return Ok(Claimed::NotYet),
                Claim::Live | Claim::Unknown | Claim::JobEnded(None) => {
                    return Ok(Claimed::Settled);
                }
                Claim::Ended => {
                    self.say_ended(key).await?;
                    return Ok(Claimed::Settled);
                }
                Claim::JobEnded(Some(ended)) => {
                    if self.put_unit(key, unit.as_ref(), ended).await?.is_some() {
                        return Ok(Claimed::Settled);
                    }
                }
                Claim::GiveUp(failed) => {
                    if self.put_unit(key, unit.as_ref(), failed).await?.is_some() {
                        self.say_ended(key).await?;
                        return Ok(Claimed::Settled);
                    }
                }
                Claim::Take(taken) => {
                    let began = Instant::now();
                    if let Some(record) = self.put_unit(key, unit.as_ref(), taken).await? {
                        self.say_running(&job).await;
                        let key = key.clone();
                        return Ok(Claimed::Mine(Box::new(Lease {
                            key,
                            job,
                            record,
                            began,
                            device: None,
                        })));
                    }
                }
            }
        }
        // So many hands on one unit: somebody has it.
        Ok(Claimed::Settled)
    }

    /// Would a claim take the unit now?
    pub(crate) async fn is_free(&self, key: &UnitKey) -> Result<bool, Error> {
        let seen = self.look(key).await?;
        Ok(seen.is_some_and(|(_, _, decided)| matches!(decided, Claim::Take(_))))
    }

    /// Reads the job, then the unit, and decides. `None`: there is no such job.
    async fn look(&self, key: &UnitKey) -> Result<Option<Seen>, Error> {
        let job = self.store.read_job(key.kind, &key.dir).await;
        let Some(job) = job.map_err(Error::store("read the job of a unit"))? else {
            return Ok(None);
        };
        let unit = self
            .store
            .read::<UnitRecord>(&ObjectKey::Unit(key.clone()))
            .await;
        let unit = unit.map_err(Error::store("read a unit"))?;
        let seen = unit.as_ref().map(|it| (&it.value, it.last_modified));
        let (id, now) = (&self.options.id, self.store.now());
        let decided = decide_claim(&job.value, seen, key, id, now, self.options.timing);
        Ok(Some((job.value, unit, decided)))
    }

    /// Puts `next` in the place of what was read; `None` when somebody came in between.
    async fn put_unit(
        &self,
        key: &UnitKey,
        seen: Option<&Versioned<UnitRecord>>,
        next: UnitRecord,
    ) -> Result<Option<Versioned<UnitRecord>>, Error> {
        let (key, attempt) = (ObjectKey::Unit(key.clone()), next.attempt);
        let won = match seen {
            None => match self
                .store
                .create(&key, next)
                .await
                .map_err(Error::store("claim a unit"))?
            {
                Created::Won(record) => Some(record),
                Created::Exists(_) => None,
            },
            Some(seen) => match self
                .store
                .replace(&key, seen, next)
                .await
                .map_err(Error::store("claim a unit"))?
            {
                Replaced::Won(record) => Some(record),
                Replaced::Lost(_) => None,
            },
        };
        // An answer that was found by reading back may show what came after our write.
        Ok(won.filter(|it| it.value.attempt == attempt))
    }

    /// Shows the job as running. A heartbeat does it again when this fails.
    pub(crate) async fn say_running(&self, job: &JobRecord) {
        if job.state != JobState::Queued {
            return;
        }
        let changed = self
            .store
            .change_job(
                job.kind,
                &job.dir,
                JobEvent::WorkStarted,
                self.options.window,
            )
            .await;
        if let Err(error) = changed {
            tracing::warn!(dir = %job.dir, error = cellmill_service::report(&error), "job not shown as running");
        }
    }

    /// "This unit ended", to collect.
    pub(crate) async fn say_ended(&self, key: &UnitKey) -> Result<(), Error> {
        let sent =
            hints::send_collect_of(self.queue.as_ref(), key.kind, &key.dir, Some(key.unit)).await;
        sent.map_err(Error::queue("say that a unit ended"))
    }
}
