//! Accepting a job through the front door: the record, the message, the audit trail.

use cellmill_core::job::JobRecord;
use cellmill_core::keys::ObjectKey;
use cellmill_queue::{Queue, hints};
use cellmill_store::Store;
use serde_json::json;

use crate::audit;

pub use cellmill_store::accept::{AcceptError, Submission, number_kind};

/// Accepts a job and sends it to be assembled.
pub async fn accept(
    store: &Store,
    queue: &dyn Queue,
    submission: Submission,
) -> Result<JobRecord, AcceptError> {
    let job = store.accept_job(submission).await?;
    if let Err(error) = hints::send_assemble(queue, &job).await {
        tracing::error!(dir = %job.dir, "send the job to be assembled: {}", cellmill_service::report(&error));
    }
    let action = format!("{}.create", job.kind.as_str());
    let details = json!({ "number": job.number });
    let key = ObjectKey::job(job.kind, &job.dir).to_path();
    audit::record_done(store, &job.by, &action, &key, details).await;
    Ok(job)
}
