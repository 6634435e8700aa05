//! From bytes to rows.

use csv_core::{ReadRecordResult, Reader};

use super::outcome::{CsvRefusal, PointRow, Points, RejectedRow, RowCode, flag_repeats};
use crate::boxes::BBox;
use crate::ids::shown;

/// How much of a CSV is read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvLimits {
    pub max_bytes: u64,
    pub max_rows: u64,
}

impl Default for CsvLimits {
    /// 64 MiB and 1,000,000 rows (DESIGN 13).
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_rows: 1_000_000,
        }
    }
}

/// Reads a doctor's CSV without its image; [`Points::checked_against`] does the rest when the image is known.
///
/// - The columns `X`, `Y`, `Type` are found by name, in any order and case; `x1,y1,x2,y2` and `Label` are read when the
///   header has them; others are ignored. A byte order mark, CRLF, blank rows and blanks around fields are fine.
/// - `X`, `Y` and box sides may be written `120.0`; a fraction is rounded to the nearest pixel, halves away from zero.
///   (The predecessor cut it off; a rounded centre is never more than half a pixel from what the doctor meant.)
///   `Type` may be written `7.0`, not `7.5`.
/// - Only the used columns must be plain text. A note in another encoding (GBK, as Excel writes it in Chinese) does not
///   spoil a file: its bytes never look like `,`, `"` or a line end. A file without the columns that is no UTF-8
///   (a photograph named `.csv`, UTF-16) is refused as `bad_encoding`.
/// - After a quote that is never closed nothing can be read: the row in which it opens is bad, and says so.
pub fn parse(
    bytes: &[u8],
    limits: CsvLimits,
    is_known_class: impl Fn(u32) -> bool,
) -> Result<Points, CsvRefusal> {
    let n_bytes = bytes.len() as u64;
    if n_bytes > limits.max_bytes {
        return Err(CsvRefusal::TooManyBytes {
            n_bytes,
            limit: limits.max_bytes,
        });
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut records = Records::new(text);
    let Some(header) = records.next() else {
        return Err(CsvRefusal::EmptyFile);
    };
    let columns = Columns::find(&header).map_err(|column| refused_header(bytes, column))?;

    let mut points = Points::default();
    let mut n_rows = 0;
    while let Some(record) = records.next() {
        if record.is_blank() {
            continue;
        }
        n_rows += 1;
        if n_rows > limits.max_rows {
            return Err(CsvRefusal::TooManyRows {
                limit: limits.max_rows,
            });
        }
        match columns.row(&record, &is_known_class) {
            Ok(row) => points.rows.push(row),
            Err(bad) => points.reject(bad),
        }
    }
    flag_repeats(&mut points.rows);
    Ok(points)
}

/// A header without a column: of a text file, or of something else?
fn refused_header(bytes: &[u8], column: &'static str) -> CsvRefusal {
    let is_text = std::str::from_utf8(bytes).is_ok_and(|it| !it.contains('\0'));
    if is_text {
        CsvRefusal::MissingColumn { column }
    } else {
        CsvRefusal::BadEncoding
    }
}

/// The records of a CSV with the lines they begin on.
///
/// Built on the state machine below the `csv` crate, because that one can't say that a quote was never closed.
struct Records<'a> {
    reader: Reader,
    rest: &'a [u8],
    /// Line of the first byte of `rest`, from 1.
    line: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// One record: its fields lie in the buffers of [`Records`].
struct Record<'a> {
    line: u64,
    text: &'a [u8],
    ends: &'a [usize],
    /// `Some(lines)` when a quote was open at the end of the file, that many lines below.
    unclosed: Option<u64>,
    /// It has more than [`MAX_FIELDS`] fields, and where they end was forgotten.
    is_too_wide: bool,
}

/// A file of nothing but commas must not become a list of sixty million fields.
const MAX_FIELDS: usize = 1 << 12;

