//! The frozen input of a job, and of each of its units (DESIGN 3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::boxes::BBox;
use crate::ids::sha256_hex;
use crate::split::Part;

/// `snapshot.json`: what a data set is made from. Its hash names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub v: u32,
    /// The data set's directory.
    pub dataset: String,
    /// The kind of job: `data`, `train`, `predict`, `segment`, `index`.
    pub kind: String,
    /// The job's parameters, as its record has them.
    pub parameters: Map<String, Value>,
    /// Ascending by key.
    pub images: Vec<SnapshotImage>,
    /// Images that were chosen but can't take part, ascending by key.
    pub left_out: Vec<LeftOut>,
    pub hash: SnapshotHash,
}

/// One image as it was when the job was frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotImage {
    pub key: String,
    pub imgid: u64,
    /// Of the image's bytes.
    pub sha256: String,
    pub w: u32,
    pub h: u32,
    /// The revision of the label document that was read, to find it again. It is no part of the hash: the same labels may
    /// stand in another revision, and [`SnapshotImage::input_sha256`] tells what they were.
    #[serde(default)]
    pub label_rev: Option<u64>,
    pub n_points: u64,
    /// The class of the whole image, when its label gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_class: Option<u32>,
    /// The part that the folder it came from belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// [`InputImage::points_sha256`].
    pub input_sha256: String,
}

/// An image that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub key: String,
    pub reason: String,
}

/// The sha256 of a snapshot: 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotHash(String);

/// A text that is no sha256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a snapshot's hash has 64 lower-case hex digits, this text has {n_bytes} bytes or other characters"
)]
pub struct SnapshotHashError {
    pub n_bytes: usize,
}

impl SnapshotHash {
    pub fn parse(text: &str) -> Result<Self, SnapshotHashError> {
        let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && is_hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(SnapshotHashError {
                n_bytes: text.len(),
            })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SnapshotHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SnapshotHash> for String {
    fn from(hash: SnapshotHash) -> Self {
        hash.0
    }
}

impl TryFrom<String> for SnapshotHash {
    type Error = SnapshotHashError;

    fn try_from(text: String) -> Result<Self, SnapshotHashError> {
        Self::parse(&text)
    }
}

impl Snapshot {
    /// Sorts images and left-out ones by key and names the whole by its hash.
    pub fn seal(
        dataset: impl Into<String>,
        kind: impl Into<String>,
        parameters: Map<String, Value>,
        mut images: Vec<SnapshotImage>,
        mut left_out: Vec<LeftOut>,
    ) -> Self {
        images.sort_by(|a, b| a.key.cmp(&b.key));
        left_out.sort_by(|a, b| a.key.cmp(&b.key));
        let hash = SnapshotHash(String::new());
        let mut sealed = Self {
            v: 1,
            dataset: dataset.into(),
            kind: kind.into(),
            parameters,
            images,
            left_out,
            hash,
        };
        sealed.hash = sealed.computed_hash();
        sealed
    }

    /// Is the content what the hash says?
    pub fn is_intact(&self) -> bool {
        self.hash == self.computed_hash()
    }

    /// sha256 over the canonical JSON of the snapshot without `hash` and without the `label_rev` of each image:
    /// object keys sorted by bytes, no blanks, UTF-8 without needless escapes, whole numbers as digits. Python's
    /// `json.dumps(x, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes the same.
    fn computed_hash(&self) -> SnapshotHash {
        let mut value =
            serde_json::to_value(self).expect("a snapshot holds nothing that JSON can't");
        let whole = value.as_object_mut().expect("a struct becomes an object");
        whole.remove("hash");
        let images = whole.get_mut("images").and_then(Value::as_array_mut);
        for image in images
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            image.remove("label_rev");
        }
        SnapshotHash(sha256_hex(canonical_json(&value).as_bytes()))
    }

    /// The file: readable, one line per field.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a snapshot holds nothing that JSON can't")
    }
}

/// JSON with sorted keys and no blanks: equal values give equal text.
///
/// It sorts by itself, as the order of `serde_json`'s maps depends on a feature that any crate may switch on.
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let fields = entries.into_iter().map(|(key, value)| {
                format!("{}:{}", Value::from(key.as_str()), canonical_json(value))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!(
            "[{}]",
            items
                .iter()
                .map(canonical_json)
                .collect::<Vec<_>>()
                .join(",")
        ),
        plain => plain.to_string(),
    }
}

/// The frozen input of one data unit: everything but the pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitInput {
    pub v: u32,
    /// The unit's number in its job.
    pub unit: u32,
    pub images: Vec<InputImage>,
}

