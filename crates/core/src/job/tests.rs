//! The life of a job, event by event and in any order.

use proptest::prelude::*;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn job() -> JobRecord {
    let parameters = JobParameters::Data(DataParameters::default());
    JobRecord::accepted(
        Dir::parse("DkxD9Kjl").unwrap(),
        1,
        parameters,
        UnitClass::cpu(),
        "me".to_owned(),
        now(),
    )
}

fn step(job: &JobRecord, event: JobEvent) -> (JobRecord, Effects) {
    job.apply(event, 2, now())
        .unwrap()
        .expect("the event changes the job")
}

fn queued(units: u32) -> JobRecord {
    step(
        &job(),
        JobEvent::Assembled {
            units,
            snapshot: "s".to_owned(),
        },
    )
    .0
}

fn ended(done: &[u32], failed: &[u32]) -> JobEvent {
    JobEvent::UnitsEnded {
        done: done.to_vec(),
        failed: failed.to_vec(),
    }
}

fn cancel() -> JobEvent {
    JobEvent::Cancelled {
        by: "me".to_owned(),
    }
}

#[test]
fn hints_are_released_as_units_end() {
    let (job, effects) = step(
        &job(),
        JobEvent::Assembled {
            units: 4,
            snapshot: "s".to_owned(),
        },
    );
    assert_eq!(effects.hints, [0, 1]);
    let (job, effects) = step(&job, ended(&[1], &[]));
    assert_eq!(effects.hints, [2]);
    assert_eq!(
        job.apply(ended(&[1], &[]), 2, now()),
        Ok(None),
        "a repeated end changes nothing"
    );
    let (job, effects) = step(&job, ended(&[0, 2, 3], &[]));
    assert!(effects.collect && effects.hints.is_empty());
    assert_eq!(job.state, JobState::Collecting);
    assert_eq!(job.percent(), 99);
}

#[test]
fn a_job_with_a_failed_unit_fails_when_all_ended_and_retries_only_those() {
    let (job, _) = step(&queued(3), ended(&[0], &[1]));
    assert_eq!(job.state, JobState::Queued, "the others still run");
    let (job, effects) = step(&job, ended(&[2], &[]));
    assert_eq!(job.state, JobState::Failed);
    assert!(effects.ended && !effects.collect);
    let (job, effects) = step(
        &job,
        JobEvent::Retried {
            by: "me".to_owned(),
        },
    );
    assert_eq!(
        (job.round, job.state, effects.hints),
        (1, JobState::Queued, vec![1])
    );
}

#[test]
fn a_cancel_is_final_and_refused_once_results_are_written() {
    let (cancelled, _) = step(&queued(1), cancel());
    for late in [
        ended(&[0], &[]),
        JobEvent::WorkStarted,
        JobEvent::Collected {
            result: serde_json::Value::Null,
            report: None,
        },
    ] {
        assert_eq!(cancelled.apply(late, 2, now()), Ok(None));
    }
    assert!(
        cancelled
            .apply(
                JobEvent::Retried {
                    by: "me".to_owned()
                },
                2,
                now()
            )
            .is_err()
    );
    let (collecting, _) = step(&queued(1), ended(&[0], &[]));
    assert!(collecting.apply(cancel(), 2, now()).is_err());
}

#[test]
fn raising_sends_the_window_again_once() {
    let raise = || JobEvent::Raised {
        by: "me".to_owned(),
    };
    let (job, effects) = step(&queued(5), raise());
    assert_eq!(effects.hints, [0, 1]);
    assert_eq!(job.apply(raise(), 2, now()), Ok(None));
}

#[test]
fn a_stop_keeps_what_there_is_and_is_a_cancel_before_that() {
    let stop = || JobEvent::Stopped {
        by: "me".to_owned(),
    };
    assert!(
        queued(1).apply(stop(), 2, now()).is_err(),
        "a data set has no best so far"
    );
    let training = |state: &JobRecord| JobRecord {
        kind: JobKind::Train,
        ..state.clone()
    };
    let (cancelled, _) = step(&training(&queued(1)), stop());
    assert_eq!(cancelled.state, JobState::Cancelled);
    let running = step(&training(&queued(1)), JobEvent::WorkStarted).0;
    let (stopped, _) = step(&running, stop());
    assert!(stopped.wishes.stop && stopped.state == JobState::Running);
    assert_eq!(stopped.apply(stop(), 2, now()), Ok(None));
    let (failed, _) = step(&stopped, ended(&[], &[0]));
    assert!(failed.apply(stop(), 2, now()).is_err());
    let retry = JobEvent::Retried {
        by: "me".to_owned(),
    };
    let (again, _) = step(&failed, retry);
    assert!(!again.wishes.stop, "a retry wants the whole");
    assert!(
        step(&again, stop()).0.wishes.stop,
        "an earlier round may have left something"
    );
}

#[test]
fn a_job_without_units_is_collected_at_once() {
    let job = queued(0);
    assert_eq!(job.state, JobState::Collecting);
}

#[test]
fn the_history_keeps_its_last_entries() {
    let mut job = job();
    for n in 0..200 {
        job.note(now(), n.to_string());
    }
    assert_eq!(job.history.len(), JobRecord::MAX_HISTORY);
    assert_eq!(job.history.last().unwrap().what, "199");
}

fn any_event() -> impl Strategy<Value = JobEvent> {
    let units = || proptest::collection::vec(0u32..6, 0..4);
    prop_oneof![
        (0u32..6).prop_map(|units| JobEvent::Assembled {
            units,
            snapshot: "s".to_owned()
        }),
        Just(JobEvent::Progressed(Cursor {
            step: "cells".to_owned(),
            at: 1,
            of: 2
        })),
        Just(JobEvent::WorkStarted),
        (units(), units()).prop_map(|(done, failed)| JobEvent::UnitsEnded { done, failed }),
        Just(JobEvent::Collected {
            result: serde_json::Value::Null,
            report: None
        }),
        Just(JobEvent::Failed {
            error: "x".to_owned()
        }),
        Just(JobEvent::Cancelled {
            by: "me".to_owned()
        }),
        Just(JobEvent::Stopped {
            by: "me".to_owned()
        }),
        Just(JobEvent::Raised {
            by: "me".to_owned()
        }),
        Just(JobEvent::Retried {
            by: "me".to_owned()
        }),
    ]
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_the_rules(events in proptest::collection::vec(any_event(), 0..40)) {
        let mut job = job();
        for event in events {
            let Ok(Some((next, effects))) = job.apply(event, 2, now()) else { continue };
            prop_assert!(job.state != JobState::Cancelled, "a cancelled job never changes");
            prop_assert!(job.state != JobState::Done, "a done job never changes");
            prop_assert!(next.round >= job.round);
            prop_assert!(effects.hints.iter().all(|&unit| unit < next.units.count && !next.units.is_ended(unit)));
            if next.state == JobState::Done || next.state == JobState::Collecting {
                prop_assert_eq!(next.units.done.len(), next.units.count);
            }
            prop_assert!(next.units.done.iter().all(|unit| !next.units.failed.contains(unit)));
            prop_assert!((next.percent() == 100) == (next.state == JobState::Done));
            job = next;
        }
    }
}
