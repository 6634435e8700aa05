//! Jobs, their marks and units, and the numbers of things.

use cellmill_core::ids::Dir;
use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{DatasetFile, JobKind, NumberKind, ObjectKey, UnitKey};
use cellmill_core::records::{ActiveMark, NumberRecord};
use cellmill_core::unit::{UnitRecord, UnitState};

use super::dataset;
use super::finding::Findings;

pub(super) async fn data_job(it: &mut Findings<'_>, dir: &Dir) {
    let Some(job) = it.document::<JobRecord>(it.key).await else {
        return;
    };
    if job.dir != *dir || job.kind != JobKind::Data {
        it.problem(
            "record speaks of its key",
            format!("it speaks of `{}`", job.dir),
        );
    }
    it.needs(
        "job has its number",
        &ObjectKey::Number(NumberKind::Datasets, job.number),
    )
    .await;
    if job.state == JobState::Done {
        dataset::results(it, dir, &job).await;
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
    if it.document::<ActiveMark>(it.key).await.is_none() || kind != JobKind::Data {
        return;
    }
    let job = ObjectKey::Dataset(dir.clone(), DatasetFile::Job);
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
    if kind != NumberKind::Datasets {
        return;
    }
    match Dir::parse(&record.dir) {
        Err(error) => it.problem("number names a directory", error.to_string()),
        Ok(dir) => {
            let job = ObjectKey::Dataset(dir, DatasetFile::Job);
            if it.length(&job).await.is_none() {
                it.note(
                    "number has its thing",
                    format!("`{job}` never came; lists skip the gap"),
                );
            }
        }
    }
}
