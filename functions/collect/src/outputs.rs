//! What committed units left, read back and checked.

use std::time::Duration;

use bytes::Bytes;
use cellmill_core::job::{Cursor, JobEvent, JobRecord};
use cellmill_core::keys::{ObjectKey, UnitKey};
use cellmill_core::unit::{Output, UnitRecord};
use cellmill_store::Store;

use crate::{Collect, Error, failed};

/// The job is swapped at least this often, as a sign of life.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

pub(crate) async fn show_progress(
    collect: &Collect,
    job: &JobRecord,
    step: &str,
    unit: u32,
) -> Result<(), Error> {
    let cursor = Cursor {
        step: step.to_owned(),
        at: u64::from(unit),
        of: u64::from(job.units.count),
    };
    let event = JobEvent::Progressed(cursor);
    let applied = collect
        .store
        .change_job(job.kind, &job.dir, event, collect.window)
        .await;
    applied.map(drop).map_err(|it| failed(&job.dir, it))
}

pub(crate) async fn committed(
    store: &Store,
    job: &JobRecord,
    unit: u32,
) -> Result<UnitRecord, Error> {
    let key = ObjectKey::Unit(UnitKey {
        dir: job.dir.clone(),
        kind: job.kind,
        unit,
    });
    let record = store
        .read::<UnitRecord>(&key)
        .await
        .map_err(|it| failed(&job.dir, it))?;
    record
        .map(|it| it.value)
        .ok_or_else(|| bad(job, &key.to_path(), "the unit's record is gone"))
}

pub(crate) fn output<'a>(unit: &'a UnitRecord, name: &str) -> Option<&'a Output> {
    unit.outputs.iter().find(|it| it.name == name)
}

pub(crate) async fn read_output(
    store: &Store,
    job: &JobRecord,
    output: &Output,
) -> Result<Bytes, Error> {
    let bytes = store
        .get_bytes(&output.key)
        .await
        .map_err(|it| failed(&job.dir, it))?;
    if bytes.len() as u64 != output.bytes {
        return Err(bad(
            job,
            &output.key,
            "its length is not what was committed",
        ));
    }
    Ok(bytes)
}

pub(crate) fn bad(job: &JobRecord, key: &str, why: &str) -> Error {
    Error::BadOutput {
        dir: job.dir.clone(),
        key: key.to_owned(),
        why: why.to_owned(),
    }
}
