//! A hundred schedules with every test run, and proof that the check bites. Many more: `simulate-jobs`.
//!
//! `CELLMILL_SIM_SEED` chooses the first seed, `CELLMILL_SIM_SCHEDULES` how many follow. A seed that fails is made
//! small and told line by line; `simulate-jobs seed --shrink --seed <seed>` does the same.

use std::time::Duration;

use cellmill_core::job::JobState;
use cellmill_simulation::bugs::Bug;
use cellmill_simulation::history::What;
use cellmill_simulation::plan::{COLLECTORS, Deed, Home, Item, Moment, Of, Plan, Verb, When};
use cellmill_simulation::report::{find, run};
use cellmill_simulation::run_plan;
use cellmill_simulation::shrink::shrink;
use cellmill_store::fault::Kind;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |it| it.parse().expect("a number"))
}

/// The shortest history that breaks the rule, without what only read.
fn told(seed: u64, rule: &str) -> String {
    let plan = shrink(&Plan::draw(seed), None, rule);
    let outcome = run_plan(&plan, None, true);
    let items = plan.items.iter().map(|it| format!("{it:?}"));
    let is_of_interest = |it: &What| !matches!(it, What::Call { call, .. } if call.starts_with("Get") || call.starts_with("List"));
    let events = outcome.history.iter().filter(|it| is_of_interest(&it.what));
    let violations = outcome.violations.iter().map(ToString::to_string);
    let lines: Vec<String> = items
        .chain(events.map(ToString::to_string))
        .chain(violations)
        .collect();
    lines.join("\n")
}

#[test]
fn no_schedule_breaks_a_rule() {
    let seed = number("CELLMILL_SIM_SEED", 1);
    let schedules = number("CELLMILL_SIM_SCHEDULES", 100);
    let report = run(schedules, seed, 2, |_| ());
    if let Some(first) = report.failed.first() {
        panic!(
            "{} of {schedules} schedules from seed {seed} on broke a rule, the first of seed {}: {}\n{}",
            report.n_failed,
            first.seed,
            first.what,
            told(first.seed, first.rule)
        );
    }
    assert!(report.median_calls >= 200, "{}", report.median_calls);
    assert!(report.median_faults >= 2, "{}", report.median_faults);
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let story = |seed| -> Vec<String> {
        let outcome = run_plan(&Plan::draw(seed), None, true);
        outcome.history.iter().map(ToString::to_string).collect()
    };
    for seed in 1..6 {
        let (first, second) = (story(seed), story(seed));
        let differs = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// The others take more schedules: `simulate-jobs bugs`.
#[test]
fn bugs_that_show_soon_are_found() {
    let soon = [
        Bug::HintDeletedBeforeClaim,
        Bug::LeaseByOwnClock,
        Bug::JanitorDeletesOutput,
        Bug::CancelToldBeforeWritten,
        Bug::MarkRemovedEarly,
        Bug::ResultHoldsTime,
        Bug::RetryRestartsAttempts,
        Bug::QueueIsTheTruth,
        Bug::FailedCountedAsDone,
    ];
    for bug in soon {
        let found = find(bug, 1, 150, 2);
        assert!(found.after.is_some(), "{} was not found", found.name);
    }
}

#[test]
fn a_failing_schedule_is_made_smaller_and_still_fails() {
    let bug = Some(Bug::CancelToldBeforeWritten);
    let found = find(Bug::CancelToldBeforeWritten, 1, 150, 1);
    let (seed, rule) = (found.seed.expect("found"), found.rule.expect("a rule"));
    let whole = Plan::draw(seed);
    let small = shrink(&whole, bug, rule);
    assert!(small.items.len() < whole.items.len(), "{small:?}");
    let outcome = run_plan(&small, bug, false);
    assert_eq!(outcome.violations[0].rule, rule);
}

/// A collector that stands still between reading a failed unit and counting it, while the job is retried. Found as
/// seed 38817, of which this is the smallest plan.
#[test]
fn a_late_collector_counts_no_failure_of_the_round_before() {
    let seconds = Duration::from_secs_f64;
    let call = |machine, deed| Item::Call {
        machine,
        of: Of::JobWrite,
        nth: 1,
        moment: Moment::Before,
        deed,
    };
    let plan = Plan {
        seed: 38_817,
        home: Home::Bucket,
        jobs: vec![3],
        predicts: false,
        trains: false,
        is_late: false,
        window: 3,
        items: vec![
            call(COLLECTORS[1], Deed::Fail(Kind::Precondition)),
            call(COLLECTORS[0], Deed::Freeze(seconds(120.65))),
            Item::Term {
                machine: 0,
                at: seconds(76.78),
            },
            Item::Failing {
                job: 0,
                unit: 2,
                times: 1,
                is_permanent: true,
                is_healed_by_retry: true,
            },
            Item::User {
                job: 0,
                when: When::Reached(JobState::Failed, seconds(60.901)),
                verb: Verb::Retry,
            },
        ],
    };
    let outcome = run_plan(&plan, None, false);
    assert_eq!(outcome.violations, []);
    assert!(outcome.taken.iter().filter(|it| **it).count() >= 4);
}
