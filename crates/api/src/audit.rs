//! The trail of what people decided: one object an entry, written once.

use cellmill_core::document::Stamp;
use cellmill_core::ids::UlidText;
use cellmill_core::keys::ObjectKey;
use cellmill_core::records::AuditEntry;
use cellmill_store::{Error, Store};
use chrono::Datelike as _;

/// Writes an entry: `by` did `action` (`job.cancel`) to `subject`, a key or an id.
pub async fn record(
    store: &Store,
    by: &str,
    action: &str,
    subject: &str,
    details: serde_json::Value,
) -> Result<(), Error> {
    let at = store.now();
    let id = store.fresh_id().to_string();
    let key = ObjectKey::Audit {
        year: at.year() as u16,
        month: at.month() as u8,
        day: at.day() as u8,
        id: UlidText::parse(&id).expect("a ULID prints as 26 capitals and digits"),
    };
    let entry = AuditEntry {
        stamp: Stamp::default(),
        at,
        by: by.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        details,
    };
    store.create(&key, entry).await?;
    Ok(())
}

/// As [`record`], for what is durable already: a lost entry is logged and does not undo it.
pub(crate) async fn record_done(
    store: &Store,
    by: &str,
    action: &str,
    subject: &str,
    details: serde_json::Value,
) {
    if let Err(error) = record(store, by, action, subject, details).await {
        tracing::error!(
            action,
            subject,
            "write the audit entry: {}",
            cellmill_service::report(&error)
        );
    }
}
