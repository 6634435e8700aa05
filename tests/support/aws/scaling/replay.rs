//! A measured series played to the policy: how many tasks it wants, and which it would end.
//!
//! Tasks that hold a unit are protected; ECS ends others only, and leaves the rest of the wish open.

use super::expression::Values;
use super::template::Policy;

/// What was measured at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Since the begin.
    pub seconds: f64,
    pub waiting: f64,
    pub leased: f64,
    /// Of each task that runs: does it hold a unit, and has it said that it is protected?
    pub tasks: Vec<Task>,
}

/// A worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub holds_unit: bool,
    pub is_protected: bool,
}

/// The policy and its bounds.
#[derive(Clone, Debug)]
pub struct Replay {
    pub policy: Policy,
    pub most: f64,
}

/// What came of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// What the policy wanted at each moment.
    pub desired: Vec<f64>,
    /// Moments at which it wanted fewer tasks than ran.
    pub scale_ins: usize,
    /// Tasks that were ended in all.
    pub ended: usize,
    /// Of these, those that held a unit: what must never be.
    pub ended_with_unit: usize,
    /// Tasks that held a unit and were not protected, whether or not they were ended.
    pub unprotected_with_unit: usize,
}

impl Replay {
    pub fn run(&self, series: &[Moment]) -> Replayed {
        let mut replayed = Replayed::default();
        let mut may_shrink_at = 0.0;
        for moment in series {
            let n = moment.tasks.len() as f64;
            let desired = self.desired(moment, n);
            replayed.desired.push(desired);
            let naked = |it: &&Task| it.holds_unit && !it.is_protected;
            replayed.unprotected_with_unit += moment.tasks.iter().filter(naked).count();
            if desired >= n || moment.seconds < may_shrink_at {
                continue;
            }
            replayed.scale_ins += 1;
            may_shrink_at = moment.seconds + self.policy.scale_in_cooldown_s;
            let unprotected = moment.tasks.iter().filter(|it| !it.is_protected);
            let ended: Vec<&Task> = unprotected.take((n - desired) as usize).collect();
            replayed.ended += ended.len();
            replayed.ended_with_unit += ended.iter().filter(|it| it.holds_unit).count();
        }
        replayed
    }

    /// What target tracking makes of the metric: as many tasks as hold it at its target. A missing value changes nothing.
    fn desired(&self, moment: &Moment, tasks: f64) -> f64 {
        let values: Values = [
            ("waiting".to_owned(), Some(moment.waiting)),
            ("leased".to_owned(), Some(moment.leased)),
            ("tasks".to_owned(), Some(tasks)),
        ]
        .into();
        if self.policy.wake.value(&values).is_some_and(|it| it >= 1.0) {
            return (tasks + 1.0).min(self.most);
        }
        let metric = self.policy.expression.value(&values);
        let wanted = metric.map_or(tasks, |it| (tasks * it / self.policy.target).ceil());
        wanted.clamp(0.0, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::Expression;
    use super::*;

    fn replay() -> Replay {
        let text = "IF(FILL(tasks, 0) > 0, (waiting + leased) / FILL(tasks, 1), waiting + leased)";
        let wake = "IF((waiting + leased) > 0 AND FILL(tasks, 0) < 1, 1, 0)";
        Replay {
            policy: Policy {
                expression: Expression::parse(text).unwrap(),
                text: text.to_owned(),
                target: 3.0,
                scale_in_cooldown_s: 300.0,
                scale_out_cooldown_s: 60.0,
                wake: Expression::parse(wake).unwrap(),
            },
            most: 20.0,
        }
    }

    fn moment(seconds: f64, waiting: f64, tasks: &[(bool, bool)]) -> Moment {
        let leased = tasks.iter().filter(|it| it.0).count() as f64;
        Moment {
            seconds,
            waiting,
            leased,
            tasks: tasks
                .iter()
                .map(|&(holds_unit, is_protected)| Task {
                    holds_unit,
                    is_protected,
                })
                .collect(),
        }
    }

    #[test]
    fn much_waiting_work_wants_many_tasks_and_the_first_comes_by_itself() {
        let series = [
            moment(0.0, 5000.0, &[]),
            moment(60.0, 5000.0, &[(true, true)]),
            moment(120.0, 5.0, &[(true, true)]),
        ];
        assert_eq!(replay().run(&series).desired, [1.0, 20.0, 2.0]);
    }

    #[test]
    fn a_task_that_holds_a_unit_stays_as_long_as_it_is_protected() {
        let series = [moment(
            0.0,
            0.0,
            &[(true, true), (true, true), (false, false)],
        )];
        let replayed = replay().run(&series);
        assert_eq!(replayed.desired, [1.0]);
        assert_eq!((replayed.ended, replayed.ended_with_unit), (1, 0));
        let naked = [moment(
            0.0,
            0.0,
            &[(true, false), (true, true), (false, true)],
        )];
        let replayed = replay().run(&naked);
        assert_eq!((replayed.ended, replayed.ended_with_unit), (1, 1));
        assert_eq!(replayed.unprotected_with_unit, 1);
    }

    #[test]
    fn after_a_scale_in_the_next_one_waits() {
        let idle = [(false, false); 3];
        let series = [
            moment(0.0, 0.0, &idle),
            moment(100.0, 0.0, &idle),
            moment(301.0, 0.0, &idle),
        ];
        assert_eq!(replay().run(&series).scale_ins, 2);
    }
}