impl<'a> Records<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(),
            rest: text,
            line: 1,
            text: vec![0; 1 << 12],
            ends: vec![0; 1 << 6],
        }
    }

    fn next(&mut self) -> Option<Record<'_>> {
        self.skip_blank_lines();
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let (mut n_text, mut n_ends) = (0, 0);
        let (mut unclosed, mut is_too_wide) = (None, false);
        loop {
            // The last line may lack its end; an open quote swallows the one that is lent to it here.
            let lent: &[u8] = if self.rest.is_empty() {
                b"\n"
            } else {
                self.rest
            };
            let (result, n_in, n_out, n_end) =
                self.reader
                    .read_record(lent, &mut self.text[n_text..], &mut self.ends[n_ends..]);
            let was_lent = self.rest.is_empty();
            if !was_lent {
                self.line += n_line_ends(self.rest, n_in);
                self.rest = &self.rest[n_in..];
            }
            (n_text, n_ends) = (n_text + n_out, n_ends + n_end);
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::InputEmpty if was_lent => {
                    unclosed = Some(self.line - line);
                    break;
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_FIELDS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    is_too_wide = true;
                    n_ends = MAX_FIELDS / 2;
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
        Some(Record {
            line,
            text: &self.text[..n_text],
            ends: &self.ends[..n_ends],
            unclosed,
            is_too_wide,
        })
    }

    fn skip_blank_lines(&mut self) {
        let n = self
            .rest
            .iter()
            .take_while(|b| matches!(b, b'\n' | b'\r'))
            .count();
        self.line += n_line_ends(self.rest, n);
        self.rest = &self.rest[n..];
    }
}

/// How many lines end in the first `n` bytes: at `\n`, at `\r\n`, at a lone `\r`.
fn n_line_ends(bytes: &[u8], n: usize) -> u64 {
    let lone = |i: usize| bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n');
    (0..n).filter(|&i| bytes[i] == b'\n' || lone(i)).count() as u64
}

impl<'a> Record<'a> {
    /// A field without the blanks around it; empty beyond the last.
    fn field(&self, at: usize) -> &'a [u8] {
        let start = if at == 0 {
            0
        } else {
            self.ends.get(at - 1).copied().unwrap_or(self.text.len())
        };
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.text[start..end].trim_ascii()
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Spreadsheets write empty rows as `,,,`.
    fn is_blank(&self) -> bool {
        self.unclosed.is_none() && (0..self.len()).all(|at| self.field(at).is_empty())
    }

    fn bad(&self, code: RowCode, reason: impl Into<String>, text: &[u8]) -> RejectedRow {
        RejectedRow {
            line: self.line,
            code,
            reason: reason.into(),
            text: shown_bytes(text),
        }
    }
}

/// A text of any length and encoding, short enough for a record.
fn shown_bytes(text: &[u8]) -> String {
    // Four bytes for each character that `shown` lets through, and one to see that there is more.
    shown(&String::from_utf8_lossy(&text[..text.len().min(4 * 61)]))
}

/// Where the used columns stand.
struct Columns {
    x: usize,
    y: usize,
    class: usize,
    bbox: Option<[usize; 4]>,
    label: Option<usize>,
    n: usize,
}

