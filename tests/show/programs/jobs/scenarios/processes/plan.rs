//! What happens in a run: a pure function of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Everything that is done to the processes of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) harms: Vec<Harm>,
    pub(super) server: Option<ServerHarm>,
    pub(super) cancel_at: Option<Moment>,
}

/// Something that is done to a worker in the middle of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Harm {
    /// So many of all units were claimed before, as a share.
    pub(super) after: f64,
    /// How far into the unit, in lengths of a unit.
    pub(super) depth: f64,
    /// Between its last output and its commit instead.
    pub(super) before_commit: bool,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum How {
    /// `kill -9`; another worker is started so many seconds later.
    Kill { replaced_after: f64 },
    /// `SIGSTOP` for longer than the lease, then `SIGCONT`.
    Freeze(Until),
}

/// When somebody frozen goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Until {
    /// Another worker has the unit.
    Taken,
    /// The unit has ended without it.
    Ended,
    /// All jobs have ended.
    AllEnded,
}

/// Something that is done to the server, for so many seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ServerHarm {
    Kill { at: Moment, down: f64 },
    Freeze { at: Moment, lasts: f64 },
}

/// A time after the jobs were accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Moment {
    /// While there is much to do: as a share of what undisturbed jobs take.
    OfCalm(f64),
    /// While lost units are waited for: in seconds.
    Later(f64),
}

impl Moment {
    pub(super) fn after(self, calm: Duration) -> Duration {
        match self {
            Self::OfCalm(share) => calm.mul_f64(share),
            Self::Later(seconds) => Duration::from_secs_f64(seconds),
        }
    }

    fn draw(dice: &mut StdRng) -> Self {
        if dice.random_bool(0.6) {
            Self::OfCalm(dice.random_range(0.0..1.0))
        } else {
            Self::Later(dice.random_range(0.0..10.0))
        }
    }
}

impl Plan {
    /// Nothing happens.
    pub(super) fn calm() -> Self {
        Self::default()
    }

    pub(super) fn draw(seed: u64, run: u32) -> Self {
        let mut dice =
            StdRng::seed_from_u64(seed ^ u64::from(run).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let n_harms = dice.random_range(1..=3);
        let mut harms: Vec<Harm> = (0..n_harms).map(|_| Harm::draw(&mut dice)).collect();
        harms.sort_by(|a, b| a.after.total_cmp(&b.after));
        let server = match dice.random_range(0..10) {
            0 | 1 => Some(ServerHarm::Kill {
                at: Moment::draw(&mut dice),
                down: dice.random_range(0.0..6.0),
            }),
            2 => Some(ServerHarm::Freeze {
                at: Moment::draw(&mut dice),
                lasts: dice.random_range(6.0..10.0),
            }),
            _ => None,
        };
        let is_cancelled = dice.random_bool(0.25);
        let cancel_at = is_cancelled.then(|| Moment::draw(&mut dice));
        Self {
            harms,
            server,
            cancel_at,
        }
    }
}

impl Harm {
    fn draw(dice: &mut StdRng) -> Self {
        let until = [Until::Taken, Until::Ended, Until::AllEnded][dice.random_range(0..3)];
        Self {
            after: dice.random_range(0.0..0.7),
            depth: dice.random_range(0.0..1.0),
            before_commit: dice.random_bool(0.4),
            how: if dice.random_bool(0.45) {
                How::Kill {
                    replaced_after: dice.random_range(0.0..3.0),
                }
            } else {
                How::Freeze(until)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed_and_all_kinds_of_harm_are_drawn() {
        assert_eq!(Plan::draw(1, 7), Plan::draw(1, 7));
        let plans: Vec<Plan> = (0..200).map(|it| Plan::draw(1, it)).collect();
        let n = |of: fn(&Harm) -> bool| {
            plans
                .iter()
                .flat_map(|it| &it.harms)
                .filter(|it| of(it))
                .count()
        };
        assert!(n(|it| matches!(it.how, How::Freeze(_)) && it.before_commit) > 20);
        assert!(n(|it| matches!(it.how, How::Kill { .. }) && it.before_commit) > 20);
        assert!(plans.iter().filter(|it| it.server.is_some()).count() > 20);
        assert!(plans.iter().filter(|it| it.cancel_at.is_some()).count() > 20);
        assert!(plans.iter().all(|it| !it.harms.is_empty()));
    }
}
