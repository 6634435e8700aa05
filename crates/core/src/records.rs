//! What is known of images and CSVs: the documents under `records/`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::document::Stamp;
use crate::ids::Dir;
use crate::impl_document;
use crate::keys::{CsvKey, ImageKey};
use crate::machine::Machine;
use crate::split::Part;

/// How far an image came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageState {
    /// An upload was signed that needs something remembered; the bytes are not here yet.
    Expected,
    /// Checked and usable.
    Ok,
    /// The bytes are no usable image. Bound to the ETag: new bytes are a new chance.
    Rejected,
    /// Other bytes came under the same key. What was derived stays; new units refuse the image.
    Conflict,
}

/// `records/<image key>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub key: ImageKey,
    /// The derived number of the image.
    pub imgid: u64,
    pub state: ImageState,
    /// The name as its owner wrote it, when the key had to shorten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_name: Option<String>,
    /// The label type chosen at upload, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_type: Option<String>,
    /// The part that the folder it came from belongs to, chosen at upload: `train`, `validation`, `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// ETag of the bytes that this record speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default)]
    pub bytes: u64,
    /// Lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// When the object was written, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<DateTime<Utc>>,
    /// When this record was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<DateTime<Utc>>,
}

impl ImageRecord {
    /// A record of which nothing but the key is known.
    pub fn expected(key: ImageKey) -> Self {
        Self {
            stamp: Stamp::default(),
            imgid: key.number(),
            key,
            state: ImageState::Expected,
            original_name: None,
            label_type: None,
            part: None,
            etag: None,
            bytes: 0,
            sha256: None,
            picture: None,
            rejection: None,
            conflict: None,
            received_at: None,
            recorded_at: None,
        }
    }

    /// The name as its owner wrote it.
    pub fn shown_name(&self) -> String {
        self.original_name
            .clone()
            .unwrap_or_else(|| self.key.original_name())
    }

    /// Was exactly this version of the object the last that was decided on?
    ///
    /// In a conflict that is the other one. The first may come back, with the ETag that it had: ETags of S3 are made of
    /// the bytes.
    pub fn speaks_of(&self, etag: Option<&str>) -> bool {
        let last = match (self.state, &self.conflict) {
            (ImageState::Expected, _) => return false,
            (ImageState::Conflict, Some(conflict)) => &conflict.etag,
            _ => &self.etag,
        };
        etag.is_some() && last.as_deref() == etag
    }
}

/// The measurable side of a good image: upright, as every box means it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// `jpeg`, `png`, `tiff`, `bmp`, `webp`, `gif`, by content.
    pub format: String,
    /// Upright width and height in pixels.
    pub width: u32,
    pub height: u32,
    /// EXIF orientation of the stored bytes, 1 to 8.
    pub orientation: u8,
    /// Channels and bits of the stored bytes.
    pub channels: u8,
    pub bits: u8,
    /// What a reader should know: `animated: first frame of 6`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The thumbnail's name under `cache/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
}

/// Why an object is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// `truncated`, `too_large`, `unknown_type`, ...
    pub code: String,
    /// One sentence for a person: the rule and the limit.
    pub reason: String,
}

/// Other bytes under a key that was known already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub etag: Option<String>,
    pub sha256: String,
    pub seen_at: DateTime<Utc>,
}

/// How far a CSV came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointsState {
    /// Its good rows are a layer of the image's label.
    Applied,
    /// Its image is not here yet.
    Waiting,
    /// No row of it can be used.
    Rejected,
}

/// A row that could not be used, or is worth a remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRemark {
    /// Line of the file, from 1.
    pub line: u64,
    pub code: String,
    pub reason: String,
}

/// `records/<csv key>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointsRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub key: CsvKey,
    pub state: PointsState,
    pub etag: Option<String>,
    pub bytes: u64,
    pub sha256: String,
    /// Rows that are in the label.
    pub n_good: u64,
    /// Rows that are not.
    pub n_rejected: u64,
    /// The first [`PointsRecord::MAX_REMARKS`] of them, and remarks on kept rows.
    #[serde(default)]
    pub remarks: Vec<RowRemark>,
    /// Why the file as a whole is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// The images whose labels it went into.
    #[serde(default)]
    pub images: Vec<ImageKey>,
    pub recorded_at: DateTime<Utc>,
}

