//! One schedule from its first event to rest.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{ImageKey, ObjectKey};
use cellmill_core::records::{ImageRecord, ImageState, Picture};
use cellmill_store::clock::GivenClock;
use cellmill_store::{Put, Store};
use tokio::time::sleep;

use crate::bugs::Bug;
use crate::check::{Violation, at_rest};
use crate::coverage::Table;
use crate::history::{Event, What};
use crate::names::batch;
use crate::people;
use crate::plan::{API, Item, MACHINES, Plan};
use crate::post::PostOffice;
use crate::roles::{Homes, keep_running};
use crate::world::{Counts, World};

/// What came of one schedule.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub counts: Counts,
    /// Virtual time.
    pub took: Duration,
    pub taken: Vec<bool>,
    pub jobs: Table,
    pub units: Table,
    pub history: Vec<Event>,
}

/// From then on nothing goes wrong any more.
const CALM: Duration = Duration::from_mins(12);
/// Whatever has not ended by then never will: the janitor's longest patience is ten minutes.
const END: Duration = Duration::from_mins(90);

/// Runs a plan. `is_told`: keep the history.
pub fn run_plan(plan: &Plan, bug: Option<Bug>, is_told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    let plan = plan.clone();
    runtime.block_on(async move {
        let world = World::new(plan, bug, is_told);
        play(&world).await;
        let took = world.elapsed();
        let mut state = world.state();
        Outcome {
            violations: std::mem::take(&mut state.check.violations),
            counts: state.counts,
            took,
            taken: state.taken.clone(),
            jobs: std::mem::take(&mut state.check.job_table),
            units: std::mem::take(&mut state.check.unit_table),
            history: std::mem::take(&mut state.history.events),
        }
    })
}

async fn play(world: &Arc<World>) {
    let clock: GivenClock = {
        let world = Arc::downgrade(world);
        Arc::new(move || world.upgrade().map(|it| it.stamp()).unwrap_or_default())
    };
    let homes = Homes {
        store: Store::memory_at(clock, world.plan.seed),
        office: PostOffice::new(),
    };
    prepare(world, &homes.store).await;
    let mut machines = Vec::new();
    for machine in (0..MACHINES).filter(|it| *it != API) {
        let running = keep_running(Arc::clone(world), homes.clone(), machine);
        machines.push(tokio::spawn(running));
    }
    machines.push(tokio::spawn(people::keep_api(
        Arc::clone(world),
        homes.clone(),
    )));
    let mut people = vec![tokio::spawn(people::submit_all(Arc::clone(world)))];
    for (n, item) in world.plan.items.iter().enumerate() {
        match item {
            Item::User { .. } => {
                let acts = people::act(Arc::clone(world), n);
                people.push(tokio::spawn(acts));
            }
            Item::Hit { .. } => people.push(tokio::spawn(people::hit(Arc::clone(world), n))),
            _ => {}
        }
    }
    come_to_rest(world, &people).await;
    for machine in &machines {
        machine.abort();
    }
    for person in &people {
        person.abort();
    }
    world.tell(None, || {
        What::Note("everything has come to rest".to_owned())
    });
    at_rest(world, &homes.store).await;
    // It holds the world that holds it.
    if let Ok(mut api) = world.api.lock() {
        *api = None;
    }
}

/// Waits until all jobs have ended and nobody sleeps any more, then for as long as somebody late could still do harm.
async fn come_to_rest(world: &Arc<World>, people: &[tokio::task::JoinHandle<()>]) {
    loop {
        sleep(Duration::from_secs(2)).await;
        let now = world.elapsed();
        if now > END || !world.state().check.violations.is_empty() {
            break;
        }
        let is_calm = world.state().is_calm;
        let state = world.state();
        let are_submitted = people[0].is_finished();
        let has_ended = state.check.all_ended();
        let is_awake = state.machines.iter().all(|it| it.frozen_until.is_none());
        let has_acted = people.iter().all(tokio::task::JoinHandle::is_finished);
        drop(state);
        if are_submitted && has_ended && is_awake && (has_acted || is_calm) {
            break;
        }
        // Those who still wait for something that does not happen wait no longer.
        if !is_calm && (now > CALM || (are_submitted && has_ended && is_awake && now > CALM / 4)) {
            world.tell(None, || What::Note("calm".to_owned()));
            world.calm();
        }
    }
    world.calm();
    sleep(Duration::from_secs(65)).await;
}

/// Images as `ingest` leaves them.
async fn prepare(world: &World, store: &Store) {
    for (job, n_images) in world.plan.jobs.iter().enumerate() {
        for n in 0..*n_images {
            let path = format!("img/{}/c{}/Images/i{n}.png", batch(job), n % 2);
            let key: ImageKey = path.parse().expect("a key of the layout");
            let record = ImageRecord {
                state: ImageState::Ok,
                sha256: Some(sha256_hex(path.as_bytes())),
                picture: Some(Picture {
                    format: "png".to_owned(),
                    width: 640,
                    height: 480,
                    orientation: 1,
                    channels: 3,
                    bits: 8,
                    notes: Vec::new(),
                    thumbnail: None,
                }),
                ..ImageRecord::expected(key.clone())
            };
            let image = ObjectKey::Image(key.clone());
            store
                .put_bytes(&image, "png", Put::Create)
                .await
                .expect("an empty store takes it");
            store
                .create(&ObjectKey::ImageRecord(key), record)
                .await
                .expect("an empty store takes it");
        }
    }
}
