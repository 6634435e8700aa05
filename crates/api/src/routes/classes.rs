//! Class tables: the built-in one and those that a lab defines.

use axum::extract::State;
use cellmill_core::classes::{Class, ClassTable, KnownClasses, Polarity, built_in};
use cellmill_core::document::Stamp;
use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::ids::TableName;
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::points::RowCode;
use cellmill_core::records::{Named, PointsRecord};
use cellmill_queue::Outgoing;
use cellmill_store::{Decision, Store, Versioned};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::documents::documents;
use crate::audit;
use crate::edge::{Error, ErrorBody, Json, JsonBody, Page, PageQuery, Path, Query};
use crate::parts::{App, POINTS_QUEUE};
use crate::person::Person;

type StoredTable = Named<ClassTable>;

/// Messages that are sent with one call.
const BATCH: usize = 500;

/// A class table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClassTableView {
    pub name: String,
    /// Grows with every change; 0 for the built-in table.
    pub rev: u64,
    pub classes: Vec<ClassView>,
    /// Where it contradicts the built-in table or another one: the earlier definition counts.
    pub conflicts: Vec<String>,
}

/// A class of cells.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClassView {
    pub id: u32,
    pub name: String,
    pub description: String,
    /// 1 for a finding, 0 for none, null where the question makes no sense.
    pub p1n0: Option<u8>,
    /// `#rrggbb`.
    pub colour: String,
}

impl From<Class> for ClassView {
    fn from(class: Class) -> Self {
        Self {
            id: class.id,
            name: class.name,
            description: class.description,
            p1n0: class.p1n0.map(Polarity::into),
            colour: class.colour,
        }
    }
}

