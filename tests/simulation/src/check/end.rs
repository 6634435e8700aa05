//! What must be so when everything has come to rest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::document::Document as _;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey};
use cellmill_core::messages::CollectHint;
use cellmill_fn_collect::Collect;
use cellmill_queue::{MemoryQueue, Settings};
use cellmill_store::{Decision, Store};
use futures::TryStreamExt as _;

use super::{JobName, Violation, result_of, state_text};
use crate::people::MODEL;
use crate::work::wrong_model;
use crate::world::World;

/// Checks the end of a schedule. `bare` is the store without any gate.
pub(crate) async fn at_rest(world: &World, bare: &Store) {
    let at = world.elapsed();
    let mut ended = Vec::new();
    {
        let mut state = world.state();
        let check = &mut state.check;
        let names: Vec<JobName> = check.jobs.keys().cloned().collect();
        for name in names {
            let job = check.job(&name);
            let (state, has_marks) = (job.state(), job.has_marks());
            if !job.is_accepted {
                continue;
            }
            if !state.is_some_and(JobState::is_ended) {
                let what = format!("{} is {} at the end", name.1, state_text(state));
                check.broken(at, "an accepted job ends", what);
            } else if has_marks {
                let what = format!("{} is {}", name.1, state_text(state));
                check.broken(at, "the mark of an ended job goes", what);
            }
            ended.extend(state.filter(|it| it.is_ended()).map(|it| (name, it)));
        }
    }
    for (name, state) in ended {
        let broken = match state {
            JobState::Done => match wrong_result(bare, &name).await {
                None if name.0 == JobKind::Train => wrong_training(bare, &name).await,
                wrong => wrong,
            },
            _ => None,
        };
        if let Some(what) = broken {
            let rule = if what.starts_with("the model is") || what.contains("nobody stopped it") {
                "a training goes on to the same bits"
            } else {
                "the result is a pure function of the committed units"
            };
            world.state().check.broken(at, rule, what);
        }
    }
}

/// Is the model what a training gives that nobody disturbs?
async fn wrong_training(bare: &Store, name: &JobName) -> Option<String> {
    let key = ObjectKey::job(name.0, &name.1);
    let job = bare.read::<JobRecord>(&key).await.ok().flatten()?.value;
    let is_stopped = job.history.iter().any(|it| it.what.contains("stopped by"));
    let key = ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, MODEL));
    let model = bare.get_bytes(&key).await.unwrap_or_default();
    wrong_model(&model, is_stopped)
}

/// Collects the job once more, undisturbed, and compares.
async fn wrong_result(bare: &Store, name: &JobName) -> Option<String> {
    let (kind, dir) = name;
    let before = results(bare, name).await;
    if before.is_empty() {
        return Some(format!("{dir} is done and has no result"));
    }
    let key = ObjectKey::job(*kind, dir);
    let mut result = None;
    let reopened = bare.swap::<JobRecord>(&key, |job| match job {
        Some(job) => {
            result.clone_from(&job.result);
            let mut job = job.clone();
            job.state = JobState::Collecting;
            Decision::Write(job)
        }
        None => Decision::Keep,
    });
    reopened.await.ok()?;
    let collect = Collect {
        store: bare.clone(),
        queue: Arc::new(MemoryQueue::new(Settings::default())),
        window: 2,
    };
    let message = CollectHint::new(*kind, dir.clone(), None);
    let message = serde_json::to_string(&message).expect("text and numbers");
    collect.handle(&[message]).await;
    let again = bare.read::<JobRecord>(&key).await.ok().flatten()?.value;
    if again.state != JobState::Done {
        return Some(format!("{dir} can't be collected again: {:?}", again.error));
    }
    debug_assert!(again.stamp().rev > 0);
    if again.result != result {
        return Some(format!("{dir}: another result in the job record"));
    }
    let after = results(bare, name).await;
    let differs = before.iter().zip(&after).find(|(a, b)| a != b);
    match differs {
        Some((before, _)) => Some(format!("{} has other bytes", before.0)),
        None if before.len() != after.len() => Some(format!("{dir} has other files")),
        None => None,
    }
}

/// The result files of a job, and the description that it shares with assembling.
async fn results(bare: &Store, name: &JobName) -> Vec<(String, Bytes)> {
    let key = ObjectKey::job(name.0, &name.1).to_path();
    let folder = key.rsplit_once('/').map_or("", |it| it.0).to_owned();
    let listed: Vec<_> = bare.list(&folder).try_collect().await.unwrap_or_default();
    let info = format!("{folder}/info.json");
    let mut found = Vec::new();
    for it in listed {
        let is_result = ObjectKey::parse(&it.key)
            .ok()
            .flatten()
            .is_some_and(|key| result_of(&key).is_some());
        if is_result || (it.key == info && name.0 == JobKind::Data) {
            let bytes = bare.get_bytes(&it.key).await.unwrap_or_default();
            found.push((it.key, bytes));
        }
    }
    found
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = Duration::as_secs_f64(&self.at);
        write!(f, "{}: {} (at {at:.3})", self.rule, self.what)
    }
}
