//! What people do: they submit jobs and change their minds, through the api as it is, and remember what it told them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellmill_api::accept::{Submission, accept};
use cellmill_api::views::JobView;
use cellmill_core::job::{JobParameters, JobState};
use cellmill_core::keys::JobKind;
use cellmill_core::messages::UnitClass;
use cellmill_core::split::SplitRule;
use cellmill_core::training::{NetworkSettings, PredictParameters, TrainParameters};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::api::Api;
use crate::check::{JobName, LEASE, state_text};
use crate::history::What;
use crate::machine::Process;
use crate::names::{batch, dir, job_name, n_jobs};
use crate::plan::{API, Item, Verb, When};
use crate::roles::Homes;
use crate::world::World;

/// After this long without an answer a person goes away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Submits all jobs, one after the other, until each is there.
pub(crate) async fn submit_all(world: Arc<World>) {
    let last = world.plan.jobs.len() - 1;
    let late = world.plan.is_late.then_some(last);
    let in_time = (0..n_jobs(&world.plan)).filter(|it| Some(*it) != late);
    for job in in_time.chain(late) {
        let name = job_name(&world.plan, job);
        if late == Some(job) {
            let training = job_name(&world.plan, n_jobs(&world.plan) - 1);
            let runs = When::Reached(JobState::Running, Duration::ZERO);
            // Whether it comes or not.
            until(&world, &training, runs).await;
        }
        let pause = world.drawn(&[6, job as u64]).below(20_000);
        sleep(Duration::from_millis(pause)).await;
        // The directory is asked for by name: a second attempt meets the first.
        for _ in 0..5 {
            let api = running(&world).await;
            let asked = async {
                if name.0 == JobKind::Data {
                    let body = json!({"dir": dir(job), "batches": [batch(job)]});
                    let path = "/api/v1/datasets";
                    ask(&api, Method::POST, path, Some(body)).await.0
                } else {
                    submit_project(&api, &name).await
                }
            };
            let status = timeout(PATIENCE, asked).await.unwrap_or(0);
            tell(&world, None, &name, &status.to_string());
            let at = world.elapsed();
            if (200..300).contains(&status) {
                world.state().check.acknowledged(at, &name, None);
                break;
            }
            if status == 409 {
                break;
            }
            sleep(Duration::from_secs(5)).await;
        }
    }
}

/// The model that the training makes; the prediction's own is there already.
pub(crate) const MODEL: u64 = 101;

async fn submit_project(api: &Api, name: &JobName) -> u16 {
    let parameters = if name.0 == JobKind::Train {
        JobParameters::Train(TrainParameters {
            ddir: dir(0),
            did: 1,
            mid: MODEL,
            types: (1..=5).collect(),
            merge: Vec::new(),
            resize: 32,
            time: 0,
            split: SplitRule::Case,
            seed: 1,
            network: NetworkSettings::default(),
            detector: None,
            propose_for: None,
            shuffle_labels: false,
            profile: false,
        })
    } else {
        JobParameters::Predict(PredictParameters {
            ddir: dir(0),
            did: 1,
            mid: 100,
            types: Vec::new(),
            is_labelled: true,
            binary: false,
            target_recall: None,
            min_side: None,
            filter_mid: None,
        })
    };
    let submission = Submission {
        parameters,
        description: String::new(),
        dir: Some(name.1.clone()),
        class: UnitClass::cpu(),
        by: "local".to_owned(),
        project: None,
    };
    match accept(&api.store, &*api.queue, submission).await {
        Ok(_) => 201,
        Err(cellmill_api::accept::AcceptError::Taken { .. }) => 409,
        Err(_) => 503,
    }
}

/// The api, once it runs.
async fn running(world: &Arc<World>) -> Api {
    loop {
        let changed = world.changed.notified();
        let found = world.api.lock().map(|it| it.clone()).unwrap_or_default();
        if let Some(api) = found.filter(|it| it.process.is_alive()) {
            return api;
        }
        changed.await;
    }
}

/// Keeps the api running: its process does nothing but answer.
pub(crate) async fn keep_api(world: Arc<World>, homes: Homes) {
    loop {
        let process = Process::boot(&world, API);
        if let Ok(mut api) = world.api.lock() {
            *api = Some(Api::new(&process, &homes));
        }
        world.changed.notify_waiters();
        loop {
            let changed = world.changed.notified();
            if !process.is_alive() {
                break;
            }
            changed.await;
        }
        sleep(Duration::from_secs(4)).await;
    }
}

