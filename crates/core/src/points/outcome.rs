//! What came of reading a CSV.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::boxes::BBox;

/// The good rows of a CSV, and what was wrong with the others.
///
/// A file is accepted when it has a good row, or no row at all (a doctor who saw nothing): its bad rows are listed
/// and its good rows count. A file all of whose rows are bad is rejected with the code of its first bad row. See
/// [`Points::verdict`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// In the order of the file.
    pub rows: Vec<PointRow>,
    /// The first [`Points::MAX_LISTED`] bad rows, ascending by line.
    pub rejected: Vec<RejectedRow>,
    /// How many bad rows there are of each code, the unlisted ones included.
    pub rejected_counts: BTreeMap<RowCode, u64>,
}

/// One point: a cell's centre and what the doctor calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointRow {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    /// Centre in pixels of the upright image.
    pub x: u32,
    pub y: u32,
    pub class: u32,
    /// The doctor's box, where the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<BBox>,
    /// The text of the column `Label`. It is shown, never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_text: Option<String>,
    /// An earlier row says the same: place and class (decision 18). It counts as a row but gives no second crop.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// Another row gives the same place another class. Both are kept for a person to decide.
    #[serde(default, skip_serializing_if = "is_false")]
    pub conflict: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to `skip_serializing_if`"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A row that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    pub code: RowCode,
    /// A sentence fragment for people: which field, which rule.
    pub reason: String,
    /// The offending text, shortened, control characters escaped.
    pub text: String,
}

/// Why a row was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowCode {
    /// A coordinate or class is not a finite number of a sensible size.
    BadNumber,
    /// No class table knows the class.
    UnknownClass,
    /// The centre or the box lies outside the image.
    OutOfImage,
    /// Fields are missing or left over, a quote is not closed, a box is empty.
    BadRow,
}

impl RowCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadNumber => "bad_number",
            Self::UnknownClass => "unknown_class",
            Self::OutOfImage => "out_of_image",
            Self::BadRow => "bad_row",
        }
    }
}

/// Why a whole file was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvRefusal {
    #[error("the file is empty")]
    EmptyFile,
    #[error("the file is not text with the columns X, Y and Type: it is no UTF-8")]
    BadEncoding,
    #[error("the header has no column `{column}`, the columns X, Y and Type are needed")]
    MissingColumn { column: &'static str },
    #[error("the file has {n_bytes} bytes, the limit is {limit}")]
    TooManyBytes { n_bytes: u64, limit: u64 },
    #[error("the file has more than {limit} rows")]
    TooManyRows { limit: u64 },
}

impl CsvRefusal {
    /// The code that programs compare.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyFile => "empty_file",
            Self::BadEncoding => "bad_encoding",
            Self::MissingColumn { .. } => "missing_column",
            Self::TooManyBytes { .. } | Self::TooManyRows { .. } => "too_large",
        }
    }
}

/// Does a file that could be read count?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// No row is good; the code of the first bad one.
    Rejected(RowCode),
}

impl Points {
    /// Bad rows beyond this are counted, not listed, so that a record of a hopeless file stays small.
    pub const MAX_LISTED: usize = 1_000;

    /// Accepted unless there are bad rows only.
    pub fn verdict(&self) -> Verdict {
        match self.rejected.first() {
            Some(first) if self.rows.is_empty() => Verdict::Rejected(first.code),
            _ => Verdict::Accepted,
        }
    }

    /// How many bad rows there are, the unlisted ones included.
    pub fn n_rejected(&self) -> u64 {
        self.rejected_counts.values().sum()
    }

    pub fn n_duplicates(&self) -> usize {
        self.rows.iter().filter(|it| it.duplicate).count()
    }

    pub fn n_conflicts(&self) -> usize {
        self.rows.iter().filter(|it| it.conflict).count()
    }

    pub(super) fn reject(&mut self, row: RejectedRow) {
        *self.rejected_counts.entry(row.code).or_default() += 1;
        if self.rejected.len() < Self::MAX_LISTED {
            self.rejected.push(row);
        }
    }

    /// Moves the rows that an image of `w` x `h` pixels can't hold to the rejected ones, and cuts boxes at its border.
    ///
    /// A CSV may come before its image; so this is a step of its own. Doing it twice changes nothing.
    #[must_use]
    pub fn checked_against(mut self, w: u32, h: u32) -> Self {
        for row in std::mem::take(&mut self.rows) {
            match placed(row, w, h) {
                Ok(row) => self.rows.push(row),
                Err(bad) => self.reject(bad),
            }
        }
        self.rejected.sort_by_key(|it| it.line);
        flag_repeats(&mut self.rows);
        self
    }
}

fn placed(mut row: PointRow, w: u32, h: u32) -> Result<PointRow, RejectedRow> {
    let outside = |what: &str, text: String| RejectedRow {
        line: row.line,
        code: RowCode::OutOfImage,
        reason: format!("the {what} lies outside the image of {w} x {h} pixels"),
        text,
    };
    if row.x >= w || row.y >= h {
        return Err(outside("centre", format!("{},{}", row.x, row.y)));
    }
    if let Some(it) = row.bbox {
        let inside = BBox::clamped(it.x1.into(), it.y1.into(), it.x2.into(), it.y2.into(), w, h);
        let text = || format!("{},{},{},{}", it.x1, it.y1, it.x2, it.y2);
        row.bbox = Some(inside.ok_or_else(|| outside("box", text()))?);
    }
    Ok(row)
}

/// Marks the second and later rows of one place and class, and all rows of a place with two classes.
pub(super) fn flag_repeats(rows: &mut [PointRow]) {
    let mut by_place: Vec<usize> = (0..rows.len()).collect();
    by_place.sort_unstable_by_key(|&at| (rows[at].x, rows[at].y, rows[at].class, at));
    let is_same_place = |&a: &usize, &b: &usize| (rows[a].x, rows[a].y) == (rows[b].x, rows[b].y);
    let mut flags = vec![(false, false); rows.len()];
    for place in by_place.chunk_by(is_same_place) {
        // Sorted by class: the ends differ when any two do, and repeats stand beside each other.
        let conflict = rows[place[0]].class != rows[place[place.len() - 1]].class;
        for (nth, &at) in place.iter().enumerate() {
            let duplicate = nth > 0 && rows[place[nth - 1]].class == rows[at].class;
            flags[at] = (duplicate, conflict);
        }
    }
    for (row, flag) in rows.iter_mut().zip(flags) {
        (row.duplicate, row.conflict) = flag;
    }
}
