//! Jobs, their marks and units, and the numbers of things.

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, NumberKind, ObjectKey, UnitKey};
use cellmill_core::records::{ActiveMark, NumberRecord};
use cellmill_core::unit::{UnitRecord, UnitState};
use cellmill_store::accept::number_kind;

use super::finding::Findings;
use super::{dataset, project};

pub(super) async fn job(it: &mut Findings<'_>, kind: JobKind, dir: &Dir) {
    let Some(job) = it.document::<JobRecord>(it.key).await else {
        return;
    };
    if job.dir != *dir || job.kind != kind {
        it.problem(
            "record speaks of its key",
            format!("it speaks of `{}`", job.dir),
        );
    }
    it.needs(
        "job has its number",
        &ObjectKey::Number(number_kind(kind), job.number),
    )
    .await;
    if job.state == JobState::Done {
        match kind {
            JobKind::Data => dataset::results(it, dir, &job).await,
            _ => project::results(it, dir, &job).await,
        }
    } else if !job.state.is_ended() {
        let mark = ObjectKey::Active {
            kind: job.kind,
            dir: dir.clone(),
            round: job.round,
        };
        it.needs("job that is not ended is marked active", &mark)
            .await;
    }
}

pub(super) async fn active(it: &mut Findings<'_>, kind: JobKind, dir: &Dir, round: u32) {
    if it.document::<ActiveMark>(it.key).await.is_none() {
        return;
    }
    let job = ObjectKey::job(kind, dir);
    match it.document::<JobRecord>(&job).await {
        None => it.note("mark has its job", format!("`{job}` is not there")),
        Some(job) if job.state.is_ended() || job.round > round => {
            it.note(
                "mark is of a live round",
                "the round has ended: the janitor removes the mark",
            );
        }
        Some(_) => {}
    }
}

pub(super) async fn unit(it: &mut Findings<'_>, key: &UnitKey) {
    let Some(unit) = it.document::<UnitRecord>(it.key).await else {
        return;
    };
    if unit.key != *key {
        it.problem("record speaks of its key", "it speaks of another unit");
    }
    if unit.state != UnitState::Done {
        return;
    }
    for output in &unit.outputs {
        match ObjectKey::parse(&output.key) {
            Ok(Some(key)) => match it.length(&key).await {
                Some(bytes) if bytes == output.bytes => {}
                Some(bytes) => it.problem(
                    "output is what was committed",
                    format!("`{key}` has {bytes} bytes, committed were {}", output.bytes),
                ),
                None => it.problem("committed output exists", format!("`{key}` is not there")),
            },
            _ => it.problem(
                "output has a key of the layout",
                format!("`{}`", output.key),
            ),
        }
    }
}

pub(super) async fn number(it: &mut Findings<'_>, kind: NumberKind, number: u64) {
    let Some(record) = it.document::<NumberRecord>(it.key).await else {
        return;
    };
    if record.number != number {
        it.problem(
            "record speaks of its key",
            format!("it speaks of {}", record.number),
        );
    }
    let dir = match (kind, Dir::parse(&record.dir)) {
        (NumberKind::Datasets | NumberKind::Projects, Ok(dir)) => dir,
        (NumberKind::Datasets | NumberKind::Projects, Err(error)) => {
            return it.problem("number names a directory", error.to_string());
        }
        (NumberKind::Models | NumberKind::Requests | NumberKind::Users, _) => return,
    };
    let kinds = JobKind::ALL
        .into_iter()
        .filter(|it| number_kind(*it) == kind);
    let jobs: Vec<ObjectKey> = kinds.map(|it| ObjectKey::job(it, &dir)).collect();
    for job in &jobs {
        if it.length(job).await.is_some() {
            return;
        }
    }
    it.note(
        "number has its thing",
        format!("a job in `{dir}` never came; lists skip the gap"),
    );
}
