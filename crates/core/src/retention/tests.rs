use proptest::prelude::*;

use super::*;
use crate::ids::{Dir, WorkerId};
use crate::job::{DataParameters, JobEvent, JobParameters};
use crate::keys::{JobKind, ObjectKey, UnitKey};
use crate::messages::UnitClass;
use crate::unit::{Claim, Output, decide_claim};

const KEPT: Duration = Duration::from_hours(30 * 24);

fn at(days: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(days)
}

fn running() -> JobRecord {
    let dir = Dir::parse("DkxD9Kjl").unwrap();
    let parameters = JobParameters::Data(DataParameters::default());
    let job = JobRecord::accepted(dir, 1, parameters, UnitClass::cpu(), "me".to_owned(), at(0));
    let assembled = JobEvent::Assembled {
        units: 1,
        snapshot: "s".to_owned(),
    };
    job.apply(assembled, 2, at(0)).unwrap().unwrap().0
}

fn step(job: &JobRecord, event: JobEvent) -> JobRecord {
    job.apply(event, 2, at(0)).unwrap().unwrap().0
}

fn failed() -> JobRecord {
    let ended = JobEvent::UnitsEnded {
        done: vec![],
        failed: vec![0],
    };
    step(&running(), ended)
}

fn retry() -> JobEvent {
    JobEvent::Retried {
        by: "me".to_owned(),
    }
}

#[test]
fn a_job_is_cleared_long_after_it_ended_and_not_before() {
    let job = running();
    assert_eq!(why_clear(&job, at(0), KEPT, at(1000)), None, "it runs");
    let job = failed();
    assert_eq!(job.times.ended, Some(at(0)));
    assert_eq!(why_clear(&job, at(0), KEPT, at(30)), None);
    let why = why_clear(&job, at(0), KEPT, at(31));
    assert_eq!(why.as_deref(), Some("its job ended 31 days ago"));
    assert_eq!(job.clear(at(0), KEPT, at(30), None), None);
}

#[test]
fn a_record_without_the_time_of_its_end_is_as_old_as_its_last_write() {
    let mut job = failed();
    job.times.ended = None;
    assert_eq!(why_clear(&job, at(10), KEPT, at(31)), None);
    assert!(why_clear(&job, at(0), KEPT, at(31)).is_some());
}

#[test]
fn what_is_cleared_is_not_retried() {
    let job = failed();
    assert!(job.apply(retry(), 2, at(29)).is_ok());
    let cleared = job.clear(at(0), KEPT, at(31), Some("no disk")).unwrap();
    let refused = cleared.apply(retry(), 2, at(31)).unwrap_err();
    assert!(refused.to_string().contains("make a new one"), "{refused}");
    assert_eq!(cleared.clear(at(0), KEPT, at(32), None), None, "once");
    assert!(
        why_clear(&cleared, at(31), KEPT, at(31)).is_some(),
        "a sweep that was killed goes on"
    );
    let error = cleared.error.as_deref().unwrap();
    assert!(
        error.ends_with(": no disk"),
        "what the unit said outlives its record: {error}"
    );
    let last = cleared.history.last().unwrap();
    assert!(last.what.contains("31 days ago"), "{}", last.what);
}

#[test]
fn stray_packs_are_those_that_a_finished_data_set_does_not_list() {
    let collecting = step(
        &running(),
        JobEvent::UnitsEnded {
            done: vec![0],
            failed: vec![],
        },
    );
    let collected = JobEvent::Collected {
        result: Value::Null,
        report: None,
    };
    let done = step(&collecting, collected);
    let why = |job, is_listed, now| why_stray_pack(job, is_listed, at(0), at(now)).is_some();
    assert!(why(&done, false, 2));
    assert!(!why(&done, true, 2), "it is listed");
    assert!(!why(&done, false, 1), "it is a day old and not older");
    for other in [&running(), &collecting, &failed()] {
        assert!(!why(other, false, 1000), "{:?}", other.state);
    }
}

