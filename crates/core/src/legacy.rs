//! Jobs of the predecessor's workers: their numbers, their lease, and what a report of one changes (FORMATS A.3, A.5).
//!
//! Such a job has one unit, which the legacy endpoints hand out and keep for a worker that knows nothing of leases:
//! every report that counts is a swap of the unit's record, so its last write is the worker's last sign of life.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::ids::WorkerId;
use crate::job::{JobRecord, JobState};
use crate::keys::JobKind;
use crate::timing::Timing;
use crate::unit::{HandedBack, LeaseLost, Progress, UnitRecord, UnitState};

/// Kinds of models (`mt`) by their numbers, from 1 on.
const MODEL_TYPES: [&str; 8] = [
    "unet",
    "gan",
    "svm",
    "mask r-cnn",
    "autokeras",
    "mala",
    "yolov4",
    "yolov5",
];

/// What the predecessor calls a kind of model; `None`: it has no such number.
pub fn model_type_name(mtype: u8) -> Option<&'static str> {
    let at = usize::from(mtype).checked_sub(1)?;
    MODEL_TYPES.get(at).copied()
}

/// Finds and cuts cells, where others tell them apart (list filter 50).
pub const fn is_cropper(mtype: u8) -> bool {
    matches!(mtype, 4 | 7 | 8)
}

/// The kind of job that a worker type (`wt`) asks for: 1 data, 2 train, 3 predict.
pub const fn job_kind(worker_type: i64) -> Option<JobKind> {
    match worker_type {
        1 => Some(JobKind::Data),
        2 => Some(JobKind::Train),
        3 => Some(JobKind::Predict),
        _ => None,
    }
}

/// The predecessor's number of a job's state. A prediction that is done is in review at once (decision 9).
pub fn status(job: &JobRecord) -> u8 {
    match job.state {
        JobState::Done if job.kind == JobKind::Predict => 5,
        state => state.legacy_status(),
    }
}

/// Those workers report nothing for long: 2 hours at least ...
const LEAST_LEASE: Duration = Duration::from_hours(2);
/// ... and this often the time that they last said they need (decision 7).
const LEASE_PER_ETA: u64 = 4;
/// A longer ETA is taken for this one, 30 days: a slip of a worker must not keep its job for years.
pub const MAX_ETA_S: u64 = 30 * 24 * 3600;

/// How long a unit of a legacy job is kept for a silent worker.
pub fn timing(unit: Option<&UnitRecord>) -> Timing {
    let eta_s = unit.and_then(|it| it.eta_s).unwrap_or(0).min(MAX_ETA_S);
    Timing::of_lease(LEAST_LEASE.max(Duration::from_secs(LEASE_PER_ETA * eta_s)))
}

/// Who works, as far as it can be told: the address that took the job. `legacy-127-0-0-1`
pub fn worker_at(address: IpAddr) -> WorkerId {
    // One machine has one name, however the connection spells its address.
    let text = address.to_canonical().to_string().replace(['.', ':'], "-");
    WorkerId::parse(&format!("legacy-{text}")).expect("an address is digits, letters, dots, colons")
}

/// What a worker sends to `/api1/jobresult`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub from: WorkerId,
    /// Which attempt it means, when the worker knows of attempts.
    pub attempt: Option<u32>,
    /// `ds`: 1 given back, 2 at work, 3 and 5 failed, 4 done.
    pub status: i64,
    pub percent: i64,
    pub eta_s: i64,
}

/// What a report changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Reported {
    /// Swap this in.
    Write(UnitRecord),
    /// It is done, it says: check its files, then commit this attempt of this record.
    Finish(UnitRecord),
    /// The job ended without it: swap this in.
    JobEnded(UnitRecord),
    /// It was said before: say again that the unit ended.
    Again,
    /// It speaks of an attempt that is over, of another's job, or of nothing.
    Nothing,
}

