//! What is to happen in one schedule: a list drawn from a seed, whose items can be left out one by one.

use std::time::Duration;

use cellmill_core::job::JobState;
use cellmill_core::random::SplitMix;
use cellmill_store::fault::Kind;
use serde::Serialize;

/// Everything that a schedule is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub home: Home,
    /// Images of each data set; one unit each.
    pub jobs: Vec<u32>,
    /// Is a prediction submitted that waits for the first data set?
    pub predicts: bool,
    pub window: usize,
    pub items: Vec<Item>,
}

/// Whose clock makes the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Home {
    /// The bucket's: whole seconds, told by every answer.
    Bucket,
    /// The folder's machine: one clock for all.
    Folder,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// To the n-th call of a kind that a machine makes.
    Call {
        machine: usize,
        of: Of,
        nth: u32,
        moment: Moment,
        deed: Deed,
    },
    /// To the n-th message that anybody sends into such a queue.
    Message { of: Lane, nth: u32, fate: Fate },
    /// No message of a kind arrives before the calm.
    Silence { of: Lane },
    /// A machine's process is killed, or stands still for so long.
    Hit {
        machine: usize,
        job: usize,
        when: When,
        freeze: Option<Duration>,
    },
    /// A worker is asked to end.
    Term { machine: usize, at: Duration },
    /// A person wants something.
    User { job: usize, when: When, verb: Verb },
    /// The algorithm fails on a unit this often in each round it is in.
    Failing {
        job: usize,
        unit: u32,
        times: u32,
        is_permanent: bool,
        /// In later rounds it works.
        is_healed_by_retry: bool,
    },
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Any,
    /// Writes of job records.
    JobWrite,
    /// Writes of unit records.
    UnitWrite,
    /// Writes of anything else.
    FileWrite,
    Read,
    Queue,
}

impl Of {
    pub const ALL: [Self; 6] = [
        Self::Any,
        Self::JobWrite,
        Self::UnitWrite,
        Self::FileWrite,
        Self::Read,
        Self::Queue,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing happened.
    Before,
    /// It happened, and nobody was told.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The caller gets an error.
    Fail(Kind),
    /// The caller gets an error, and the write is done so much later.
    Late(Duration),
    /// The call takes so long.
    Slow(Duration),
    /// The whole process stands still for so long.
    Freeze(Duration),
    /// The process is gone, and another one starts later.
    Crash,
}

/// The queues by what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Units,
    Assemble,
    Collect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    /// It comes twice, the second time so much later.
    Twice(Duration),
    Late(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(Duration),
    /// So long after the job was first in this state.
    Reached(JobState, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verb {
    Cancel,
    Raise,
    Retry,
    Look,
}

impl Verb {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Raise => "raise",
            Self::Retry => "retry",
            Self::Look => "look",
        }
    }
}

/// Machines by number: the workers, then those of the functions and of the api.
pub const WORKERS: usize = 3;
pub const ASSEMBLERS: [usize; 2] = [3, 4];
pub const COLLECTORS: [usize; 2] = [5, 6];
pub const JANITORS: [usize; 2] = [7, 8];
pub const API: usize = 9;
pub const MACHINES: usize = 10;

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
            window: dice.within(2, 6) as usize,
            items: Vec::new(),
            jobs,
        };
        let n_jobs = plan.jobs.len() + usize::from(plan.predicts);
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
        for nth in 2..8 {
            self.items.push(Item::Call {
                machine,
                of: Of::UnitWrite,
                nth,
                moment: Moment::Before,
                deed: Deed::Late(dice.seconds(45, 75)),
            });
        }
    }

    fn fail_units(&mut self, dice: &mut Dice) {
        for _ in 0..dice.within(1, 2) {
            let job = dice.below(self.jobs.len() as u64) as usize;
            let is_permanent = dice.chance(40);
            self.items.push(Item::Failing {
                job,
                unit: dice.below(u64::from(self.jobs[job])) as u32,
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
                self.items.push(Item::User {
                    job,
                    when: When::Reached(JobState::Failed, dice.seconds(0, 70)),
                    verb: Verb::Retry,
                });
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
            Verb::Raise,
            Verb::Retry,
            Verb::Look,
        ]);
        Item::User { job, when, verb }
    }
}

impl Item {
    /// The job that it is about.
    pub fn job(&self) -> Option<usize> {
        match self {
            Self::User { job, .. } | Self::Hit { job, .. } | Self::Failing { job, .. } => {
                Some(*job)
            }
            _ => None,
        }
    }
}