/// One image of a unit, with the points that counted when the job was frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputImage {
    pub key: String,
    pub imgid: u64,
    pub sha256: String,
    pub w: u32,
    pub h: u32,
    pub batch: String,
    pub case: String,
    pub name: String,
    /// The revision of the label document that the points are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_rev: Option<u64>,
    pub points: Vec<Point>,
    /// The class of the whole image, when its label gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_class: Option<u32>,
    /// The part that the folder it came from belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A cell that a label document knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Centre in pixels of the upright image.
    pub x: u32,
    pub y: u32,
    pub class: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<BBox>,
    /// It repeats an earlier one: a row of its own, but no crop of its own (decision 18).
    #[serde(default)]
    pub duplicate: bool,
}

impl UnitInput {
    /// The bytes to freeze: equal inputs give equal bytes (fields in the order of the types, no blanks).
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an input holds nothing that JSON can't")
    }
}

impl InputImage {
    /// What the points are, for [`SnapshotImage::input_sha256`].
    pub fn points_sha256(&self) -> String {
        let bytes = serde_json::to_vec(&self.points).expect("points hold nothing that JSON can't");
        sha256_hex(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(key: &str) -> SnapshotImage {
        SnapshotImage {
            key: key.to_owned(),
            imgid: 6005,
            sha256: "00".repeat(32),
            w: 640,
            h: 480,
            label_rev: Some(3),
            n_points: 2,
            image_class: None,
            part: None,
            input_sha256: "11".repeat(32),
        }
    }

    fn snapshot(images: Vec<SnapshotImage>) -> Snapshot {
        let Value::Object(parameters) = json!({"size": 100, "gray": 1}) else {
            unreachable!()
        };
        let left_out = vec![LeftOut {
            key: "img/b/c/Images/汉.JPG".to_owned(),
            reason: "conflict".to_owned(),
        }];
        Snapshot::seal("DkxD9Kjl", "data", parameters, images, left_out)
    }

    #[test]
    fn the_hash_is_that_of_the_documented_form() {
        let text = concat!(
            r#"{"dataset":"DkxD9Kjl","images":[{"h":480,"imgid":6005,"input_sha256":"1111111111111111111111111111111111111111111111111111111111111111","#,
            r#""key":"img/b/c/Images/a.JPG","n_points":2,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","w":640}],"#,
            r#""kind":"data","left_out":[{"key":"img/b/c/Images/汉.JPG","reason":"conflict"}],"#,
            r#""parameters":{"gray":1,"size":100},"v":1}"#,
        );
        let got = snapshot(vec![image("img/b/c/Images/a.JPG")]);
        assert_eq!(got.hash.as_str(), sha256_hex(text.as_bytes()));
    }

    #[test]
    fn neither_order_nor_blanks_nor_revisions_change_the_hash() {
        let (a, b) = (image("a"), image("b"));
        let first = snapshot(vec![a.clone(), b.clone()]);
        assert_eq!(snapshot(vec![b.clone(), a.clone()]), first);
        let read: Snapshot = serde_json::from_slice(&first.to_bytes()).unwrap();
        assert!(read.is_intact());
        assert_eq!(read, first);
        let later = SnapshotImage {
            label_rev: Some(9),
            ..b.clone()
        };
        assert_eq!(snapshot(vec![a.clone(), later]).hash, first.hash);
        let changed = SnapshotImage { n_points: 3, ..b };
        assert_ne!(snapshot(vec![a, changed]).hash, first.hash);
    }

    #[test]
    fn a_changed_file_is_not_intact() {
        let mut got = snapshot(vec![image("a")]);
        got.images[0].w = 641;
        assert!(!got.is_intact());
    }

    #[test]
    fn a_hash_is_64_hex_digits() {
        assert!(SnapshotHash::parse(&"0a".repeat(32)).is_ok());
        for bad in [
            "",
            "0A",
            &"0A".repeat(32),
            &"0g".repeat(32),
            &"0".repeat(65),
        ] {
            assert!(SnapshotHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let value = json!({"b": [{"y": 1, "x": "\"汉\n"}], "a": null, "A": 1.5});
        assert_eq!(
            canonical_json(&value),
            r#"{"A":1.5,"a":null,"b":[{"x":"\"汉\n","y":1}]}"#
        );
    }

    #[test]
    fn frozen_input_reads_back_and_its_points_have_a_hash() {
        let point = Point {
            x: 1,
            y: 2,
            class: 7,
            bbox: Some(BBox::new(0, 0, 2, 4)),
            duplicate: false,
        };
        let mut input = InputImage {
            key: "img/b/c/Images/a.JPG".into(),
            imgid: 1,
            sha256: String::new(),
            w: 9,
            h: 9,
            batch: "b".into(),
            case: "c".into(),
            name: "a.JPG".into(),
            label_rev: None,
            points: vec![point],
            image_class: None,
            part: None,
        };
        let before = input.points_sha256();
        let unit = UnitInput {
            v: 1,
            unit: 0,
            images: vec![input.clone()],
        };
        assert_eq!(
            serde_json::from_slice::<UnitInput>(&unit.to_bytes()).unwrap(),
            unit
        );
        input.points.push(Point {
            duplicate: true,
            ..point
        });
        assert_ne!(input.points_sha256(), before);
    }
}
