//! Batches and cases: the folders that images lie in, and ids for new ones.

use std::collections::BTreeMap;

use axum::extract::State;
use cellmill_core::ids::{BatchId, CaseId};
use cellmill_core::keys::{ImageRoot, Prefix};
use cellmill_store::Store;
use chrono::{DateTime, FixedOffset, NaiveTime, TimeZone as _, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::upload_plan::FileTree;
use crate::edge::{Error, ErrorBody, Json, Page, PageQuery, Path, Query};
use crate::parts::App;
use crate::person::Person;

/// A delivery of cases.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    #[schema(value_type = String)]
    pub batch: BatchId,
    /// Where images of it lie.
    pub roots: Vec<FileTree>,
}

/// One patient's slides.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CaseView {
    #[schema(value_type = String)]
    pub case: CaseId,
    /// Where images of it lie.
    pub roots: Vec<FileTree>,
}

/// Ids that nobody has yet.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewIds {
    /// The same for all uploads of a person's day.
    #[schema(value_type = String)]
    pub batch: BatchId,
    /// New with every call.
    #[schema(value_type = String)]
    pub case: CaseId,
}

/// All batches that have images.
#[utoipa::path(get, path = "/api/v1/batches", tag = "images", params(PageQuery),
    responses((status = 200, body = Page<BatchView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_batches(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<BatchView>>, Error> {
    let folders = all(&app.store).await?;
    let view = |(batch, roots)| BatchView { batch, roots };
    paged(folders, &page, view, |it| it.batch.to_string())
}

/// The cases of a batch.
#[utoipa::path(get, path = "/api/v1/batches/{batch}/cases", tag = "images",
    params(("batch" = String, Path), PageQuery),
    responses((status = 200, body = Page<CaseView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_cases(
    State(app): State<App>,
    Path(batch): Path<BatchId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<CaseView>>, Error> {
    let folders = cases(&app.store, &batch).await?;
    if folders.is_empty() {
        return Err(Error::not_found(format!("batch `{batch}`")));
    }
    let view = |(case, roots)| CaseView { case, roots };
    paged(folders, &page, view, |it| it.case.to_string())
}

/// All batches and the trees they lie in.
pub(super) async fn all(store: &Store) -> Result<BTreeMap<BatchId, Vec<FileTree>>, Error> {
    folders(store, Prefix::Images, BatchId::parse).await
}

/// The cases of a batch and the trees they lie in. Empty: there is no such batch.
pub(super) async fn cases(
    store: &Store,
    batch: &BatchId,
) -> Result<BTreeMap<CaseId, Vec<FileTree>>, Error> {
    let prefix = |root| Prefix::ImageBatch(root, batch.clone());
    folders(store, prefix, CaseId::parse).await
}

/// The folders directly below one prefix a root, by name. What is no name of ours is left out.
async fn folders<T: Ord, E>(
    store: &Store,
    prefix: impl Fn(ImageRoot) -> Prefix,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<BTreeMap<T, Vec<FileTree>>, Error> {
    let mut folders: BTreeMap<T, Vec<FileTree>> = BTreeMap::new();
    for root in ImageRoot::ALL {
        for dir in store.list_dirs(&prefix(root).to_path()).await? {
            let name = dir.rsplit('/').next().unwrap_or(&dir);
            if let Ok(name) = parse(name) {
                folders.entry(name).or_default().push(root.into());
            }
        }
    }
    Ok(folders)
}

fn paged<T: Ord + ToString, V>(
    folders: BTreeMap<T, Vec<FileTree>>,
    page: &PageQuery,
    view: impl Fn((T, Vec<FileTree>)) -> V,
    name: impl FnOnce(&V) -> String,
) -> Result<Json<Page<V>>, Error> {
    let limit = page.limit()?;
    let after = page.after_text();
    let behind = |(id, _): &(T, Vec<FileTree>)| after.is_none_or(|it| *id.to_string() > *it);
    let items = folders.into_iter().filter(behind).take(limit + 1).map(view);
    Ok(Json(Page::cut(items.collect(), limit, name)))
}

/// Ids for a new case of uploads, in today's batch of the person.
#[utoipa::path(post, path = "/api/v1/batches", tag = "images",
    responses((status = 201, body = NewIds), (status = "default", body = ErrorBody)))]
pub(crate) async fn new_batch(
    State(app): State<App>,
    person: Person,
) -> (http::StatusCode, Json<NewIds>) {
    let now = app.store.now();
    let ids = new_ids(
        day_began_ms(now, app.settings.time_zone),
        app.fresh_ms(now),
        person.number,
    );
    (http::StatusCode::CREATED, Json(ids))
}

/// `b<ms of local midnight><uid>` and `m<ms><uid>` (FORMATS A.12).
fn new_ids(day_ms: i64, now_ms: i64, uid: u64) -> NewIds {
    NewIds {
        batch: BatchId::parse(&format!("b{day_ms}{uid}")).expect("a letter and two numbers"),
        case: CaseId::parse(&format!("m{now_ms}{uid}")).expect("a letter and two numbers"),
    }
}

fn day_began_ms(now: DateTime<Utc>, zone: FixedOffset) -> i64 {
    let midnight = now
        .with_timezone(&zone)
        .date_naive()
        .and_time(NaiveTime::MIN);
    let midnight = zone.from_local_datetime(&midnight).earliest();
    midnight.map_or(0, |it| it.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FORMATS A.12: 2019-11-02 in China, user 13.
    #[test]
    fn ids_are_those_of_the_predecessor() {
        let now = DateTime::from_timestamp_millis(1_572_683_620_912).unwrap();
        let zone = FixedOffset::east_opt(8 * 3600).unwrap();
        let day = day_began_ms(now, zone);
        let ids = new_ids(day, 1_572_683_620_912, 13);
        assert_eq!(ids.batch.as_str(), "b157262400000013");
        assert_eq!(ids.case.as_str(), "m157268362091213");
    }
}