#[test]
fn a_worker_is_forgotten_a_day_after_it_fell_silent() {
    let why = |now| why_gone(at(0), Timing::default(), now);
    assert_eq!(why(at(1)), None);
    let later = at(1) + TimeDelta::seconds(1);
    assert!(why(later).is_some());
    let slow = Timing::of_lease(Duration::from_hours(24));
    assert_eq!(why_gone(at(0), slow, later), None, "its lease is that long");
}

fn unit_key() -> UnitKey {
    UnitKey {
        dir: Dir::parse("DkxD9Kjl").unwrap(),
        kind: JobKind::Data,
        unit: 0,
    }
}

fn claimed() -> UnitRecord {
    let worker = WorkerId::parse("w").unwrap();
    let timing = Timing::default();
    match decide_claim(&running(), None, &unit_key(), &worker, at(0), timing) {
        Claim::Take(unit) => unit,
        other => panic!("{other:?}"),
    }
}

fn output(attempt: u32, file: &str) -> String {
    let key = ObjectKey::UnitOutput {
        unit: unit_key(),
        attempt,
        file: file.to_owned(),
    };
    key.to_path()
}

fn why(unit: &UnitRecord, attempt: u32, file: &str, now: i64) -> Option<String> {
    let named = keys_named_by(unit);
    why_orphan(
        unit,
        &named,
        attempt,
        &output(attempt, file),
        at(0),
        at(now),
    )
}

#[test]
fn orphans_lie_under_attempts_that_are_over() {
    let mut unit = claimed();
    unit.attempt = 3;
    unit.checkpoints = serde_json::from_value(checkpoint(&output(1, "kept"))).unwrap();
    for (state, attempt, file, want) in [
        (
            UnitState::Leased,
            2,
            "rows",
            Some("attempt 2 was superseded by attempt 3"),
        ),
        (UnitState::Leased, 1, "kept", None),
        (UnitState::Leased, 3, "rows", None),
        (UnitState::Waiting, 3, "rows", None),
        (UnitState::Done, 3, "rows", None),
        (
            UnitState::Done,
            1,
            "log.txt",
            Some("attempt 1 was superseded by attempt 3"),
        ),
        (UnitState::Failed, 3, "rows", Some("its unit failed")),
        (UnitState::Failed, 3, "log.txt", None),
        (UnitState::Failed, 1, "kept", None),
        (
            UnitState::Cancelled,
            3,
            "rows",
            Some("its unit was cancelled"),
        ),
        (UnitState::Cancelled, 4, "rows", None),
    ] {
        unit.state = state;
        assert_eq!(
            why(&unit, attempt, file, 2).as_deref(),
            want,
            "{state:?}, attempt {attempt}, {file}"
        );
        assert_eq!(why(&unit, attempt, file, 1), None, "not yet a day old");
    }
}

/// The named checkpoints of a record.
fn checkpoint(key: &str) -> Value {
    serde_json::json!([{ "key": key, "sha256": "", "percent": 1 }])
}

const STATES: [UnitState; 5] = [
    UnitState::Waiting,
    UnitState::Leased,
    UnitState::Done,
    UnitState::Failed,
    UnitState::Cancelled,
];

proptest! {
    #[test]
    fn what_a_record_names_or_still_works_on_is_never_an_orphan(
        state in 0..STATES.len(),
        attempt in 1u32..6,
        of in 1u32..7,
        is_output in any::<bool>(),
        is_checkpoint in any::<bool>(),
        hours in 0i64..100,
        file in "[a-z.]{1,8}",
    ) {
        let mut unit = claimed();
        unit.state = STATES[state];
        unit.attempt = attempt;
        let key = output(of, &file);
        if is_output {
            unit.outputs.push(Output {
                name: "rows".to_owned(),
                key: key.clone(),
                bytes: 1,
                sha256: String::new(),
            });
        }
        if is_checkpoint {
            unit.checkpoints = serde_json::from_value(checkpoint(&key)).unwrap();
        }
        let now = at(0) + TimeDelta::hours(hours);
        let why = why_orphan(&unit, &keys_named_by(&unit), of, &key, at(0), now);
        let is_live = of == attempt && !matches!(unit.state, UnitState::Failed | UnitState::Cancelled);
        if is_output || is_checkpoint || is_live || of > attempt || hours <= 24 {
            prop_assert_eq!(why, None);
        }
    }
}