/// The rule of decision 7: a result counts with the number of the running attempt, or without any from the address
/// that took the job, and only while no other has it.
pub fn decide_report(
    job: &JobRecord,
    unit: &UnitRecord,
    report: &Report,
    now: DateTime<Utc>,
) -> Reported {
    if !is_of_last_attempt(unit, report) {
        return Reported::Nothing;
    }
    match (unit.state, job.state) {
        (UnitState::Done, _) if report.status == 4 => return Reported::Again,
        (UnitState::Done | UnitState::Failed | UnitState::Cancelled, _) => {
            return Reported::Nothing;
        }
        (UnitState::Leased | UnitState::Waiting, JobState::Queued | JobState::Running) => {}
        (UnitState::Leased | UnitState::Waiting, JobState::Assembling) => return Reported::Nothing,
        (UnitState::Leased | UnitState::Waiting, _) => {
            return Reported::JobEnded(unit.cancelled(now));
        }
    }
    // The lease was ended, and nobody else has it yet: the worker was only silent.
    let Some(held) = unit.held_again() else {
        return Reported::Nothing;
    };
    let change = |apply: &dyn Fn(&WorkerId) -> Result<UnitRecord, LeaseLost>| {
        let owner = held.owner.as_ref();
        match owner.map(apply) {
            Some(Ok(next)) => Reported::Write(next),
            Some(Err(_)) | None => Reported::Nothing,
        }
    };
    match report.status {
        1 => change(&|owner| held.hand_back(owner, held.attempt, HandedBack::Asked, now)),
        2 => {
            let progress = Progress {
                percent: report.percent.clamp(0, 99) as u8,
                eta_s: Some(u64::try_from(report.eta_s).unwrap_or(0).min(MAX_ETA_S)),
                step: "at work".to_owned(),
                ..Progress::default()
            };
            change(&|owner| held.beat(owner, held.attempt, &progress))
        }
        3 | 5 => {
            let error = if report.status == 5 {
                "the worker does not find its files (status 5)"
            } else {
                "the worker gave up (status 3)"
            };
            change(&|owner| held.fail(owner, held.attempt, error, true, now))
        }
        4 => Reported::Finish(held),
        _ => Reported::Nothing,
    }
}

fn is_of_last_attempt(unit: &UnitRecord, report: &Report) -> bool {
    let Some(last) = unit.attempts.last() else {
        return false;
    };
    match report.attempt {
        Some(attempt) => attempt == unit.attempt,
        None => last.owner == report.from,
    }
}

