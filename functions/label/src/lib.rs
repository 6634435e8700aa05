//! The function `label`: a doctor's CSV was created or replaced.
//!
//! Its good rows become the layer `csv/<date>` of its image's label, replaced whole, so the label is a
//! function of the CSVs that lie there, whatever the order of events. A CSV whose image is not here yet
//! waits in its own record; `ingest` sends it again.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cellmill_core::classes::{ClassTable, KnownClasses};
use cellmill_core::disposition::Disposition;
use cellmill_core::document::Stamp;
use cellmill_core::events;
use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{CsvKey, ImageKey, ObjectKey, Prefix};
use cellmill_core::label::{CsvLayer, LabelDocument};
use cellmill_core::points::{self, CsvLimits, CsvRefusal, Points, Verdict};
use cellmill_core::records::{
    ImageSize, Named, PointsRecord, PointsState, Rejection, RowRemark, StemRecord,
};
use cellmill_service::Settings;
use cellmill_store::{Decision, Head, Store, Wanted};
use futures::TryStreamExt as _;

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Label {
    pub store: Store,
    pub limits: CsvLimits,
    /// The class tables, read again when one of them changes.
    pub classes: Arc<ClassCache>,
}

/// Why points could not be recorded. A bad CSV is never a reason: it gets a record that says so.
#[derive(Debug, thiserror::Error)]
#[error("recording points `{key}`")]
pub struct Error {
    key: String,
    #[source]
    source: cellmill_store::Error,
}

impl Error {
    pub fn disposition(&self) -> Disposition {
        if self.source.is_transient() {
            return Disposition::retry(cellmill_service::report(self));
        }
        Disposition::Reject {
            reason: self.to_string(),
        }
    }
}

/// How often a CSV that changes under our hands is read again before the message is left for later.
const MAX_READS: usize = 5;

impl Label {
    /// The function with the limits of the settings.
    pub fn of_settings(store: Store, settings: &Settings) -> Self {
        let limits = CsvLimits {
            max_bytes: settings.csv.max_bytes,
            max_rows: settings.csv.max_rows as u64,
        };
        Self::new(store, limits)
    }

    pub fn new(store: Store, limits: CsvLimits) -> Self {
        Self {
            store,
            limits,
            classes: Arc::default(),
        }
    }

    /// Handles one message of the queue `points`: all its records.
    pub async fn handle(&self, body: &str) -> Disposition {
        let created = match events::parse(body) {
            Ok(created) => created,
            Err(error) => {
                return Disposition::Reject {
                    reason: error.to_string(),
                };
            }
        };
        let mut outcome = Disposition::Done;
        for event in created {
            let Ok(Some(ObjectKey::Points(key))) = ObjectKey::parse(&event.key) else {
                tracing::info!(key = event.key, "no points of the layout, left alone");
                continue;
            };
            match self.points(&key).await {
                Ok(true) => {}
                Ok(false) => {
                    let reason = format!("points `{key}` changed under every reading");
                    outcome = outcome.and(Disposition::retry(reason));
                }
                Err(error) => {
                    tracing::warn!(
                        key = event.key,
                        error = cellmill_service::report(&error),
                        "points not recorded"
                    );
                    outcome = outcome.and(error.disposition());
                }
            }
        }
        outcome
    }

