//! The workers that are there, and how their machines are.

use axum::extract::State;
use cellmill_core::ids::WorkerId;
use cellmill_core::keys::{JobKind, Prefix};
use cellmill_core::machine::{Gpu, Machine};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::WorkerRecord;
use cellmill_core::timing::Timing;
use cellmill_store::{Store, Versioned};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::documents;
use super::job_view::seconds_between;
use crate::edge::{Error, ErrorBody, Json, Page, PageQuery, Query};
use crate::parts::App;

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    #[schema(value_type = String)]
    pub id: WorkerId,
    /// The classes of units that it serves.
    #[schema(value_type = Vec<String>)]
    pub classes: Vec<UnitClass>,
    /// The kinds of units that it takes.
    #[schema(value_type = Vec<String>)]
    pub kinds: Vec<JobKind>,
    pub device: String,
    pub started_at: DateTime<Utc>,
    /// Seconds since it last wrote its record.
    pub age_s: u64,
    /// False: it wrote nothing for so long that it is taken to be gone.
    pub is_live: bool,
    /// Since when: its last sign of life. Only of one that is taken to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_since: Option<DateTime<Utc>>,
    /// A unit that it works on, if it does.
    pub unit: Option<String>,
    pub machine: Option<MachineView>,
}

/// A machine as it was when the record was written. Bytes are bytes, percents go to 100.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineView {
    pub n_cpus: u32,
    pub cpu_percent: Option<u8>,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
    /// What the worker's process holds.
    pub process_bytes: u64,
    /// Of the file system that scratch files go to.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub gpus: Vec<GpuView>,
}

/// One graphics card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GpuView {
    pub name: String,
    pub busy_percent: u8,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
}

/// Workers, by id: those that are there, and those that vanished without a word.
#[utoipa::path(get, path = "/api/v1/workers", tag = "workers", params(PageQuery),
    responses((status = 200, body = Page<WorkerView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_workers(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<WorkerView>>, Error> {
    let limit = page.limit()?;
    let after = page.after(|it| WorkerId::parse(it).ok())?;
    let (now, timing) = (app.store.now(), app.settings.timing);
    let mut items: Vec<WorkerView> = workers(&app.store)
        .await?
        .iter()
        .map(|it| WorkerView::of(it, now, timing))
        .collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    items.retain(|it| after.as_ref().is_none_or(|after| it.id > *after));
    items.truncate(limit + 1);
    Ok(Json(Page::cut(items, limit, |it| it.id.to_string())))
}

/// The records of all workers.
pub(super) async fn workers(store: &Store) -> Result<Vec<Versioned<WorkerRecord>>, Error> {
    let prefixes = [Prefix::Workers.to_path()];
    let records = documents::<WorkerRecord, _>(store, &prefixes, None, |_| true);
    Ok(records.try_collect().await?)
}

impl WorkerView {
    fn of(worker: &Versioned<WorkerRecord>, now: DateTime<Utc>, timing: Timing) -> Self {
        let record = worker.value.clone();
        let is_gone = timing.is_gone(worker.last_modified, now);
        Self {
            id: record.id,
            classes: record.classes,
            kinds: record.kinds,
            device: record.device,
            started_at: record.started_at,
            age_s: seconds_between(worker.last_modified, now),
            is_live: !is_gone,
            gone_since: is_gone.then_some(worker.last_modified),
            unit: record.unit,
            machine: record.machine.map(MachineView::from),
        }
    }
}

impl From<Machine> for MachineView {
    fn from(it: Machine) -> Self {
        Self {
            n_cpus: it.n_cpus,
            cpu_percent: it.cpu_percent,
            memory_bytes: it.memory_bytes,
            memory_used_bytes: it.memory_used_bytes,
            process_bytes: it.process_bytes,
            disk_bytes: it.disk_bytes,
            disk_free_bytes: it.disk_free_bytes,
            gpus: it.gpus.into_iter().map(GpuView::from).collect(),
        }
    }
}

impl From<Gpu> for GpuView {
    fn from(it: Gpu) -> Self {
        Self {
            name: it.name,
            busy_percent: it.busy_percent,
            memory_bytes: it.memory_bytes,
            memory_used_bytes: it.memory_used_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::document::Stamp;
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_worker_that_fell_silent_is_gone_since_its_last_sign() {
        let written = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let worker = Versioned {
            value: WorkerRecord {
                stamp: Stamp::default(),
                id: WorkerId::parse("w").unwrap(),
                classes: vec![UnitClass::cpu()],
                kinds: vec![JobKind::Data],
                device: "cpu".to_owned(),
                started_at: DateTime::UNIX_EPOCH,
                unit: Some("DkxD9Kjl/data-00003".to_owned()),
                machine: None,
            },
            etag: String::new(),
            last_modified: written,
        };
        let seen = |seconds| {
            let now = written + TimeDelta::seconds(seconds);
            let view = WorkerView::of(&worker, now, Timing::default());
            (view.is_live, view.gone_since)
        };
        // Twice four heartbeats of 15 s, and what stamps can be off.
        assert_eq!(seen(122), (true, None));
        assert_eq!(seen(123), (false, Some(written)));
    }
}