/// One item of a person.
pub(crate) async fn act(world: Arc<World>, item: usize) {
    let Item::User { job, when, verb } = world.plan.items[item] else {
        return;
    };
    let name = job_name(&world.plan, job);
    if !until(&world, &name, when).await || !world.take(item) {
        return;
    }
    let (method, path) = {
        let (kind, dir) = (name.0.as_str(), &name.1);
        if verb == Verb::Look {
            (Method::GET, format!("/api/v1/jobs/{kind}/{dir}"))
        } else {
            let verb = verb.as_str();
            (Method::POST, format!("/api/v1/jobs/{kind}/{dir}/{verb}"))
        }
    };
    let api = running(&world).await;
    let began = world.elapsed();
    let before = world.state().check.job(&name).state();
    let asked = ask(&api, method, &path, None);
    let (status, body) = timeout(PATIENCE, asked).await.unwrap_or_default();
    tell(&world, Some(verb), &name, &status.to_string());
    let at = world.elapsed();
    let mut state = world.state();
    let check = &mut state.check;
    match (status, verb) {
        (200, Verb::Look) => {
            check.job_table.met("looked at", state_text(before));
            if let Ok(view) = serde_json::from_slice::<JobView>(&body) {
                check.shown(at, began, &name, &view);
            }
        }
        (200, _) => {
            if verb == Verb::Cancel && before == Some(JobState::Cancelled) {
                check.job_table.met("cancel again", state_text(before));
            }
            check.acknowledged(at, &name, Some(verb));
        }
        (409, Verb::Cancel) => check.job_table.met("cancel refused", state_text(before)),
        (409, Verb::Stop) => check.job_table.met("stop refused", state_text(before)),
        (409, Verb::Raise) => check.job_table.met("raise refused", state_text(before)),
        (409, Verb::Retry) => check.job_table.met("retry refused", state_text(before)),
        _ => {}
    }
}

/// A blow to a machine that comes at a moment, not at a call.
pub(crate) async fn hit(world: Arc<World>, item: usize) {
    let Item::Hit {
        machine,
        job,
        when,
        freeze,
    } = world.plan.items[item]
    else {
        return;
    };
    let name = job_name(&world.plan, job);
    if until(&world, &name, when).await && world.take(item) {
        world.state().counts.faults += 1;
        Process::hit(&world, machine, freeze);
    }
}

/// Waits for the moment; `false`: it does not come.
async fn until(world: &World, name: &JobName, when: When) -> bool {
    match when {
        When::At(at) => {
            sleep(at.saturating_sub(world.elapsed())).await;
            true
        }
        When::Reached(state, after) => {
            loop {
                let changed = world.changed.notified();
                {
                    let mut shared = world.state();
                    if shared.is_calm {
                        return false;
                    }
                    if shared.check.job(name).state() == Some(state) {
                        break;
                    }
                }
                changed.await;
            }
            sleep(after).await;
            true
        }
    }
}

fn tell(world: &World, verb: Option<Verb>, name: &JobName, answer: &str) {
    world.tell(None, || What::User {
        verb,
        job: name.1.to_string(),
        answer: answer.to_owned(),
    });
}

/// Status and body of an answer of the api.
async fn ask(api: &Api, method: Method, path: &str, body: Option<Value>) -> (u16, Bytes) {
    let body = body.map_or(Bytes::new(), |it| it.to_string().into());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .expect("the request is well formed");
    (api.answer)(request).await
}

impl crate::check::Checker {
    /// What a person was shown who asked at `asked` and was answered at `at` (invariant 7).
    fn shown(&mut self, at: Duration, asked: Duration, name: &JobName, view: &JobView) {
        for unit in &view.running {
            // The record was read after the question came.
            let age = Duration::from_secs(unit.age_s);
            if age > LEASE + Duration::from_secs(4) {
                let what = format!("{} unit {}: {age:?}, asked at {asked:?}", name.1, unit.unit);
                self.broken(at, "running is shown with a live heartbeat only", what);
            }
        }
    }
}
