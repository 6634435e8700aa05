//! One process on one machine: it stands at the gate of its store, and its plan may hold it up or end it there.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cellmill_core::ids::WorkerId;
use cellmill_store::Store;
use cellmill_store::clock::{GivenClock, StorageClock};
use cellmill_store::fault::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::bugs;
use crate::history::What;
use crate::plan::{Deed, Home, MACHINES, Moment, Of, WORKERS};
use crate::world::{World, whole_seconds};

/// The names of the machines, by number.
pub(crate) const NAMES: [&str; MACHINES] = [
    "worker-0",
    "worker-1",
    "worker-2",
    "assemble-0",
    "assemble-1",
    "collect-0",
    "collect-1",
    "janitor-0",
    "janitor-1",
    "api",
];

/// What is known of one machine.
#[derive(Debug)]
pub(crate) struct MachineState {
    /// The process that is alive; earlier ones are gone.
    pub(crate) incarnation: u32,
    process: Weak<Process>,
    pub(crate) frozen_until: Option<Instant>,
    pub(crate) calls: [u32; 6],
    n_calls: u64,
    /// How fast its oscillator runs, in millionths more than true: up to 1000.
    drift: i64,
    /// How wrong its own wall clock is, in seconds. Nothing may depend on it.
    pub(crate) offset: i64,
    /// What it suffered: when, and for how long it could do nothing.
    pub(crate) troubles: Vec<(Duration, Duration)>,
}

impl MachineState {
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        let mut drawn = cellmill_core::random::SplitMix::new(seed ^ (number as u64 + 1) << 40);
        Self {
            incarnation: 0,
            process: Weak::new(),
            frozen_until: None,
            calls: [0; 6],
            n_calls: 0,
            drift: drawn.below(2001) as i64 - 1000,
            offset: drawn.below(361) as i64 - 180,
            troubles: Vec::new(),
        }
    }
}

/// What its caller hears of a call that has no answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    Answered(Kind),
    /// Nothing: it comes to the store so much later.
    OnItsWay(Duration),
}

/// One process of a machine, from its start to its end.
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) machine: usize,
    pub(crate) incarnation: u32,
    pub(crate) clock: StorageClock,
    me: Weak<Process>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", NAMES[self.machine], self.incarnation)
    }
}

impl Process {
    /// Starts a process in the place of whatever ran on the machine before.
    pub(crate) fn boot(world: &Arc<World>, machine: usize) -> Arc<Self> {
        let incarnation = {
            let mut state = world.state();
            let it = &mut state.machines[machine];
            it.incarnation += 1;
            it.frozen_until = None;
            it.incarnation
        };
        world.tell(Some(machine), || What::Started { incarnation });
        let process = Arc::new_cyclic(|me| Self {
            world: Arc::clone(world),
            machine,
            incarnation,
            clock: StorageClock::default(),
            me: Weak::clone(me),
        });
        world.state().machines[machine].process = Arc::downgrade(&process);
        process
    }

    /// The id of the worker in this process.
    pub(crate) fn worker_id(&self) -> WorkerId {
        let id = format!("w{}-{}", self.machine, self.incarnation);
        WorkerId::parse(&id).expect("letters, digits and `-`")
    }

    /// The machine and the incarnation of a worker's id.
    pub(crate) fn of_worker(id: &WorkerId) -> Option<(usize, u32)> {
        let (machine, incarnation) = id.as_str().strip_prefix('w')?.split_once('-')?;
        Some((machine.parse().ok()?, incarnation.parse().ok()?))
    }

    /// The store as this process sees it.
    pub(crate) fn store(&self, bare: &Store) -> Store {
        let me = Weak::clone(&self.me);
        let clock: GivenClock = Arc::new(move || {
            me.upgrade()
                .map_or(DateTime::<Utc>::UNIX_EPOCH, |it| it.store_now())
        });
        let seed = self
            .world
            .drawn(&[3, self.machine as u64, u64::from(self.incarnation)])
            .next_u64();
        let keeper = self.me.upgrade().expect("whoever asks holds it");
        bare.seen_by(clock, seed).behind(keeper)
    }

    /// What this process takes for the store's time.
    fn store_now(&self) -> DateTime<Utc> {
        if let Some(wrong) = bugs::own_clock(self) {
            return wrong;
        }
        match self.world.plan.home {
            Home::Folder => self.world.now(),
            Home::Bucket => self
                .clock
                .at(self.monotonic())
                .unwrap_or_else(|| whole_seconds(self.world.now())),
        }
    }

    /// The machine's monotonic clock, which drifts.
    pub(crate) fn monotonic(&self) -> std::time::Instant {
        let drift = self.world.state().machines[self.machine].drift;
        let elapsed = self.world.elapsed().as_micros() as i64;
        let shown = elapsed + elapsed * drift / 1_000_000;
        self.world.began.into_std() + Duration::from_micros(shown.unsigned_abs())
    }

    /// The machine's wall clock, which is wrong.
    pub(crate) fn wall_clock(&self) -> DateTime<Utc> {
        let offset = self.world.state().machines[self.machine].offset;
        self.world.now() + TimeDelta::seconds(offset)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.world.state().machines[self.machine].incarnation == self.incarnation
    }

