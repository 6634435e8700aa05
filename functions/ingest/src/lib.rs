//! The function `ingest`: an image was created.
//!
//! It checks the bytes, makes the thumbnail and the empty label, lets waiting points know, and writes the
//! record last: a record that says `ok` promises that everything else is there. Handling an image twice,
//! or being killed anywhere, leaves the same bucket.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cellmill_core::disposition::Disposition;
use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::ids::{PointsDate, Stem, TableName, cache_name, sha256_hex};
use cellmill_core::keys::{CsvKey, ImageKey, ObjectKey, Prefix, StemKey};
use cellmill_core::label::LabelDocument;
use cellmill_core::messages::{POINTS, PREANNOTATE, PreannotateHint};
use cellmill_core::records::{
    Conflict, ImageRecord, ImageSize, ImageState, LabelTypeSettings, Named, Picture, Rejection,
    StemRecord,
};
use cellmill_queue::{Outgoing, Queue, QueueName};
use cellmill_service::Settings;
use cellmill_store::{Created, Decision, Head, Object, Put, Store, Versioned, Wanted};
use cellmill_vision::{
    DecodeBudget, Decoded, Limits, Refusal, THUMBNAIL_SIDE, decode_within, thumbnail,
};
use chrono::{DateTime, Utc};

/// What the function works with.
#[derive(Clone, Debug)]
pub struct Ingest {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
    /// Shared by everything in the process that decodes.
    pub budget: DecodeBudget,
}

/// Why an image could not be recorded. The image itself is never a reason: a bad one gets a record that says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("recording image `{key}`")]
    Store {
        key: String,
        #[source]
        source: cellmill_store::Error,
    },
    #[error("telling the points of image `{key}`")]
    Queue {
        key: String,
        #[source]
        source: cellmill_queue::Error,
    },
}

impl Error {
    fn store(key: &ImageKey, source: cellmill_store::Error) -> Self {
        Self::Store {
            key: key.to_path(),
            source,
        }
    }

    /// Whatever ends a message here lies outside of the image, so it comes again, but for documents that no
    /// repetition can read.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Store { source, .. } if !source.is_transient() => Disposition::Reject {
                reason: cellmill_service::report(self),
            },
            Self::Store { .. } | Self::Queue { .. } => {
                Disposition::retry(cellmill_service::report(self))
            }
        }
    }
}

/// The settings as `vision` wants them.
pub fn image_limits(settings: &Settings) -> Limits {
    Limits {
        max_bytes: settings.images.max_bytes,
        max_side: settings.images.max_side,
        max_decoded_bytes: settings.images.max_decoded_bytes,
        ..Limits::default()
    }
}

impl Ingest {
    /// The function with the limits of the settings; `budget` is what all decodes of the process share.
    pub fn new(
        store: Store,
        queue: Arc<dyn Queue>,
        settings: &Settings,
        budget: DecodeBudget,
    ) -> Self {
        Self {
            store,
            queue,
            limits: image_limits(settings),
            budget,
        }
    }

