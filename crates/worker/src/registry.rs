//! `workers/<id>.json`: who is there, for people.

use std::sync::Arc;

use cellmill_core::document::Stamp;
use cellmill_core::keys::ObjectKey;
use cellmill_core::machine::Machine;
use cellmill_core::records::WorkerRecord;
use cellmill_core::timing::Timing;
use cellmill_store::Decision;
use chrono::{DateTime, Utc};

use crate::Error;
use crate::inner::Inner;

/// The record is no lease: once in [`Timing::REGISTRATION`] heartbeats shows well enough who is alive.
const HEARTBEATS: u32 = Timing::REGISTRATION;

impl Inner {
    /// Writes the worker's record.
    pub(crate) async fn register(&self, started_at: DateTime<Utc>) -> Result<(), Error> {
        let record = WorkerRecord {
            stamp: Stamp::default(),
            id: self.options.id.clone(),
            classes: self.options.classes.clone(),
            kinds: self.algorithms.keys().copied().collect(),
            device: self.options.device.clone(),
            started_at,
            unit: self.a_current_unit().map(|it| it.to_string()),
            machine: self.read_machine().await,
        };
        let swapped = self
            .store
            .swap(&self.record_key(), |_| Decision::Write(record.clone()))
            .await;
        swapped.map(drop).map_err(Error::store("write its record"))
    }

    /// Keeps the record fresh until it is dropped.
    pub(crate) async fn stay_registered(&self, started_at: DateTime<Utc>) {
        loop {
            tokio::time::sleep(self.options.timing.heartbeat() * HEARTBEATS).await;
            if let Err(error) = self.register(started_at).await {
                tracing::warn!(
                    error = cellmill_service::report(&error),
                    "worker record not refreshed"
                );
            }
        }
    }

    /// Removes the record; when that fails its age shows that nobody is there.
    pub(crate) async fn unregister(&self) {
        if let Err(error) = self.store.delete(&self.record_key()).await {
            tracing::warn!(
                error = cellmill_service::report(&error),
                "worker record not removed"
            );
        }
    }

    async fn read_machine(&self) -> Option<Machine> {
        let meter = Arc::clone(self.options.meter.as_ref()?);
        tokio::task::spawn_blocking(move || meter.read()).await.ok()
    }

    fn record_key(&self) -> ObjectKey {
        ObjectKey::Worker(self.options.id.clone())
    }
}
