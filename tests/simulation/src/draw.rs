//! How a plan is drawn from its seed.

use std::time::Duration;

use cellmill_core::job::JobState;
use cellmill_core::random::SplitMix;
use cellmill_store::fault::Kind;

use crate::names::n_jobs;
use crate::plan::{Deed, Fate, Home, Item, Lane, MACHINES, Moment, Of, Plan, Verb, WORKERS, When};

const STATES: [JobState; 7] = [
    JobState::Assembling,
    JobState::Queued,
    JobState::Running,
    JobState::Collecting,
    JobState::Done,
    JobState::Failed,
    JobState::Cancelled,
];

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice(SplitMix::new(seed));
        let jobs: Vec<u32> = (0..dice.within(1, 2))
            .map(|_| dice.within(2, 5) as u32)
            .collect();
        let mut plan = Self {
            seed,
            home: dice.one_of(&[Home::Bucket, Home::Bucket, Home::Folder]),
            predicts: dice.chance(25),
            trains: dice.chance(40),
            is_late: false,
            window: dice.within(2, 6) as usize,
            items: Vec::new(),
            jobs,
        };
        if plan.trains && dice.chance(20) {
            plan.call_for_all_workers();
        }
        let n_jobs = n_jobs(&plan);
        for _ in 0..dice.within(0, 2) {
            let item = dice.hit(n_jobs);
            plan.items.push(item);
        }
        for _ in 0..dice.within(2, 7) {
            let item = dice.fault();
            plan.items.push(item);
        }
        for _ in 0..dice.within(0, 3) {
            let item = dice.message();
            plan.items.push(item);
        }
        for _ in 0..dice.within(0, 3) {
            let item = dice.user(n_jobs);
            plan.items.push(item);
        }
        if dice.chance(15) {
            let (machine, at) = (dice.below(WORKERS as u64) as usize, dice.seconds(1, 90));
            plan.items.push(Item::Term { machine, at });
        }
        if dice.chance(30) {
            plan.fail_units(&mut dice);
        }
        match dice.below(100) {
            0..2 => plan.kill_claimers(),
            2..5 => plan.hold_up_a_hand_back(&mut dice),
            5..17 if plan.trains => plan.disturb_the_training(&mut dice, n_jobs - 1),
            _ => {}
        }
        if dice.chance(6) {
            let of = dice.one_of(&[Lane::Units, Lane::Units, Lane::Assemble, Lane::Collect]);
            plan.items.push(Item::Silence { of });
        }
        plan
    }

    /// Whoever claims the only unit is killed before anybody else hears of it.
    fn kill_claimers(&mut self) {
        self.jobs = vec![1];
        self.predicts = false;
        self.trains = false;
        self.is_late = false;
        self.items = (0..WORKERS)
            .map(|machine| Item::Call {
                machine,
                of: Of::UnitWrite,
                nth: 1,
                moment: Moment::After,
                deed: Deed::Crash,
            })
            .collect();
    }

    /// A worker that is asked to end can't hand its unit back before the lease is over.
    fn hold_up_a_hand_back(&mut self, dice: &mut Dice) {
        let (machine, at) = (dice.below(WORKERS as u64) as usize, dice.seconds(20, 60));
        self.items.push(Item::Term { machine, at });
        self.items.push(Item::Hit {
            machine,
            job: 0,
            when: When::At(at + Duration::from_millis(dice.within(0, 400))),
            freeze: Some(dice.seconds(45, 60)),
        });
    }

    /// More urgent units than workers come while the training runs.
    fn call_for_all_workers(&mut self) {
        self.jobs = vec![2, 6];
        self.is_late = true;
        self.items.push(Item::User {
            job: 1,
            when: When::Reached(JobState::Assembling, Duration::ZERO),
            verb: Verb::Raise,
        });
    }

    /// Something urgent comes while it runs, or somebody wants the best so far, or its worker is gone.
    fn disturb_the_training(&mut self, dice: &mut Dice, training: usize) {
        let after = dice.seconds(0, 60);
        let when = When::Reached(JobState::Running, after);
        self.items.push(match dice.below(4) {
            0 => Item::User {
                job: training,
                when,
                verb: Verb::Stop,
            },
            1 => Item::Hit {
                machine: dice.below(WORKERS as u64) as usize,
                job: training,
                when,
                freeze: None,
            },
            // The other data set is raised where all workers have something to do.
            _ => Item::User {
                job: training - 1,
                when,
                verb: Verb::Raise,
            },
        });
    }

    fn fail_units(&mut self, dice: &mut Dice) {
        for _ in 0..dice.within(1, 2) {
            let is_training = self.trains && dice.chance(30);
            let (job, n_units) = if is_training {
                (n_jobs(self) - 1, 1)
            } else {
                let job = dice.below(self.jobs.len() as u64) as usize;
                (job, self.jobs[job])
            };
            let is_permanent = dice.chance(40);
            self.items.push(Item::Failing {
                job,
                unit: dice.below(u64::from(n_units)) as u32,
                times: if is_permanent {
                    1
                } else {
                    dice.within(1, 4) as u32
                },
                is_permanent,
                is_healed_by_retry: dice.chance(70),
            });
            if dice.chance(30) {
                self.items.push(Item::Message {
                    of: Lane::Collect,
                    nth: dice.within(1, 8) as u32,
                    fate: Fate::Twice(dice.seconds(3, 60)),
                });
            }
            if dice.chance(75) {
                let pause = dice.seconds(0, 70);
                self.items.push(Item::User {
                    job,
                    when: When::Reached(JobState::Failed, pause),
                    verb: Verb::Retry,
                });
                if is_training {
                    // Soon after: nobody has taken it up yet.
                    let pause = pause + Duration::from_millis(dice.within(0, 1500));
                    self.items.push(Item::User {
                        job,
                        when: When::Reached(JobState::Failed, pause),
                        verb: Verb::Stop,
                    });
                }
            }
        }
    }
}