    /// Handles one message of the queue `uploads`: all its records.
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
            if let Err(error) = self.created(&event).await {
                tracing::warn!(
                    key = event.key,
                    error = cellmill_service::report(&error),
                    "image not recorded"
                );
                outcome = outcome.and(error.disposition());
            }
        }
        outcome
    }

    async fn created(&self, event: &ObjectCreated) -> Result<(), Error> {
        match ObjectKey::parse(&event.key) {
            Ok(Some(ObjectKey::Image(key))) => self.image(&key).await,
            Ok(_) => {
                tracing::info!(key = event.key, "not an image of the layout, left alone");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    key = event.key,
                    error = cellmill_service::report(&error),
                    "file can't be used"
                );
                Ok(())
            }
        }
    }

    /// Records what lies under an image's key now.
    pub async fn image(&self, key: &ImageKey) -> Result<(), Error> {
        if !self.store.keeps_declarations() {
            return self.recorded(key, self.record(key).await?).await;
        }
        // Where each read is a request: what was put by hand mostly has no record, what was announced says so.
        let wants = |head: &Head| self.limits.check_length(head.size).is_ok();
        let object_key = ObjectKey::Image(key.clone());
        let fetched = self.store.get_wanted(&object_key, wants).await;
        match fetched.map_err(|it| Error::store(key, it))? {
            None => Ok(()),
            Some(Wanted::Whole(object)) if object.head.declared_sha256.is_none() => {
                self.unannounced(key, object).await
            }
            Some(wanted) => self.known(key, self.record(key).await?, wanted).await,
        }
    }

    async fn record(&self, key: &ImageKey) -> Result<Option<Versioned<ImageRecord>>, Error> {
        let stored = self.store.read(&ObjectKey::ImageRecord(key.clone())).await;
        stored.map_err(|it| Error::store(key, it))
    }

    /// An image that is read only if its record does not speak of it yet.
    async fn recorded(
        &self,
        key: &ImageKey,
        stored: Option<Versioned<ImageRecord>>,
    ) -> Result<(), Error> {
        let wants = |head: &Head| {
            !is_settled(stored.as_ref(), head) && self.limits.check_length(head.size).is_ok()
        };
        let object_key = ObjectKey::Image(key.clone());
        let fetched = self.store.get_wanted(&object_key, wants).await;
        match fetched.map_err(|it| Error::store(key, it))? {
            None => Ok(()),
            Some(wanted) => self.known(key, stored, wanted).await,
        }
    }

    /// An image that is taken to be new until its label or its record says otherwise.
    async fn unannounced(&self, key: &ImageKey, object: Object) -> Result<(), Error> {
        let (looked_at, object) = self.look_at(object, None).await;
        let is_new = match &looked_at.finding {
            // Only this function makes labels for images that have none, so whoever makes it is the first.
            Finding::Good { .. } => self.make_label(key, "").await?,
            Finding::Refused(_) | Finding::Known => true,
        };
        if is_new {
            self.conclude(key, None, looked_at, object).await
        } else {
            let stored = self.record(key).await?;
            self.known(key, stored, Wanted::Whole(object)).await
        }
    }

    /// An image whose record was read.
    async fn known(
        &self,
        key: &ImageKey,
        stored: Option<Versioned<ImageRecord>>,
        wanted: Wanted,
    ) -> Result<(), Error> {
        let (Wanted::Whole(Object { head, .. }) | Wanted::HeadOnly(head)) = &wanted;
        if let Some(stored) = &stored
            && is_decided(&stored.value, &head.etag)
        {
            // Whoever recorded it may have been killed before its message went out.
            if let (ImageState::Ok, Some(label_type)) =
                (stored.value.state, &stored.value.label_type)
            {
                self.ask_for_annotation(key, label_type).await?;
            }
            return Ok(());
        }
        match wanted {
            Wanted::HeadOnly(head) => self.refuse_length(key, stored, head).await,
            Wanted::Whole(object) => {
                let known = stored.as_ref().map(|it| it.value.clone());
                let (looked_at, object) = self.look_at(object, known).await;
                if let Finding::Good { .. } = looked_at.finding {
                    let label_type = looked_at.label_type.as_deref();
                    self.make_label(key, label_type.unwrap_or_default()).await?;
                }
                self.conclude(key, stored, looked_at, object).await
            }
        }
    }

    /// What follows from the bytes, the record last.
    async fn conclude(
        &self,
        key: &ImageKey,
        stored: Option<Versioned<ImageRecord>>,
        looked_at: LookedAt,
        object: Object,
    ) -> Result<(), Error> {
        let seen = Seen {
            etag: object.head.etag.clone(),
            bytes: object.head.size,
            sha256: Some(looked_at.sha256.clone()),
            received: object.head.last_modified,
        };
        let is_new = matches!(looked_at.finding, Finding::Good { .. });
        let verdict = match &looked_at.finding {
            Finding::Known => Verdict::SameBytes,
            Finding::Refused(refusal) => Verdict::Refused(refusal.clone()),
            Finding::Good { picture, thumbnail } => {
                self.derive(key, &looked_at, picture, thumbnail.clone())
                    .await?;
                Verdict::Good(picture.clone())
            }
        };
        let decided = self.decide(key, stored, &seen, verdict).await;
        match decided.map_err(|it| Error::store(key, it))? {
            Decided::Done => {}
            // What was derived does not fit what its owner said of it meanwhile.
            Decided::Announced(stored) => {
                let wanted = Wanted::Whole(object);
                return Box::pin(self.known(key, Some(*stored), wanted)).await;
            }
        }
        if is_new && let Some(label_type) = &looked_at.label_type {
            self.ask_for_annotation(key, label_type).await?;
        }
        Ok(())
    }

    /// A file above the limit is not read.
    async fn refuse_length(
        &self,
        key: &ImageKey,
        stored: Option<Versioned<ImageRecord>>,
        head: Head,
    ) -> Result<(), Error> {
        let Err(refusal) = self.limits.check_length(head.size) else {
            return Ok(());
        };
        let seen = Seen {
            etag: head.etag,
            bytes: head.size,
            sha256: None,
            received: head.last_modified,
        };
        let verdict = Verdict::Refused(rejection(&refusal));
        let decided = self.decide(key, stored, &seen, verdict).await;
        decided.map(drop).map_err(|it| Error::store(key, it))
    }

    /// Has the image pre-annotated, when its label type names a model. The record is there by now, so whoever takes
    /// the message finds it.
    async fn ask_for_annotation(&self, key: &ImageKey, label_type: &str) -> Result<(), Error> {
        let Ok(name) = TableName::parse(label_type) else {
            return Ok(());
        };
        let settings = self
            .store
            .read::<Named<LabelTypeSettings>>(&ObjectKey::LabelType(name))
            .await
            .map_err(|it| Error::store(key, it))?;
        if settings.is_none_or(|it| it.value.value.mid.is_none()) {
            return Ok(());
        }
        let body = serde_json::to_string(&PreannotateHint::new(key.clone()))
            .expect("a hint is plain text");
        self.queue
            .send(&QueueName::from_static(PREANNOTATE), &[Outgoing::now(body)])
            .await
            .map_err(|source| Error::Queue {
                key: key.to_path(),
                source,
            })
    }

    /// Hashes and decodes on a blocking thread. Bytes that the record knows already are not decoded again.
    async fn look_at(&self, object: Object, known: Option<ImageRecord>) -> (LookedAt, Object) {
        let (limits, budget) = (self.limits.clone(), self.budget.clone());
        let work = move || {
            let sha256 = sha256_hex(&object.bytes);
            let declared = object.head.declared_sha256.as_ref();
            let is_as_declared = declared.is_none_or(|it| *it == sha256);
            let is_known = known.as_ref().is_some_and(|it| {
                it.sha256.as_ref() == Some(&sha256) && it.state != ImageState::Expected
            });
            let is_other = known
                .as_ref()
                .is_some_and(|it| matches!(it.state, ImageState::Ok | ImageState::Conflict));
            // Other bytes than the recorded ones are a conflict, whatever they show.
            let finding = if is_known || is_other {
                Finding::Known
            } else if let (false, Some(declared)) = (is_as_declared, declared) {
                Finding::Refused(sha256_differs(declared, &sha256))
            } else {
                find(&object.bytes, &sha256, &limits, &budget)
            };
            let original_name = known.as_ref().and_then(|it| it.original_name.clone());
            let label_type = known.and_then(|it| it.label_type);
            (
                LookedAt {
                    sha256,
                    finding,
                    original_name,
                    label_type,
                },
                object,
            )
        };
        tokio::task::spawn_blocking(work)
            .await
            .expect("looking at bytes catches what decoders do")
    }

    /// Makes the empty label of an image that has none, and says whether it had none.
    async fn make_label(&self, key: &ImageKey, label_type: &str) -> Result<bool, Error> {
        let failed = |it| Error::store(key, it);
        let object_key = ObjectKey::Label(key.clone());
        let label = LabelDocument::new(key.clone(), label_type);
        let created = self.store.create(&object_key, label).await;
        let is_ours = match created.map_err(failed)? {
            Created::Won(_) => true,
            // It was made before the type was known.
            Created::Exists(stored)
                if stored.value.label_type != label_type && !label_type.is_empty() =>
            {
                let set_type = |label: Option<&LabelDocument>| match label {
                    Some(label) if label.label_type.is_empty() => {
                        let mut label = label.clone();
                        label_type.clone_into(&mut label.label_type);
                        Decision::Write(label)
                    }
                    _ => Decision::Keep,
                };
                let swapped = self
                    .store
                    .swap_assuming(&object_key, Some(stored), set_type);
                swapped.await.map_err(failed)?;
                false
            }
            Created::Exists(_) => false,
        };
        Ok(is_ours)
    }

    /// Writes everything that a good image has beside its record and its label.
    async fn derive(
        &self,
        key: &ImageKey,
        looked_at: &LookedAt,
        picture: &Picture,
        jpeg: Bytes,
    ) -> Result<(), Error> {
        let failed = |it| Error::store(key, it);
        if let Some(name) = &picture.thumbnail {
            self.store
                .put_bytes(&ObjectKey::Cache(name.clone()), jpeg, Put::Overwrite)
                .await
                .map_err(failed)?;
        }
        let original = looked_at
            .original_name
            .clone()
            .unwrap_or_else(|| key.original_name());
        let Ok(stem) = Stem::of_original(&original) else {
            return Ok(());
        };
        let stem_key = StemKey {
            batch: key.batch.clone(),
            case: key.case.clone(),
            stem,
        };
        let size = ImageSize {
            width: picture.width,
            height: picture.height,
        };
        let stem = self.meet(&stem_key, key, size).await.map_err(failed)?;
        self.tell_points(key, &stem_key, stem).await
    }

    /// Enters the image under its stem; the answer names the points that are there.
    async fn meet(
        &self,
        stem: &StemKey,
        key: &ImageKey,
        size: ImageSize,
    ) -> Result<StemRecord, cellmill_store::Error> {
        let swapped = self
            .store
            // Images mostly come before their points.
            .swap_assuming::<StemRecord>(&ObjectKey::StemRecord(stem.clone()), None, |record| {
                let mut record = record.cloned().unwrap_or_default();
                match record.images.insert(key.clone(), size) {
                    Some(before) if before == size => Decision::Keep,
                    _ => Decision::Write(record),
                }
            })
            .await?;
        Ok(swapped.stored.map(|it| it.value).unwrap_or_default())
    }

    /// Sends the points that are to go into this image's label to `label`.
    async fn tell_points(
        &self,
        key: &ImageKey,
        stem_key: &StemKey,
        stem: StemRecord,
    ) -> Result<(), Error> {
        let points = if stem.images.len() > 1 {
            // Those that found the other image did not wait.
            let found = self.points_of(stem_key).await;
            found.map_err(|it| Error::store(key, it))?
        } else {
            stem.points
        };
        if points.is_empty() {
            return Ok(());
        }
        let event = |path: String| ObjectCreated {
            key: path,
            etag: None,
            size: None,
            version_id: None,
            sequencer: None,
        };
        let messages: Vec<Outgoing> = points
            .iter()
            .map(|it| Outgoing::now(events::print(&event(it.to_path()))))
            .collect();
        self.queue
            .send(&QueueName::from_static(POINTS), &messages)
            .await
            .map_err(|source| Error::Queue {
                key: key.to_path(),
                source,
            })
    }

    /// The CSVs of a stem, of whatever date.
    async fn points_of(&self, stem: &StemKey) -> Result<BTreeSet<CsvKey>, cellmill_store::Error> {
        let batch = Prefix::PointsOfBatch(stem.batch.clone()).to_path();
        let mut found = BTreeSet::new();
        for date in self.store.list_dirs(&batch).await? {
            let name = date.rsplit('/').next().unwrap_or_default();
            let Ok(date) = PointsDate::parse(name) else {
                continue;
            };
            let key = CsvKey {
                batch: stem.batch.clone(),
                date,
                case: stem.case.clone(),
                stem: stem.stem.clone(),
            };
            if self
                .store
                .head(&ObjectKey::Points(key.clone()))
                .await?
                .is_some()
            {
                found.insert(key);
            }
        }
        Ok(found)
    }

    /// The last write: the record.
    async fn decide(
        &self,
        key: &ImageKey,
        stored: Option<Versioned<ImageRecord>>,
        seen: &Seen,
        verdict: Verdict,
    ) -> Result<Decided, cellmill_store::Error> {
        let now = self.store.now();
        let is_good = matches!(verdict, Verdict::Good(_));
        let said = |record: Option<&ImageRecord>| {
            record.map_or((None, None), |it| {
                (it.original_name.clone(), it.label_type.clone())
            })
        };
        let assumed = said(stored.as_ref().map(|it| &it.value));
        let is_announced = |record: Option<&ImageRecord>| is_good && said(record) != assumed;
        let swapped = self
            .store
            .swap_assuming::<ImageRecord>(&ObjectKey::ImageRecord(key.clone()), stored, |record| {
                if is_announced(record) {
                    return Decision::Keep;
                }
                let known = record
                    .cloned()
                    .unwrap_or_else(|| ImageRecord::expected(key.clone()));
                match judged(&known, seen, &verdict, now) {
                    Some(next) => Decision::Write(next),
                    None => Decision::Keep,
                }
            })
            .await?;
        Ok(match swapped.stored {
            Some(stored) if is_announced(Some(&stored.value)) => {
                Decided::Announced(Box::new(stored))
            }
            _ => Decided::Done,
        })
    }
}