    /// Applies what lies under a CSV's key now. `false`: it kept changing meanwhile.
    pub async fn points(&self, key: &CsvKey) -> Result<bool, Error> {
        let failed = |source| Error {
            key: key.to_path(),
            source,
        };
        for _ in 0..MAX_READS {
            let Some(applied) = self.apply(key).await.map_err(failed)? else {
                return Ok(true);
            };
            if !applied.met_other {
                return Ok(true);
            }
            // Another handler may have read older bytes and written after us, or we after it: whoever is last
            // finds what the other wrote, sees bytes that are not those it applied, and goes again.
            let after = self
                .store
                .head(&ObjectKey::Points(key.clone()))
                .await
                .map_err(failed)?;
            if after.is_none_or(|it| it.etag == applied.etag) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads and applies what lies there; `None`: nothing does.
    async fn apply(&self, key: &CsvKey) -> Result<Option<Applied>, cellmill_store::Error> {
        let Some((head, read)) = self.read(key).await? else {
            return Ok(None);
        };
        let stem = self.meet(key).await?;
        let mut met_other = false;
        let mut record = PointsRecord {
            stamp: Stamp::default(),
            key: key.clone(),
            state: PointsState::Waiting,
            etag: Some(head.etag.clone()),
            bytes: head.size,
            sha256: read.sha256.clone(),
            n_good: 0,
            n_rejected: 0,
            remarks: Vec::new(),
            rejection: None,
            images: stem.images.keys().cloned().collect(),
            recorded_at: self.store.now(),
        };
        match &read.points {
            Err(refusal) => {
                refuse(&mut record, refusal.code(), refusal.to_string());
                for image in stem.images.keys() {
                    met_other |= self.drop_layer(key, image).await?;
                }
            }
            Ok(points) => {
                describe(&mut record, points);
                for (image, size) in &stem.images {
                    let checked = points.clone().checked_against(size.width, size.height);
                    met_other |= self.put_layer(key, image, &checked, &read.sha256).await?;
                    describe(&mut record, &checked);
                    record.state = PointsState::Applied;
                }
                judge(&mut record, points, &stem);
            }
        }
        met_other |= self.write_record(record).await?;
        Ok(Some(Applied {
            etag: head.etag,
            met_other,
        }))
    }

    async fn read(&self, key: &CsvKey) -> Result<Option<(Head, ReadCsv)>, cellmill_store::Error> {
        let limit = self.limits.max_bytes;
        let object_key = ObjectKey::Points(key.clone());
        let fetched = self.store.get_wanted(&object_key, |it| it.size <= limit);
        let object = match fetched.await? {
            None => return Ok(None),
            Some(Wanted::Whole(object)) => object,
            Some(Wanted::HeadOnly(head)) => {
                let refusal = CsvRefusal::TooManyBytes {
                    n_bytes: head.size,
                    limit,
                };
                let read = ReadCsv {
                    sha256: String::new(),
                    points: Err(refusal),
                };
                return Ok(Some((head, read)));
            }
        };
        let sha256 = sha256_hex(&object.bytes);
        let points = self.parse(&object.bytes).await?;
        Ok(Some((object.head, ReadCsv { sha256, points })))
    }

    /// A class that the tables of a moment ago don't know may be in those of now.
    async fn parse(
        &self,
        bytes: &[u8],
    ) -> Result<Result<Points, CsvRefusal>, cellmill_store::Error> {
        let kept = self.classes.recent(&self.store).await?;
        let met_unknown = Cell::new(false);
        let points = points::parse(bytes, self.limits, |class| {
            let is_known = kept.contains(class);
            met_unknown.set(met_unknown.get() || !is_known);
            is_known
        });
        if !met_unknown.get() {
            return Ok(points);
        }
        let now = self.classes.known(&self.store).await?;
        Ok(points::parse(bytes, self.limits, |class| {
            now.contains(class)
        }))
    }

    /// Finds the images that are there; while there is none, the CSV stands under its stem as one that waits.
    async fn meet(&self, key: &CsvKey) -> Result<StemRecord, cellmill_store::Error> {
        let swapped = self
            .store
            .swap::<StemRecord>(&ObjectKey::StemRecord(key.stem_key()), |record| {
                let mut record = record.cloned().unwrap_or_default();
                let is_changed = if record.images.is_empty() {
                    record.points.insert(key.clone())
                } else {
                    record.points.remove(key)
                };
                if is_changed {
                    Decision::Write(record)
                } else {
                    Decision::Keep
                }
            })
            .await?;
        Ok(swapped.stored.map(|it| it.value).unwrap_or_default())
    }

    async fn put_layer(
        &self,
        key: &CsvKey,
        image: &ImageKey,
        points: &Points,
        sha256: &str,
    ) -> Result<bool, cellmill_store::Error> {
        let layer = CsvLayer {
            rows: points.rows.clone(),
            etag: None,
            sha256: sha256.to_owned(),
            n_rejected: points.n_rejected(),
        };
        let mut met_other = false;
        self.change_label(image, |label| {
            let before = label.layers.csv.get(&key.date);
            met_other |= before.is_some_and(|it| it.sha256 != layer.sha256);
            label.put_csv(&key.date, layer.clone())
        })
        .await?;
        Ok(met_other)
    }

    /// A file that can't be used says nothing about the image, also when an earlier one did.
    async fn drop_layer(
        &self,
        key: &CsvKey,
        image: &ImageKey,
    ) -> Result<bool, cellmill_store::Error> {
        let mut met_other = false;
        self.change_label(image, |label| {
            let is_removed = label.layers.csv.remove(&key.date).is_some();
            met_other |= is_removed;
            is_removed
        })
        .await?;
        Ok(met_other)
    }

    async fn change_label(
        &self,
        image: &ImageKey,
        mut change: impl FnMut(&mut LabelDocument) -> bool + Send,
    ) -> Result<(), cellmill_store::Error> {
        let key = ObjectKey::Label(image.clone());
        let swapped = self.store.swap::<LabelDocument>(&key, |label| {
            let mut label = label
                .cloned()
                .unwrap_or_else(|| LabelDocument::new(image.clone(), ""));
            if change(&mut label) {
                Decision::Write(label)
            } else {
                Decision::Keep
            }
        });
        swapped.await.map(drop)
    }

    /// Says whether it was of other bytes before.
    async fn write_record(&self, record: PointsRecord) -> Result<bool, cellmill_store::Error> {
        let key = ObjectKey::PointsRecord(record.key.clone());
        let mut met_other = false;
        let swapped = self
            .store
            .swap_assuming::<PointsRecord>(&key, None, |known| {
                met_other |= known.is_some_and(|it| it.etag != record.etag);
                let is_same = known.is_some_and(|known| says_the_same(known, &record));
                // Whoever applied these bytes saw an image that came after we looked.
                let is_overtaken = record.state == PointsState::Waiting
                    && known.is_some_and(|it| it.etag == record.etag && !it.images.is_empty());
                if is_same || is_overtaken {
                    Decision::Keep
                } else {
                    Decision::Write(record.clone())
                }
            });
        swapped.await?;
        Ok(met_other)
    }
}

/// What was done with a CSV.
#[derive(Debug)]
struct Applied {
    /// Of the bytes that were applied.
    etag: String,
    /// Was there something of other bytes of this CSV?
    met_other: bool,
}

#[derive(Debug)]
struct ReadCsv {
    sha256: String,
    points: Result<Points, CsvRefusal>,
}

fn says_the_same(known: &PointsRecord, new: &PointsRecord) -> bool {
    let mut new = new.clone();
    new.stamp = known.stamp.clone();
    new.recorded_at = known.recorded_at;
    *known == new
}

fn describe(record: &mut PointsRecord, points: &Points) {
    record.n_good = points.rows.len() as u64;
    record.n_rejected = points.n_rejected();
    let rejected = points.rejected.iter().map(|it| RowRemark {
        line: it.line,
        code: it.code.as_str().to_owned(),
        reason: format!("{}: `{}`", it.reason, it.text),
    });
    let remarked = points.rows.iter().filter_map(|it| {
        let (code, reason) = match (it.duplicate, it.conflict) {
            (_, true) => ("conflict", "another row gives this place another class"),
            (true, false) => ("duplicate", "it repeats an earlier row"),
            (false, false) => return None,
        };
        Some(RowRemark {
            line: it.line,
            code: code.to_owned(),
            reason: reason.to_owned(),
        })
    });
    record.remarks = rejected
        .chain(remarked)
        .take(PointsRecord::MAX_REMARKS)
        .collect();
}

/// A file all of whose rows are bad is refused, with the code of its first one.
fn judge(record: &mut PointsRecord, points: &Points, stem: &StemRecord) {
    let sizes: Vec<ImageSize> = stem.images.values().copied().collect();
    let verdict = match sizes.first() {
        Some(size) => points
            .clone()
            .checked_against(size.width, size.height)
            .verdict(),
        None => points.verdict(),
    };
    if let Verdict::Rejected(code) = verdict {
        let reason = record
            .remarks
            .first()
            .map_or_else(String::new, |it| format!("line {}: {}", it.line, it.reason));
        refuse(
            record,
            code.as_str(),
            format!("no row can be used; {reason}"),
        );
    }
}

fn refuse(record: &mut PointsRecord, code: &str, reason: String) {
    record.state = PointsState::Rejected;
    record.rejection = Some(Rejection {
        code: code.to_owned(),
        reason,
    });
}

/// The class tables of the lab, kept until one of them changes.
#[derive(Debug, Default)]
pub struct ClassCache {
    known: tokio::sync::Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    version: Vec<Version>,
    classes: Arc<KnownClasses>,
    /// When the tables were last listed.
    listed: Instant,
}

/// Tables are listed again after this long: until then a class that was taken out of one is still known. One that was
/// put in is found at once.
const RECENT: Duration = Duration::from_mins(1);

/// Key and stamp of a table, from the listing.
type Version = (String, chrono::DateTime<chrono::Utc>, u64);

impl ClassCache {
    /// As [`known`](Self::known), but as it was at most a minute ago.
    async fn recent(&self, store: &Store) -> Result<Arc<KnownClasses>, cellmill_store::Error> {
        let kept = self.known.lock().await;
        if let Some(kept) = kept.as_ref().filter(|it| it.listed.elapsed() < RECENT) {
            return Ok(Arc::clone(&kept.classes));
        }
        drop(kept);
        self.known(store).await
    }

    /// The built-in classes and those of all tables. One listing, and reads only after a change.
    pub async fn known(&self, store: &Store) -> Result<Arc<KnownClasses>, cellmill_store::Error> {
        let listed: Vec<_> = store
            .list(&Prefix::ClassTables.to_path())
            .try_collect()
            .await?;
        let version: Vec<Version> = listed
            .into_iter()
            .map(|it| (it.key, it.last_modified, it.size))
            .collect();
        let listed = Instant::now();
        let mut kept = self.known.lock().await;
        if let Some(kept) = kept.as_mut().filter(|it| it.version == version) {
            kept.listed = listed;
            return Ok(Arc::clone(&kept.classes));
        }
        let mut tables = Vec::new();
        for (key, ..) in &version {
            if let Some(table) = store.read::<Named<ClassTable>>(key).await? {
                tables.push(table.value.value);
            }
        }
        let classes = Arc::new(KnownClasses::new(&tables));
        *kept = Some(Kept {
            version,
            classes: Arc::clone(&classes),
            listed,
        });
        Ok(classes)
    }
}

#[cfg(test)]
mod tests;
