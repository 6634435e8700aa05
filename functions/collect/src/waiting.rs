//! Projects that wait for a data set: told as soon as it has ended. The janitor would find them, two minutes later.

use cellmill_core::job::{JobRecord, JobState};
use cellmill_core::keys::{JobKind, ObjectKey, Prefix};
use cellmill_queue::hints;
use futures::TryStreamExt as _;

use crate::{Collect, Error, failed};

/// Sends every project that stands on this ended data set to be assembled.
pub(crate) async fn wake(collect: &Collect, ended: &JobRecord) -> Result<(), Error> {
    if ended.kind != JobKind::Data {
        return Ok(());
    }
    let store = &collect.store;
    let lost = |it| failed(&ended.dir, it);
    let mut marks = store.list(&Prefix::Active.to_path());
    while let Some(listed) = marks.try_next().await.map_err(lost)? {
        let Ok(Some(ObjectKey::Active { kind, dir, .. })) = ObjectKey::parse(&listed.key) else {
            continue;
        };
        if kind == JobKind::Data {
            continue;
        }
        let Some(job) = store.read_job(kind, &dir).await.map_err(lost)? else {
            continue;
        };
        let job = job.value;
        if job.state == JobState::Assembling && job.parameters.dataset() == Some(&ended.dir) {
            hints::send_assemble(&*collect.queue, &job)
                .await
                .map_err(|source| Error::Queue { dir, source })?;
        }
    }
    Ok(())
}