/// The built-in table, then those of the lab by name.
#[utoipa::path(get, path = "/api/v1/classes", tag = "labels", params(PageQuery),
    responses((status = 200, body = Page<ClassTableView>), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_class_tables(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ClassTableView>>, Error> {
    let limit = page.limit()?;
    let mut views = all_views(&app.store).await?;
    if let Some(after) = page.after_text() {
        let seen = views.iter().position(|it| it.name == after);
        views.drain(..seen.map_or(0, |at| at + 1));
    }
    Ok(Json(Page::cut(views, limit, |it| it.name.clone())))
}

/// One class table.
#[utoipa::path(get, path = "/api/v1/classes/{name}", tag = "labels",
    params(("name" = String, Path)),
    responses((status = 200, body = ClassTableView), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_class_table(
    State(app): State<App>,
    Path(name): Path<TableName>,
) -> Result<Json<ClassTableView>, Error> {
    one_view(&app.store, &name).await.map(Json)
}

async fn one_view(store: &Store, name: &TableName) -> Result<ClassTableView, Error> {
    let views = all_views(store).await?;
    let found = views.into_iter().find(|it| it.name == name.as_str());
    found.ok_or_else(|| Error::not_found(format!("class table `{name}`")))
}

/// All tables with what they contradict; there are few.
async fn all_views(store: &Store) -> Result<Vec<ClassTableView>, Error> {
    let tables = stored_tables(store).await?;
    let known = KnownClasses::new(tables.iter().map(|it| &it.value.value));
    let view = |rev, table: ClassTable| ClassTableView {
        conflicts: known
            .conflicts()
            .iter()
            .filter(|it| it.table == table.name)
            .map(ToString::to_string)
            .collect(),
        name: table.name,
        rev,
        classes: table.classes.into_iter().map(ClassView::from).collect(),
    };
    let mut views = vec![view(0, built_in())];
    let stored = tables.into_iter().map(|it| it.value);
    views.extend(stored.map(|it| view(it.stamp.rev, it.value)));
    Ok(views)
}

pub(super) async fn stored_tables(store: &Store) -> Result<Vec<Versioned<StoredTable>>, Error> {
    let prefixes = [Prefix::ClassTables.to_path()];
    let is_table = |key: &ObjectKey| matches!(key, ObjectKey::ClassTable(_));
    let tables = documents(store, &prefixes, None, is_table);
    Ok(tables.try_collect().await?)
}

/// The built-in classes with those of the lab.
pub(super) async fn known_classes(store: &Store) -> Result<KnownClasses, Error> {
    let tables = stored_tables(store).await?;
    Ok(KnownClasses::new(tables.iter().map(|it| &it.value.value)))
}

/// Defines a class table, in our form or as `{"ids": {"RBC": 301}, ...}`.
///
/// CSVs with rows whose class nobody knew are read again.
#[utoipa::path(put, path = "/api/v1/classes/{name}", tag = "labels",
    params(("name" = String, Path)), request_body(content = Object),
    responses((status = 200, body = ClassTableView), (status = "default", body = ErrorBody)))]
pub(crate) async fn put_class_table(
    State(app): State<App>,
    person: Person,
    Path(name): Path<TableName>,
    JsonBody(body): JsonBody<serde_json::Value>,
) -> Result<Json<ClassTableView>, Error> {
    if name.as_str() == built_in().name {
        let message = format!("`{name}` is the built-in table, name yours otherwise");
        return Err(Error::conflict("reserved", message));
    }
    let bytes = serde_json::to_vec(&body).map_err(Error::internal)?;
    let mut table = ClassTable::parse(name.as_str(), &bytes)
        .map_err(|it| Error::refused("bad_class_table", cellmill_service::report(&it)))?;
    table.name = name.to_string();
    let written_at = store_table(&app, &person, &name, table).await?;
    read_points_again(&app, written_at).await?;
    one_view(&app.store, &name).await.map(Json)
}

/// Returns when the table last changed.
async fn store_table(
    app: &App,
    person: &Person,
    name: &TableName,
    table: ClassTable,
) -> Result<DateTime<Utc>, Error> {
    let key = ObjectKey::ClassTable(name.clone());
    let swapped = app
        .store
        .swap(&key, |stored: Option<&StoredTable>| match stored {
            Some(stored) if stored.value == table => Decision::Keep,
            Some(stored) => Decision::Write(Named {
                value: table.clone(),
                ..stored.clone()
            }),
            None => Decision::Write(Named {
                stamp: Stamp::default(),
                name: name.to_string(),
                value: table.clone(),
            }),
        })
        .await?;
    if swapped.changed {
        let details = json!({ "classes": table.classes.len() });
        let subject = key.to_path();
        audit::record_done(&app.store, &person.id, "classes.put", &subject, details).await;
    }
    Ok(swapped
        .stored
        .map_or(app.store.now(), |it| it.last_modified))
}

/// Sends the CSVs that were read before the table changed and did not know a class.
///
/// A table that is put again unchanged sends nothing more, and a put that was cut short is made up for by
/// the next one.
async fn read_points_again(app: &App, written_at: DateTime<Utc>) -> Result<(), Error> {
    let prefixes = [Prefix::PointsRecords.to_path()];
    let is_record = |key: &ObjectKey| matches!(key, ObjectKey::PointsRecord(_));
    let records = documents::<PointsRecord, _>(&app.store, &prefixes, None, is_record);
    records
        .map_ok(|it| it.value)
        .try_filter(|it| std::future::ready(is_due(it, written_at)))
        .map_ok(|it| Outgoing::now(event_of(&it)))
        .try_chunks(BATCH)
        .map_err(|error| Error::from(error.1))
        .try_for_each(|messages| async move { Ok(app.queue.send(&POINTS_QUEUE, &messages).await?) })
        .await
}

/// Stamps are whole seconds, so a record of the same second may be older than the table.
const STAMP_SLACK: TimeDelta = TimeDelta::seconds(2);

fn is_due(record: &PointsRecord, written_at: DateTime<Utc>) -> bool {
    let unknown = RowCode::UnknownClass.as_str();
    let codes = record.remarks.iter().map(|it| &it.code);
    let mut codes = codes.chain(record.rejection.iter().map(|it| &it.code));
    record.recorded_at <= written_at + STAMP_SLACK && codes.any(|it| it == unknown)
}

fn event_of(record: &PointsRecord) -> String {
    events::print(&ObjectCreated {
        key: record.key.to_path(),
        etag: record.etag.clone(),
        size: Some(record.bytes),
        version_id: None,
        sequencer: None,
    })
}