/// What the janitor makes of a legacy unit whose worker is silent for longer than its lease; `None`: nothing.
pub fn end_lease(
    unit: &UnitRecord,
    written: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<UnitRecord> {
    let is_over = unit.state == UnitState::Leased && timing(Some(unit)).is_over(written, now);
    is_over.then(|| unit.lease_ended(now))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::ids::Dir;
    use crate::job::{DataParameters, JobEvent, JobParameters};
    use crate::keys::UnitKey;
    use crate::messages::UnitClass;
    use crate::unit::{Claim, decide_claim};

    const HOUR: i64 = 3600;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn job() -> JobRecord {
        let dir = Dir::parse("DkxD9Kjl").unwrap();
        let parameters = JobParameters::Data(DataParameters::default());
        let by = "me".to_owned();
        let job = JobRecord::accepted(dir, 1, parameters, UnitClass::legacy(), by, at(0));
        let assembled = JobEvent::Assembled {
            units: 1,
            snapshot: "s".to_owned(),
        };
        job.apply(assembled, 64, at(0)).unwrap().unwrap().0
    }

    fn address(last: u8) -> WorkerId {
        worker_at(IpAddr::from([127, 0, 0, last]))
    }

    fn claimed(seen: Option<(&UnitRecord, i64)>, by: u8, now: i64) -> Claim {
        let key = UnitKey {
            dir: job().dir,
            kind: JobKind::Data,
            unit: 0,
        };
        let timing = timing(seen.map(|it| it.0));
        let seen = seen.map(|(unit, written)| (unit, at(written)));
        decide_claim(&job(), seen, &key, &address(by), at(now), timing)
    }

    fn taken(claim: Claim) -> UnitRecord {
        match claim {
            Claim::Take(unit) => unit,
            other => panic!("{other:?}"),
        }
    }

    fn report(from: u8, status: i64, percent: i64, eta_s: i64) -> Report {
        Report {
            from: address(from),
            attempt: None,
            status,
            percent,
            eta_s,
        }
    }

    fn told(unit: &UnitRecord, report: &Report, now: i64) -> Reported {
        decide_report(&job(), unit, report, at(now))
    }

    fn written(reported: Reported) -> UnitRecord {
        match reported {
            Reported::Write(unit) => unit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lease_is_two_hours_or_four_times_what_the_worker_said() {
        let unit = taken(claimed(None, 1, 0));
        assert_eq!(claimed(Some((&unit, 0)), 2, 2 * HOUR + 2), Claim::Live);
        assert_eq!(
            taken(claimed(Some((&unit, 0)), 2, 2 * HOUR + 3)).attempt,
            2,
            "two seconds for two stamps"
        );
        let slow = written(told(&unit, &report(1, 2, 4, 3 * HOUR), 1));
        assert_eq!(claimed(Some((&slow, 1)), 2, 12 * HOUR + 3), Claim::Live);
        assert_eq!(
            taken(claimed(Some((&slow, 1)), 2, 12 * HOUR + 4)).attempt,
            2
        );
        let absurd = written(told(&unit, &report(1, 2, 4, i64::MAX), 1));
        assert_eq!(absurd.eta_s, Some(MAX_ETA_S));
    }

    #[test]
    fn a_report_counts_from_the_address_that_took_the_job_or_with_its_attempt() {
        let unit = taken(claimed(None, 1, 0));
        assert_eq!(told(&unit, &report(2, 2, 50, 9), 1), Reported::Nothing);
        let mut fenced = report(2, 2, 50, 9);
        fenced.attempt = Some(1);
        assert_eq!(written(told(&unit, &fenced, 1)).percent, 50);
        fenced.attempt = Some(2);
        assert_eq!(told(&unit, &fenced, 1), Reported::Nothing);
        assert!(matches!(
            told(&unit, &report(1, 4, 100, 0), 1),
            Reported::Finish(_)
        ));
    }

    #[test]
    fn who_was_only_silent_goes_on_until_another_has_the_job() {
        let unit = taken(claimed(None, 1, 0));
        assert_eq!(end_lease(&unit, at(0), at(2 * HOUR + 2)), None);
        let ended = end_lease(&unit, at(0), at(2 * HOUR + 3)).unwrap();
        assert_eq!((ended.state, ended.failures), (UnitState::Waiting, 1));
        let back = written(told(&ended, &report(1, 2, 60, 5), 2 * HOUR + 9));
        assert_eq!(
            (back.state, back.attempt, back.failures, back.percent),
            (UnitState::Leased, 1, 0, 60)
        );
        let other = taken(claimed(Some((&ended, 2 * HOUR + 3)), 2, 2 * HOUR + 4));
        for status in [1, 2, 3, 4, 5] {
            let late = told(&other, &report(1, status, 60, 5), 2 * HOUR + 9);
            assert_eq!(late, Reported::Nothing, "status {status}");
        }
    }

    #[test]
    fn a_unit_that_was_given_back_is_held_by_nobody() {
        let unit = taken(claimed(None, 1, 0));
        let back = written(told(&unit, &report(1, 1, 0, 0), 1));
        assert_eq!((back.state, back.failures), (UnitState::Waiting, 0));
        assert_eq!(told(&back, &report(1, 4, 100, 0), 2), Reported::Nothing);
    }

    #[test]
    fn three_silent_workers_end_a_unit() {
        let mut unit = taken(claimed(None, 1, 0));
        let mut now = 0;
        for _ in 0..2 {
            now += 3 * HOUR;
            unit = end_lease(&unit, at(now - 3 * HOUR), at(now)).unwrap();
            unit = taken(claimed(Some((&unit, now)), 1, now));
        }
        let ended = end_lease(&unit, at(now), at(now + 3 * HOUR)).unwrap();
        assert_eq!((ended.state, ended.failures), (UnitState::Failed, 3));
    }

    #[test]
    fn an_error_is_final_and_a_cancelled_job_ends_its_unit() {
        let unit = taken(claimed(None, 1, 0));
        let failed = written(told(&unit, &report(1, 3, 40, 1800), 1));
        assert_eq!(failed.state, UnitState::Failed);
        let cancel = JobEvent::Cancelled {
            by: "me".to_owned(),
        };
        let cancelled = job().apply(cancel, 64, at(1)).unwrap().unwrap().0;
        match decide_report(&cancelled, &unit, &report(1, 4, 100, 0), at(2)) {
            Reported::JobEnded(unit) => assert_eq!(unit.state, UnitState::Cancelled),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_machine_has_one_name() {
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(worker_at(mapped), address(1));
        assert_eq!(worker_at("::1".parse().unwrap()).as_str(), "legacy---1");
    }

    #[test]
    fn a_done_prediction_is_in_review() {
        let mut job = job();
        job.state = JobState::Done;
        assert_eq!(status(&job), 4);
        job.kind = JobKind::Predict;
        assert_eq!(status(&job), 5);
        assert_eq!(model_type_name(5), Some("autokeras"));
        assert_eq!((model_type_name(0), model_type_name(9)), (None, None));
    }
}
