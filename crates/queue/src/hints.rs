//! Sending the hints that a change of a job asks for (DESIGN 4: released, not dumped).

use cellmill_core::job::{Effects, JobRecord};
use cellmill_core::keys::JobKind;
use cellmill_core::messages::{ASSEMBLE, COLLECT, CollectHint, JobHint, UnitHint};
use serde::Serialize;

use crate::{Error, Outgoing, Queue, QueueName};

/// Sends what `effects` ask for, after the job was swapped.
///
/// Losing all of it is repaired by the janitor, doing it twice is harmless.
pub async fn carry_out(queue: &dyn Queue, job: &JobRecord, effects: &Effects) -> Result<(), Error> {
    send_units(queue, job, &effects.hints).await?;
    if effects.collect {
        send_collect(queue, job, None).await?;
    }
    Ok(())
}

/// "Assemble this job."
pub async fn send_assemble(queue: &dyn Queue, job: &JobRecord) -> Result<(), Error> {
    send(queue, ASSEMBLE, &[JobHint::new(job.kind, job.dir.clone())]).await
}

/// "These units may be free", into the urgent queue when the job was raised.
pub async fn send_units(queue: &dyn Queue, job: &JobRecord, units: &[u32]) -> Result<(), Error> {
    // A legacy job waits to be asked for: its class has no queue.
    if units.is_empty() || job.class.is_legacy() {
        return Ok(());
    }
    let name = if job.wishes.urgent {
        job.class.urgent_queue()
    } else {
        job.class.queue()
    };
    let hints: Vec<UnitHint> = units
        .iter()
        .map(|&unit| UnitHint::new(job.kind, job.dir.clone(), unit))
        .collect();
    send(queue, &name, &hints).await
}

/// "This unit ended", or without one "look at this job again".
pub async fn send_collect(
    queue: &dyn Queue,
    job: &JobRecord,
    unit: Option<u32>,
) -> Result<(), Error> {
    send_collect_of(queue, job.kind, &job.dir, unit).await
}

/// As [`send_collect`], for callers that have not read the job.
pub async fn send_collect_of(
    queue: &dyn Queue,
    kind: JobKind,
    dir: &cellmill_core::ids::Dir,
    unit: Option<u32>,
) -> Result<(), Error> {
    send(queue, COLLECT, &[CollectHint::new(kind, dir.clone(), unit)]).await
}

async fn send<T: Serialize + Sync>(
    queue: &dyn Queue,
    name: &str,
    hints: &[T],
) -> Result<(), Error> {
    let name = QueueName::parse(name)?;
    let bodies = hints
        .iter()
        .map(|it| serde_json::to_string(it).expect("a hint holds only text and numbers"));
    let messages: Vec<Outgoing> = bodies.map(Outgoing::now).collect();
    queue.send(&name, &messages).await
}
