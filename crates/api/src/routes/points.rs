//! Doctors' CSVs: what became of each.

use axum::extract::State;
use cellmill_core::ids::{BatchId, CaseId};
use cellmill_core::keys::{CsvKey, ImageKey, ObjectKey, Prefix};
use cellmill_core::records::{PointsRecord, PointsState, Rejection, RowRemark};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::documents::documents;
use crate::edge::{Error, ErrorBody, Json, Page, PageQuery, Query};
use crate::parts::App;

/// What is known of a CSV.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PointsView {
    #[schema(value_type = String)]
    pub key: CsvKey,
    /// `applied`, `waiting` or `rejected`.
    #[schema(value_type = String)]
    pub state: PointsState,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Rows that are in the label.
    pub n_good: u64,
    /// Rows that are not.
    pub n_rejected: u64,
    /// The first thousand remarks on rows.
    pub remarks: Vec<RemarkView>,
    /// Why no row of it counts: `code` and `reason`.
    #[schema(value_type = Option<Object>)]
    pub rejection: Option<Rejection>,
    /// The images whose labels it went into.
    #[schema(value_type = Vec<String>)]
    pub images: Vec<ImageKey>,
    pub recorded_at: DateTime<Utc>,
}

/// Something about one row.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RemarkView {
    /// Line of the file, from 1.
    pub line: u64,
    pub code: String,
    pub reason: String,
}

impl From<RowRemark> for RemarkView {
    fn from(it: RowRemark) -> Self {
        Self {
            line: it.line,
            code: it.code,
            reason: it.reason,
        }
    }
}

impl From<PointsRecord> for PointsView {
    fn from(record: PointsRecord) -> Self {
        Self {
            key: record.key,
            state: record.state,
            bytes: record.bytes,
            sha256: record.sha256,
            n_good: record.n_good,
            n_rejected: record.n_rejected,
            remarks: record.remarks.into_iter().map(RemarkView::from).collect(),
            rejection: record.rejection,
            images: record.images,
            recorded_at: record.recorded_at,
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PointsQuery {
    #[param(value_type = Option<String>)]
    batch: Option<BatchId>,
    #[param(value_type = Option<String>)]
    case: Option<CaseId>,
    /// `applied`, `waiting` or `rejected`.
    #[param(value_type = Option<String>)]
    state: Option<PointsState>,
}

impl PointsQuery {
    fn takes(&self, key: &ObjectKey) -> bool {
        let ObjectKey::PointsRecord(key) = key else {
            return false;
        };
        self.batch.as_ref().is_none_or(|it| *it == key.batch)
            && self.case.as_ref().is_none_or(|it| *it == key.case)
    }
}

/// CSVs in the order of their keys.
#[utoipa::path(get, path = "/api/v1/points", tag = "labels", params(PointsQuery, PageQuery),
    responses((status = 200, body = Page<PointsView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_points(
    State(app): State<App>,
    Query(query): Query<PointsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<PointsView>>, Error> {
    let limit = page.limit()?;
    let after = page.after(|it| it.parse::<CsvKey>().ok())?;
    let after = after.map(|key| ObjectKey::PointsRecord(key).to_path());
    let prefix = match &query.batch {
        Some(batch) => Prefix::PointsRecordsOfBatch(batch.clone()),
        None => Prefix::PointsRecords,
    };
    let records =
        documents::<PointsRecord, _>(&app.store, &[prefix.to_path()], after.as_deref(), |key| {
            query.takes(key)
        });
    let items: Vec<PointsView> = records
        .map_ok(|it| it.value)
        .try_filter(|it| std::future::ready(query.state.is_none_or(|state| it.state == state)))
        .map_ok(PointsView::from)
        .take(limit + 1)
        .try_collect()
        .await?;
    Ok(Json(Page::cut(items, limit, |it| it.key.to_path())))
}