impl PointsRecord {
    /// Remarks kept in the record; a file of a million bad rows must not make a large document.
    pub const MAX_REMARKS: usize = 1000;
}

/// `records/stems/<batch>/<case>/<stem>.json`: where an image and the CSVs of the same stem find each other.
///
/// An image writes itself in and reads the CSVs that wait; a CSV reads the images, and waits here while there is none.
/// Whichever comes second sees the first. One document replaces two listings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StemRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    #[serde(default)]
    pub images: BTreeMap<ImageKey, ImageSize>,
    /// Those that came before any image.
    #[serde(default)]
    pub points: BTreeSet<CsvKey>,
}

/// Upright size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSize {
    pub width: u32,
    pub height: u32,
}

/// `classes/<name>.json` and `labels/types/<type>.json` are plain documents around a value of `formats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named<T> {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub name: String,
    pub value: T,
}

impl<T: Serialize + serde::de::DeserializeOwned + Clone + Send + Sync> crate::document::Document
    for Named<T>
{
    fn stamp(&self) -> &Stamp {
        &self.stamp
    }
    fn stamp_mut(&mut self) -> &mut Stamp {
        &mut self.stamp
    }
}

/// The value of `labels/types/<type>.json`: how images of a label type are labelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelTypeSettings {
    /// For people.
    pub title: String,
    /// The number of a [`LabelType`](crate::label::LabelType).
    pub algorithm: u32,
    /// Names of the answers, in the order of a model's outputs.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The model that pre-annotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<u64>,
    /// What finds the cells that a classifier names; `None`: the classical finder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<u64>,
    /// A training is proposed when the last one is this many days old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_interval_days: Option<u32>,
    /// Somebody wants a training now: the next sweep starts it, however old the last one is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub train_now: bool,
    /// The last training that was started by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_training: Option<PeriodicTraining>,
}

/// A training that was started because the last one was old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodicTraining {
    pub at: DateTime<Utc>,
    /// Directory of its data set and of its project; absent when there was not enough to learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<Dir>,
    /// How many images had a class then.
    pub n_labelled: u64,
    /// What came of it, for a person: `started`, or why it was not.
    pub outcome: String,
}

/// `ids/<kind>/<n>.json`: what a number stands for. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub number: u64,
    /// The directory of a data set or project; empty for other kinds.
    pub dir: String,
    pub description: String,
    pub by: String,
    pub at: DateTime<Utc>,
}

/// `active/<kind>-<dir>-<round>`: a job round that is not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveMark {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub at: DateTime<Utc>,
}

/// `workers/<id>.json`: a live worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub id: crate::ids::WorkerId,
    pub classes: Vec<crate::messages::UnitClass>,
    pub kinds: Vec<crate::keys::JobKind>,
    pub device: String,
    pub started_at: DateTime<Utc>,
    /// The unit it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it computes on, as it was a moment ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// `audit/<yyyy>/<mm>/<dd>/<ulid>.json`: one decision of a person. Written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub at: DateTime<Utc>,
    pub by: String,
    /// What was done: `dataset.create`, `job.cancel`.
    pub action: String,
    /// What it was done to: a key or an id.
    pub subject: String,
    #[serde(default)]
    pub details: serde_json::Value,
}

/// `datasets/<dir>/packs.json`: the packs that committed units left, in the order of the units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackList {
    pub v: u32,
    pub packs: Vec<PackEntry>,
}

/// A committed pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackEntry {
    pub unit: u32,
    pub key: String,
    pub bytes: u64,
    pub sha256: String,
}

impl_document!(
    ImageRecord,
    PointsRecord,
    StemRecord,
    NumberRecord,
    ActiveMark,
    WorkerRecord,
    AuditEntry
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_of_one_version_of_the_bytes() {
        let key: ImageKey = "img/a/b/Images/c.jpg".parse().unwrap();
        let mut record = ImageRecord {
            etag: Some("e1".to_owned()),
            ..ImageRecord::expected(key)
        };
        assert!(
            !record.speaks_of(Some("e1")),
            "an expected image was not looked at"
        );
        record.state = ImageState::Rejected;
        assert!(record.speaks_of(Some("e1")));
        assert!(!record.speaks_of(Some("e2")), "new bytes are a new chance");
        assert!(!record.speaks_of(None));
    }
}
