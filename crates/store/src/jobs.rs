//! Changing a job: one event, one swap.

use cellmill_core::ids::Dir;
use cellmill_core::job::{Effects, JobEvent, JobRecord, NotAllowed};
use cellmill_core::keys::{JobKind, ModelKey, ObjectKey};
use cellmill_core::model::ModelCard;

use crate::{Decision, Error, Store, Versioned};

/// How an event ended that was applied to a job.
#[derive(Clone, Debug)]
pub enum Applied {
    /// The job changed. The caller now carries the effects out (`cellmill_queue::hints`); when it is
    /// killed before that, the janitor finds what should be out.
    Changed(Versioned<JobRecord>, Effects),
    /// The event changes nothing: it was applied before, or came too late.
    Unchanged(Versioned<JobRecord>),
    /// The job's state does not allow it.
    NotAllowed(NotAllowed),
    /// There is no such job.
    Absent,
}

impl Store {
    /// Applies an event to a job by compare-and-swap, on whatever the record says by then.
    pub async fn change_job(
        &self,
        kind: JobKind,
        dir: &Dir,
        event: JobEvent,
        window: usize,
    ) -> Result<Applied, Error> {
        self.change_job_if(kind, dir, event, window, |_| true).await
    }

    /// As [`change_job`](Self::change_job), but only while the job `is_meant`: for events that follow from what was
    /// read some time ago, such as which units failed in a round. Otherwise it is [`Applied::Unchanged`].
    pub async fn change_job_if(
        &self,
        kind: JobKind,
        dir: &Dir,
        event: JobEvent,
        window: usize,
        is_meant: impl Fn(&JobRecord) -> bool + Send + Sync,
    ) -> Result<Applied, Error> {
        let key = ObjectKey::job(kind, dir);
        let now = self.now();
        let mut effects = Effects::default();
        let mut refusal = None;
        let swapped = self
            .swap::<JobRecord>(&key, |job| {
                refusal = None;
                let Some(job) = job else {
                    return Decision::Keep;
                };
                if !is_meant(job) {
                    return Decision::Keep;
                }
                match job.apply(event.clone(), window, now) {
                    Ok(Some((next, caused))) => {
                        effects = caused;
                        Decision::Write(next)
                    }
                    Ok(None) => Decision::Keep,
                    Err(not_allowed) => {
                        refusal = Some(not_allowed);
                        Decision::Keep
                    }
                }
            })
            .await?;
        Ok(match (swapped.stored, swapped.changed, refusal) {
            (None, _, _) => Applied::Absent,
            (Some(job), true, _) => Applied::Changed(job, effects),
            (Some(_), false, Some(refusal)) => Applied::NotAllowed(refusal),
            (Some(job), false, None) => Applied::Unchanged(job),
        })
    }

    /// The card of the model of this number, whatever its kind.
    pub async fn read_model_card(&self, mid: u64) -> Result<Option<Versioned<ModelCard>>, Error> {
        // Most models are classifiers, so they are looked for first.
        let [detector, classifier, segmenter] = ModelKey::all_of_number(mid);
        for key in [classifier, detector, segmenter] {
            let card = self.read(&ObjectKey::ModelCard(key)).await?;
            if card.is_some() {
                return Ok(card);
            }
        }
        Ok(None)
    }

    /// Reads a job.
    pub async fn read_job(
        &self,
        kind: JobKind,
        dir: &Dir,
    ) -> Result<Option<Versioned<JobRecord>>, Error> {
        self.read(&ObjectKey::job(kind, dir)).await
    }
}