    /// Goes on once the process is not frozen; never, when it is gone.
    pub(crate) async fn until_awake(&self) {
        loop {
            let until = {
                let state = self.world.state();
                let it = &state.machines[self.machine];
                if it.incarnation == self.incarnation {
                    Some(it.frozen_until)
                } else {
                    None
                }
            };
            match until {
                None => return std::future::pending().await,
                Some(None) => return,
                Some(Some(until)) => {
                    sleep_until(until).await;
                    self.thaw(until);
                }
            }
        }
    }

    fn thaw(&self, until: Instant) {
        let mut state = self.world.state();
        let it = &mut state.machines[self.machine];
        if it.incarnation == self.incarnation && it.frozen_until == Some(until) {
            it.frozen_until = None;
            state.check.woke(self.machine, self.world.elapsed());
            drop(state);
            self.world.tell(Some(self.machine), || What::Woke);
        }
    }

    /// Before a call: it takes its time, and the plan may have something for it. An error is what the caller gets.
    pub(crate) async fn before(&self, of: &[Of]) -> (Vec<(Of, u32)>, Option<Lost>) {
        self.until_awake().await;
        let (counted, n_calls) = {
            let mut state = self.world.state();
            let it = &mut state.machines[self.machine];
            it.n_calls += 1;
            let count = |of: &Of| {
                it.calls[*of as usize] += 1;
                (*of, it.calls[*of as usize])
            };
            (of.iter().map(count).collect::<Vec<_>>(), it.n_calls)
        };
        let mut drawn = self.world.drawn(&[1, self.machine as u64, n_calls]);
        let ms = match drawn.below(100) {
            0..2 => drawn.below(2000),
            _ => drawn.below(25),
        };
        sleep(Duration::from_millis(1 + ms)).await;
        self.until_awake().await;
        let error = self.suffer(&counted, Moment::Before).await;
        (counted, error)
    }

    /// After a call.
    pub(crate) async fn after(&self, counted: &[(Of, u32)]) -> Option<Lost> {
        let error = self.suffer(counted, Moment::After).await;
        sleep(Duration::from_millis(1)).await;
        self.until_awake().await;
        error
    }

    async fn suffer(&self, counted: &[(Of, u32)], moment: Moment) -> Option<Lost> {
        let deed = self.world.deed(self.machine, counted, moment)?;
        self.world.tell(Some(self.machine), || What::Fault {
            deed,
            moment: Some(moment),
        });
        let lasts = match deed {
            Deed::Fail(_) | Deed::Late(_) => Duration::from_secs(1),
            Deed::Slow(time) | Deed::Freeze(time) => time,
            Deed::Crash | Deed::LastWrite(_) => Duration::MAX,
        };
        let at = self.world.elapsed();
        self.world.state().machines[self.machine]
            .troubles
            .push((at, lasts));
        match deed {
            Deed::Fail(kind) => Some(Lost::Answered(kind)),
            Deed::Late(late) => Some(Lost::OnItsWay(late)),
            Deed::LastWrite(late) => {
                self.end();
                Some(Lost::OnItsWay(late))
            }
            Deed::Slow(time) => {
                sleep(time).await;
                self.until_awake().await;
                None
            }
            Deed::Freeze(time) => {
                self.freeze(time);
                self.until_awake().await;
                None
            }
            Deed::Crash => {
                self.end();
                std::future::pending().await
            }
        }
    }

    fn freeze(&self, time: Duration) {
        let (at, until) = (self.world.elapsed(), Instant::now() + time);
        let mut state = self.world.state();
        state.machines[self.machine].frozen_until = Some(until);
        state.check.froze(self.machine, self.incarnation, at);
    }

    /// Whatever process runs on a machine is killed, or stands still for so long.
    pub(crate) fn hit(world: &Arc<World>, machine: usize, freeze: Option<Duration>) {
        let process = world.state().machines[machine].process.upgrade();
        let Some(process) = process.filter(|it| it.is_alive()) else {
            return;
        };
        let (deed, lasts) = match freeze {
            Some(time) => (Deed::Freeze(time), time),
            None => (Deed::Crash, Duration::MAX),
        };
        world.tell(Some(machine), || What::Fault { deed, moment: None });
        let at = world.elapsed();
        world.state().machines[machine].troubles.push((at, lasts));
        match freeze {
            Some(time) => {
                process.freeze(time);
                // Somebody must see that it wakes up, even when it does nothing.
                tokio::spawn(async move { process.until_awake().await });
            }
            None => process.end(),
        }
    }

    /// The process is gone: its calls never return.
    pub(crate) fn end(&self) {
        {
            let mut state = self.world.state();
            if state.machines[self.machine].incarnation == self.incarnation {
                state.machines[self.machine].incarnation += 1;
                state.machines[self.machine].frozen_until = None;
            }
            state
                .check
                .crashed(self.machine, self.incarnation, self.world.elapsed());
        }
        self.world.changed.notify_waiters();
    }

    pub(crate) fn is_worker(&self) -> bool {
        self.machine < WORKERS
    }
}