impl Columns {
    /// The columns of a header, or the name of a needed one that is not there.
    fn find(header: &Record<'_>) -> Result<Self, &'static str> {
        let exact = |name: &str| (0..header.len()).find(|&at| header.field(at) == name.as_bytes());
        let any_case = |name: &str| {
            (0..header.len()).find(|&at| header.field(at).eq_ignore_ascii_case(name.as_bytes()))
        };
        let find = |name| exact(name).or_else(|| any_case(name));
        let need = |name| find(name).ok_or(name);
        let sides = ["x1", "y1", "x2", "y2"].map(find);
        Ok(Self {
            x: need("X")?,
            y: need("Y")?,
            class: need("Type")?,
            bbox: if let [Some(x1), Some(y1), Some(x2), Some(y2)] = sides {
                Some([x1, y1, x2, y2])
            } else {
                None
            },
            label: find("Label"),
            n: header.len(),
        })
    }

    fn row(
        &self,
        record: &Record<'_>,
        is_known_class: &impl Fn(u32) -> bool,
    ) -> Result<PointRow, RejectedRow> {
        self.check_shape(record)?;
        let class = class_number(record, record.field(self.class), is_known_class)?;
        let label = self
            .label
            .and_then(|at| std::str::from_utf8(record.field(at)).ok());
        Ok(PointRow {
            line: record.line,
            x: coordinate(record, "X", record.field(self.x))?,
            y: coordinate(record, "Y", record.field(self.y))?,
            class,
            bbox: self.bbox(record)?,
            label_text: label.filter(|it| !it.is_empty()).map(shown),
            duplicate: false,
            conflict: false,
        })
    }

    fn check_shape(&self, record: &Record<'_>) -> Result<(), RejectedRow> {
        if let Some(n_lines) = record.unclosed {
            let reason =
                format!("a quote is not closed, nothing after it was read ({n_lines} lines)");
            return Err(record.bad(RowCode::BadRow, reason, record.text));
        }
        if record.is_too_wide {
            let reason = format!("the row has more than {MAX_FIELDS} fields");
            return Err(record.bad(RowCode::BadRow, reason, record.text));
        }
        // Spreadsheets may leave empty fields at the end of a row; anything else is a shifted row.
        let n_filled = (0..record.len())
            .rev()
            .find(|&at| !record.field(at).is_empty())
            .map_or(0, |at| at + 1);
        if record.len() < self.n || n_filled > self.n {
            let reason = format!(
                "the row has {} fields, the header has {}",
                record.len(),
                self.n
            );
            return Err(record.bad(RowCode::BadRow, reason, record.text));
        }
        Ok(())
    }

    /// The doctor's box: absent where all four sides are empty.
    fn bbox(&self, record: &Record<'_>) -> Result<Option<BBox>, RejectedRow> {
        let Some(columns) = self.bbox else {
            return Ok(None);
        };
        if columns.iter().all(|&at| record.field(at).is_empty()) {
            return Ok(None);
        }
        let side = |i: usize| {
            rounded(
                record,
                ["x1", "y1", "x2", "y2"][i],
                record.field(columns[i]),
            )
        };
        let [x1, y1, x2, y2] = [side(0)?, side(1)?, side(2)?, side(3)?];
        let clamped = BBox::clamped(x1, y1, x2, y2, u32::MAX, u32::MAX);
        let text = format!("{x1},{y1},{x2},{y2}");
        clamped
            .map(Some)
            .ok_or_else(|| record.bad(RowCode::BadRow, "the box is empty", text.as_bytes()))
    }
}

fn class_number(
    record: &Record<'_>,
    field: &[u8],
    is_known: &impl Fn(u32) -> bool,
) -> Result<u32, RejectedRow> {
    let number = finite(record, "Type", field)?;
    if number.fract() != 0.0 {
        return Err(record.bad(RowCode::BadNumber, "Type is no whole number", field));
    }
    let in_range = (0.0..=f64::from(u32::MAX)).contains(&number);
    let known = in_range
        .then_some(number as u32)
        .filter(|&class| is_known(class));
    known.ok_or_else(|| {
        record.bad(
            RowCode::UnknownClass,
            "no class table knows this Type",
            field,
        )
    })
}

fn coordinate(record: &Record<'_>, column: &str, field: &[u8]) -> Result<u32, RejectedRow> {
    let pixel = rounded(record, column, field)?;
    let reason = || format!("{column} is negative");
    u32::try_from(pixel).map_err(|_| record.bad(RowCode::OutOfImage, reason(), field))
}

/// A number of pixels; anything that no image could have is no number.
fn rounded(record: &Record<'_>, column: &str, field: &[u8]) -> Result<i64, RejectedRow> {
    let number = finite(record, column, field)?;
    if number.abs() > MAX_COORDINATE {
        return Err(record.bad(
            RowCode::BadNumber,
            format!("{column} is beyond any image"),
            field,
        ));
    }
    Ok(number.round() as i64)
}

/// Larger than any side that a picture format can say.
const MAX_COORDINATE: f64 = 2_147_483_647.0;

/// The longest text that is tried as a number.
const MAX_NUMBER_BYTES: usize = 64;

fn finite(record: &Record<'_>, column: &str, field: &[u8]) -> Result<f64, RejectedRow> {
    let plain = field.len() <= MAX_NUMBER_BYTES && field.iter().any(u8::is_ascii_digit);
    let text = std::str::from_utf8(field).ok().filter(|_| plain);
    let number = text
        .and_then(|it| it.parse().ok())
        .filter(|it: &f64| it.is_finite());
    number.ok_or_else(|| record.bad(RowCode::BadNumber, format!("{column} is no number"), field))
}