/// What came of the last write.
#[derive(Debug)]
enum Decided {
    Done,
    /// Its owner said something of the image between our reading and our writing, so nothing was written.
    Announced(Box<Versioned<ImageRecord>>),
}

/// The bytes that were looked at.
#[derive(Debug)]
struct Seen {
    etag: String,
    bytes: u64,
    /// `None` when they were too many to read.
    sha256: Option<String>,
    received: DateTime<Utc>,
}

#[derive(Debug)]
struct LookedAt {
    sha256: String,
    finding: Finding,
    original_name: Option<String>,
    label_type: Option<String>,
}

#[derive(Debug)]
enum Finding {
    Known,
    Refused(Rejection),
    Good { picture: Picture, thumbnail: Bytes },
}

#[derive(Debug)]
enum Verdict {
    /// Nothing new was learnt but the ETag; or, when the hash differs, that there is a conflict.
    SameBytes,
    Refused(Rejection),
    Good(Picture),
}

/// What the record says after bytes were seen under its key; `None`: the same as before.
fn judged(
    known: &ImageRecord,
    seen: &Seen,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Option<ImageRecord> {
    let is_same_refusal = matches!(verdict, Verdict::Refused(it) if it.code == SHA256_DIFFERS);
    if is_decided(known, &seen.etag) || (known.speaks_of(Some(&seen.etag)) && is_same_refusal) {
        return None;
    }
    let mut next = known.clone();
    let is_settled = matches!(known.state, ImageState::Ok | ImageState::Conflict);
    if is_settled && known.sha256 != seen.sha256 {
        next.state = ImageState::Conflict;
        let sha256 = seen.sha256.clone().unwrap_or_default();
        next.conflict = Some(Conflict {
            etag: Some(seen.etag.clone()),
            sha256,
            seen_at: now,
        });
        return Some(next);
    }
    next.etag = Some(seen.etag.clone());
    next.bytes = seen.bytes;
    next.sha256.clone_from(&seen.sha256);
    next.received_at = Some(seen.received);
    next.recorded_at = Some(now);
    match verdict {
        // The recorded bytes came back: with them a conflict is over.
        Verdict::SameBytes if is_settled => {
            next.state = ImageState::Ok;
            next.conflict = None;
        }
        Verdict::SameBytes => {}
        Verdict::Refused(rejection) => {
            next.state = ImageState::Rejected;
            next.rejection = Some(rejection.clone());
            next.picture = None;
            if is_same_refusal {
                // Nothing was found out about these bytes: whoever sends them as what they are, is to be heard.
                next.sha256 = None;
            }
        }
        Verdict::Good(picture) => {
            next.state = ImageState::Ok;
            next.rejection = None;
            next.picture = Some(picture.clone());
        }
    }
    Some(next)
}

fn find(bytes: &[u8], sha256: &str, limits: &Limits, budget: &DecodeBudget) -> Finding {
    match decode_within(bytes, limits, budget) {
        Err(refusal) => Finding::Refused(rejection(&refusal)),
        Ok(decoded) => {
            let jpeg = thumbnail(&decoded.image, THUMBNAIL_SIDE);
            let picture = picture(&decoded, sha256);
            Finding::Good {
                picture,
                thumbnail: jpeg.into(),
            }
        }
    }
}

fn picture(decoded: &Decoded, sha256: &str) -> Picture {
    let header = &decoded.header;
    Picture {
        format: header.format.to_string(),
        width: header.width(),
        height: header.height(),
        orientation: header.orientation.value(),
        channels: header.channels,
        bits: header.bits,
        notes: decoded
            .notes
            .iter()
            .map(|it| format!("{}: {it}", it.code()))
            .collect(),
        thumbnail: Some(cache_name(
            sha256,
            &format!("thumbnail side={THUMBNAIL_SIDE}"),
        )),
    }
}

/// The bytes are not those that their sender meant to send.
const SHA256_DIFFERS: &str = "sha256_differs";

/// A bucket checks each part of a large file, but not the whole that they make: this is where it is checked.
fn sha256_differs(declared: &str, found: &str) -> Rejection {
    Rejection {
        code: SHA256_DIFFERS.to_owned(),
        reason: format!(
            "the file arrived with sha256 {found}, its sender declared {declared}; send it again"
        ),
    }
}

fn is_settled(stored: Option<&Versioned<ImageRecord>>, head: &Head) -> bool {
    stored.is_some_and(|it| is_decided(&it.value, &head.etag))
}

/// Whether a record has the last word on the object with this ETag. Sent again with the right sha256, the same
/// bytes have the same ETag, so a refusal for a wrong one is never the last.
fn is_decided(record: &ImageRecord, etag: &str) -> bool {
    let rejection = record.rejection.as_ref();
    record.speaks_of(Some(etag)) && rejection.is_none_or(|it| it.code != SHA256_DIFFERS)
}

fn rejection(refusal: &Refusal) -> Rejection {
    Rejection {
        code: refusal.code().to_owned(),
        reason: format!("{refusal}; {}", refusal.hint()),
    }
}

#[cfg(test)]
mod tests;