struct Dice(SplitMix);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn seconds(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.within(low * 1000, high * 1000))
    }

    /// Workers and collectors meet most of it: there is most to break.
    fn machine(&mut self) -> usize {
        if self.chance(55) {
            return self.below(WORKERS as u64) as usize;
        }
        self.within(WORKERS as u64, MACHINES as u64 - 1) as usize
    }

    fn fault(&mut self) -> Item {
        let machine = self.machine();
        let of = self.one_of(&Of::ALL);
        let nth = match of {
            Of::Any | Of::Read => self.within(1, 60),
            Of::UnitWrite | Of::Queue => self.within(1, 14),
            Of::JobWrite | Of::FileWrite => self.within(1, 8),
        } as u32;
        let moment = self.one_of(&[Moment::Before, Moment::After, Moment::After]);
        let deed = match self.below(100) {
            0..24 => Deed::Fail(Kind::Unavailable),
            24..32 if moment == Moment::Before => Deed::Late(self.late()),
            24..44 => Deed::Fail(Kind::Precondition),
            44..50 => Deed::Fail(Kind::Exists),
            50..60 => Deed::Slow(self.seconds(1, 60)),
            92..100 if moment == Moment::Before => Deed::LastWrite(self.late()),
            60..80 => Deed::Freeze(self.seconds(20, 130)),
            _ => Deed::Crash,
        };
        Item::Call {
            machine,
            of,
            nth,
            moment,
            deed,
        }
    }

    /// How late a write may come that was given up for lost: mostly soon, rarely after a lease.
    fn late(&mut self) -> Duration {
        match self.below(3) {
            0 => self.seconds(0, 1),
            1 => self.seconds(1, 20),
            _ => self.seconds(20, 80),
        }
    }

    fn message(&mut self) -> Item {
        let of = self.one_of(&[Lane::Units, Lane::Units, Lane::Assemble, Lane::Collect]);
        let fate = match self.below(3) {
            0 => Fate::Lost,
            1 => Fate::Twice(self.seconds(0, 120)),
            _ => Fate::Late(self.seconds(1, 150)),
        };
        let nth = self.within(1, if of == Lane::Assemble { 3 } else { 10 }) as u32;
        Item::Message { of, nth, fate }
    }

    fn when(&mut self) -> When {
        if self.chance(35) {
            return When::At(self.seconds(0, 180));
        }
        let state = self.one_of(&STATES);
        let after = match self.below(3) {
            0 => self.within(0, 250),
            1 => self.within(0, 4000),
            _ => self.within(0, 70_000),
        };
        When::Reached(state, Duration::from_millis(after))
    }

    fn hit(&mut self, n_jobs: usize) -> Item {
        Item::Hit {
            machine: self.machine(),
            job: self.below(n_jobs as u64) as usize,
            when: self.when(),
            freeze: self.chance(40).then(|| self.seconds(20, 130)),
        }
    }

    fn user(&mut self, n_jobs: usize) -> Item {
        let job = self.below(n_jobs as u64) as usize;
        let when = self.when();
        let verb = self.one_of(&[
            Verb::Cancel,
            Verb::Cancel,
            Verb::Stop,
            Verb::Raise,
            Verb::Retry,
            Verb::Look,
        ]);
        Item::User { job, when, verb }
    }
}
