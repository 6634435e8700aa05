use std::collections::BTreeMap;

use cellmill_core::job::{DataParameters, JobEvent, JobParameters, JobState};
use cellmill_core::messages::UnitClass;
use cellmill_core::unit::UnitState;
use chrono::{DateTime, TimeDelta, Utc};

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn job(units: u32) -> JobRecord {
    let dir = Dir::parse("DkxD9Kjl").unwrap();
    let parameters = JobParameters::Data(DataParameters::default());
    let job = JobRecord::accepted(dir, 1, parameters, UnitClass::cpu(), "me".to_owned(), at(0));
    if units == 0 {
        return job;
    }
    job.apply(
        JobEvent::Assembled {
            units,
            snapshot: "s".to_owned(),
        },
        2,
        at(0),
    )
    .unwrap()
    .unwrap()
    .0
}

fn seen(job: &JobRecord, units: &[(u32, i64)]) -> JobSeen {
    JobSeen {
        mark: "active/data-DkxD9Kjl-00000".to_owned(),
        marked_at: at(0),
        kind: job.kind,
        dir: job.dir.clone(),
        round: 0,
        job: Some((job.clone(), at(0))),
        units: units
            .iter()
            .map(|&(unit, written)| (unit, at(written)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn decide(seen: &JobSeen, now: i64) -> (Vec<What>, Vec<u32>) {
    let (actions, to_read) = decide_job(seen, at(now), Timing::default(), 2);
    (actions.into_iter().map(|it| it.what).collect(), to_read)
}

#[test]
fn a_silent_assembly_is_sent_again() {
    let seen = seen(&job(0), &[]);
    assert_eq!(decide(&seen, 60), (vec![], vec![]));
    assert!(matches!(decide(&seen, 121).0[..], [What::Assemble { .. }]));
}

#[test]
fn a_silent_collection_is_sent_again() {
    let job = job(1)
        .apply(
            JobEvent::UnitsEnded {
                done: vec![0],
                failed: vec![],
            },
            2,
            at(0),
        )
        .unwrap()
        .unwrap()
        .0;
    assert_eq!(job.state, JobState::Collecting);
    assert!(matches!(
        decide(&seen(&job, &[]), 121).0[..],
        [What::Collect { unit: None, .. }]
    ));
}

#[test]
fn silent_units_are_read_and_forgotten_ones_are_hinted() {
    let running = seen(&job(5), &[(0, 0), (1, 100)]);
    assert_eq!(decide(&running, 52), (vec![], vec![]), "all leases live");
    assert_eq!(
        decide(&running, 120),
        (vec![], vec![0]),
        "unit 0 is silent, unit 1 beats"
    );
    let (actions, to_read) = decide(&seen(&job(5), &[]), 601);
    assert!(to_read.is_empty());
    assert!(
        matches!(
            actions[..],
            [What::Hint { unit: 0, .. }, What::Hint { unit: 1, .. }]
        ),
        "only the window"
    );
}

#[test]
fn a_silent_unit_is_hinted_or_collected_as_its_record_says() {
    let job = job(2);
    let decide = |state| decide_silent_unit(&job, &UnitSeen { unit: 1, state }).map(|it| it.what);
    assert!(matches!(
        decide(UnitState::Leased),
        Some(What::Hint { unit: 1, .. })
    ));
    assert!(matches!(
        decide(UnitState::Waiting),
        Some(What::Hint { unit: 1, .. })
    ));
    assert!(matches!(
        decide(UnitState::Done),
        Some(What::Collect { unit: Some(1), .. })
    ));
}

#[test]
fn marks_go_when_their_round_is_over_and_not_before() {
    assert!(decide(&seen(&job(3), &[]), 10).0.is_empty());
    let ended = job(3)
        .apply(
            JobEvent::Cancelled {
                by: "me".to_owned(),
            },
            2,
            at(0),
        )
        .unwrap()
        .unwrap()
        .0;
    assert!(matches!(
        decide(&seen(&ended, &[]), 10).0[..],
        [What::RemoveMark { .. }]
    ));
    let orphan = JobSeen {
        job: None,
        ..seen(&job(3), &[])
    };
    assert!(
        decide(&orphan, 3599).0.is_empty(),
        "its record may be on the way"
    );
    assert!(matches!(
        decide(&orphan, 3601).0[..],
        [What::RemoveMark { .. }]
    ));
    let retried = JobSeen {
        round: 1,
        ..seen(&ended, &[])
    };
    assert!(
        decide(&retried, 3599).0.is_empty(),
        "the swap of a retry comes after its mark"
    );
    assert!(matches!(
        decide(&retried, 3601).0[..],
        [What::RemoveMark { .. }]
    ));
}
