//! The function `label`: a doctor's CSV was created or replaced.
//!
//! Its good rows become the layer `csv/<date>` of its image's label, replaced whole, so the label is a
//! function of the CSVs that lie there, whatever the order of events. A CSV whose image is not here yet
//! waits in its own record; `ingest` sends it again.

use std::sync::Arc;

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
use cellmill_store::{Decision, Head, Store};
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
            let Some(head) = self
                .store
                .head(&ObjectKey::Points(key.clone()))
                .await
                .map_err(failed)?
            else {
                return Ok(true);
            };
            self.apply(key, &head).await.map_err(failed)?;
            // Another handler may have read older bytes and written after us, or we after it:
            // whoever is last sees bytes that are not those it applied, and goes again.
            let after = self
                .store
                .head(&ObjectKey::Points(key.clone()))
                .await
                .map_err(failed)?;
            if after.is_none_or(|it| it.etag == head.etag) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn apply(&self, key: &CsvKey, head: &Head) -> Result<(), cellmill_store::Error> {
        let read = self.read(key, head).await?;
        let stem = self.meet(key).await?;
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
                    self.drop_layer(key, image).await?;
                }
            }
            Ok(points) => {
                describe(&mut record, points);
                for (image, size) in &stem.images {
                    let checked = points.clone().checked_against(size.width, size.height);
                    self.put_layer(key, image, &checked, &read.sha256).await?;
                    describe(&mut record, &checked);
                    record.state = PointsState::Applied;
                }
                judge(&mut record, points, &stem);
            }
        }
        self.write_record(record).await
    }

    async fn read(&self, key: &CsvKey, head: &Head) -> Result<ReadCsv, cellmill_store::Error> {
        if head.size > self.limits.max_bytes {
            let refusal = CsvRefusal::TooManyBytes {
                n_bytes: head.size,
                limit: self.limits.max_bytes,
            };
            return Ok(ReadCsv {
                sha256: String::new(),
                points: Err(refusal),
            });
        }
        let bytes = self
            .store
            .get_bytes(&ObjectKey::Points(key.clone()))
            .await?;
        let classes = self.classes.known(&self.store).await?;
        let sha256 = sha256_hex(&bytes);
        let points = points::parse(&bytes, self.limits, |class| classes.contains(class));
        Ok(ReadCsv { sha256, points })
    }

    /// Enters the CSV under its stem; the answer names the images that are there.
    async fn meet(&self, key: &CsvKey) -> Result<StemRecord, cellmill_store::Error> {
        let swapped = self
            .store
            .swap::<StemRecord>(&ObjectKey::StemRecord(key.stem_key()), |record| {
                let mut record = record.cloned().unwrap_or_default();
                if record.points.insert(key.clone()) {
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
    ) -> Result<(), cellmill_store::Error> {
        let layer = CsvLayer {
            rows: points.rows.clone(),
            etag: None,
            sha256: sha256.to_owned(),
            n_rejected: points.n_rejected(),
        };
        self.change_label(image, |label| label.put_csv(&key.date, layer.clone()))
            .await
    }

    /// A file that can't be used says nothing about the image, also when an earlier one did.
    async fn drop_layer(
        &self,
        key: &CsvKey,
        image: &ImageKey,
    ) -> Result<(), cellmill_store::Error> {
        self.change_label(image, |label| label.layers.csv.remove(&key.date).is_some())
            .await
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

    async fn write_record(&self, record: PointsRecord) -> Result<(), cellmill_store::Error> {
        let key = ObjectKey::PointsRecord(record.key.clone());
        let swapped = self.store.swap::<PointsRecord>(&key, |known| {
            let is_same = known.is_some_and(|known| says_the_same(known, &record));
            if is_same {
                Decision::Keep
            } else {
                Decision::Write(record.clone())
            }
        });
        swapped.await.map(drop)
    }
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
    known: tokio::sync::Mutex<Option<(Vec<Version>, Arc<KnownClasses>)>>,
}

/// Key and stamp of a table, from the listing.
type Version = (String, chrono::DateTime<chrono::Utc>, u64);

impl ClassCache {
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
        let mut kept = self.known.lock().await;
        if let Some((known, classes)) = &*kept
            && *known == version
        {
            return Ok(Arc::clone(classes));
        }
        let mut tables = Vec::new();
        for (key, ..) in &version {
            if let Some(table) = store.read::<Named<ClassTable>>(key).await? {
                tables.push(table.value.value);
            }
        }
        let classes = Arc::new(KnownClasses::new(&tables));
        *kept = Some((version, Arc::clone(&classes)));
        Ok(classes)
    }
}

#[cfg(test)]
mod tests;
