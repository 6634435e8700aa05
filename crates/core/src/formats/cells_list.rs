//! `datasets/<dir>/cellslist.csv`: one row per cell, read in all its eras, written in the newest.

use std::io::Read;

use csv::{QuoteStyle, StringRecord};

use super::paths::relative_path;
use super::table::{TableError, append, find, line_of, need};
use crate::boxes::BBox;
use crate::ids::shown;
use crate::job::DataType;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellsListRow {
    pub batchid: String,
    pub medicalid: String,
    /// The image's number; `None` in lists of October 2019.
    pub imgid: Option<u64>,
    pub imgname: String,
    /// The image's key; `None` in lists of October 2019.
    pub imgpath: Option<String>,
    /// Always 0: the predecessor never filled it in.
    pub p1n0: u8,
    pub gray: bool,
    pub size: u32,
    pub data_type: DataType,
    pub mid: u64,
    pub cache: bool,
    /// The key of the cell's picture. With `parameter_cache` 0 nothing lies there; the packs hold it under its name.
    pub cellpath: String,
    /// What was cut.
    pub crop: BBox,
    pub celltype: u32,
    /// The cell itself; since March 2020.
    pub kernel: Option<BBox>,
    /// A row of the doctor's CSV that repeats an earlier one: same `cellpath`, no crop of its own (decision 18). It is
    /// a last column `duplicate` (0 or 1) of our own, which older readers skip; absent means 0.
    pub duplicate: bool,
}

const HEADER: [&str; 22] = [
    "batchid",
    "medicalid",
    "imgid",
    "imgname",
    "imgpath",
    "p1n0",
    "parameter_gray",
    "parameter_size",
    "parameter_type",
    "parameter_mid",
    "parameter_cache",
    "cellpath",
    "x1",
    "y1",
    "x2",
    "y2",
    "celltype",
    "kx1",
    "ky1",
    "kx2",
    "ky2",
    "duplicate",
];

impl CellsListRow {
    /// Appends the header, as the first line of a table or of each of its parts.
    pub fn write_header(out: &mut Vec<u8>) {
        append(
            out,
            QuoteStyle::Always,
            std::iter::once(HEADER.map(str::to_owned)),
        );
    }

    /// Appends rows: every field quoted, `imgid` and `imgname` under their right names (decision 1; the predecessor
    /// swapped them), paths as they are. Call it with a few thousand rows at a time and send `out` away in between.
    pub fn write_rows<'a>(rows: impl IntoIterator<Item = &'a Self>, out: &mut Vec<u8>) {
        append(out, QuoteStyle::Always, rows.into_iter().map(Self::fields));
    }

    fn fields(&self) -> [String; 22] {
        let flag = |it: bool| u8::from(it).to_string();
        let kernel = |side: fn(&BBox) -> u32| {
            self.kernel
                .as_ref()
                .map_or_else(String::new, |it| side(it).to_string())
        };
        [
            self.batchid.clone(),
            self.medicalid.clone(),
            self.imgid.map_or_else(String::new, |it| it.to_string()),
            self.imgname.clone(),
            self.imgpath.clone().unwrap_or_default(),
            self.p1n0.to_string(),
            flag(self.gray),
            self.size.to_string(),
            self.data_type.number().to_string(),
            self.mid.to_string(),
            flag(self.cache),
            self.cellpath.clone(),
            self.crop.x1.to_string(),
            self.crop.y1.to_string(),
            self.crop.x2.to_string(),
            self.crop.y2.to_string(),
            self.celltype.to_string(),
            kernel(|it| it.x1),
            kernel(|it| it.y1),
            kernel(|it| it.x2),
            kernel(|it| it.y2),
            flag(self.duplicate),
        ]
    }
}

/// Reads a table of any era row by row, in constant memory.
///
/// The eras differ in their columns, found by name. Tables since November 2019 have the values of `imgid` and `imgname`
/// swapped, ours have not: the one that is a number is the number, and of two numbers the name is the one that
/// `imgpath` ends in. Absolute paths lose their root (decision 17).
#[derive(Debug)]
pub struct CellsList<R> {
    reader: csv::Reader<R>,
    columns: Columns,
    record: StringRecord,
}

impl<R: Read> CellsList<R> {
    pub fn new(table: R) -> Result<Self, TableError> {
        let mut reader = csv::Reader::from_reader(table);
        let columns = Columns::find(reader.headers().map_err(TableError::Csv)?)?;
        Ok(Self {
            reader,
            columns,
            record: StringRecord::new(),
        })
    }
}

impl<R: Read> Iterator for CellsList<R> {
    type Item = Result<CellsListRow, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.read_record(&mut self.record) {
            Ok(true) => Some(self.columns.row(&self.record)),
            Ok(false) => None,
            Err(error) => Some(Err(TableError::Csv(error))),
        }
    }
}

/// Where each column stands.
#[derive(Debug)]
struct Columns {
    needed: [usize; NEEDED.len()],
    imgid: Option<usize>,
    imgpath: Option<usize>,
    kernel: Option<[usize; 4]>,
    duplicate: Option<usize>,
}

/// The columns that every era has.
const NEEDED: [&str; 15] = [
    "batchid",
    "medicalid",
    "imgname",
    "p1n0",
    "parameter_gray",
    "parameter_size",
    "parameter_type",
    "parameter_mid",
    "parameter_cache",
    "cellpath",
    "x1",
    "y1",
    "x2",
    "y2",
    "celltype",
];

impl Columns {
    fn find(header: &StringRecord) -> Result<Self, TableError> {
        let mut needed = [0; NEEDED.len()];
        for (at, name) in needed.iter_mut().zip(NEEDED) {
            *at = need(header, name)?;
        }
        let kernel = ["kx1", "ky1", "kx2", "ky2"].map(|it| find(header, it));
        let kernel = if let [Some(a), Some(b), Some(c), Some(d)] = kernel {
            Some([a, b, c, d])
        } else {
            None
        };
        let [imgid, imgpath, duplicate] =
            ["imgid", "imgpath", "duplicate"].map(|it| find(header, it));
        Ok(Self {
            needed,
            imgid,
            imgpath,
            kernel,
            duplicate,
        })
    }

    fn row(&self, record: &StringRecord) -> Result<CellsListRow, TableError> {
        let [
            batchid,
            medicalid,
            imgname,
            p1n0,
            gray,
            size,
            data_type,
            mid,
            cache,
            cellpath,
            x1,
            y1,
            x2,
            y2,
            celltype,
        ] = self.needed;
        let text = |at: usize| record[at].to_owned();
        let number = |at: usize, column| integer(record, at, column);
        let narrow = |at: usize, column| narrowed::<u32>(record, at, column);
        let bbox = |[a, b, c, d]: [usize; 4]| {
            Ok(BBox::new(
                narrow(a, "x1")?,
                narrow(b, "y1")?,
                narrow(c, "x2")?,
                narrow(d, "y2")?,
            ))
        };

        let imgpath = self
            .imgpath
            .map(|at| relative_path(&record[at]).into_owned())
            .filter(|it| !it.is_empty());
        let (imgid, imgname) = match self.imgid {
            Some(at) => number_and_name(&record[at], &record[imgname], imgpath.as_deref()),
            None => (None, &record[imgname]),
        };
        let kernel = self
            .kernel
            .filter(|it| it.iter().any(|&at| !record[at].is_empty()));
        let duplicate = self
            .duplicate
            .map(|at| number(at, "duplicate"))
            .transpose()?;
        Ok(CellsListRow {
            batchid: text(batchid),
            medicalid: text(medicalid),
            imgid,
            imgname: imgname.to_owned(),
            imgpath,
            p1n0: narrowed(record, p1n0, "p1n0")?,
            gray: number(gray, "parameter_gray")? != 0,
            size: narrow(size, "parameter_size")?,
            data_type: DataType::try_from(narrowed::<u8>(record, data_type, "parameter_type")?)
                .map_err(|_| wrong(record, data_type, "parameter_type", "data type"))?,
            mid: number(mid, "parameter_mid")?,
            cache: number(cache, "parameter_cache")? != 0,
            cellpath: relative_path(&record[cellpath]).into_owned(),
            crop: bbox([x1, y1, x2, y2])?,
            celltype: narrow(celltype, "celltype")?,
            kernel: kernel.map(bbox).transpose()?,
            duplicate: duplicate.is_some_and(|it| it != 0),
        })
    }
}

/// Which of two values is the number of the image, and which its name?
fn number_and_name<'a>(
    imgid: &'a str,
    imgname: &'a str,
    imgpath: Option<&str>,
) -> (Option<u64>, &'a str) {
    let file = imgpath.and_then(|it| it.rsplit('/').next());
    let is_swapped = file == Some(imgid) && file != Some(imgname);
    match (imgid.parse().ok(), imgname.parse().ok()) {
        (None, Some(number)) => (Some(number), imgid),
        (Some(_), Some(number)) if is_swapped => (Some(number), imgid),
        (Some(number), _) => (Some(number), imgname),
        (None, None) if imgname.is_empty() => (None, imgid),
        (None, None) => (None, imgname),
    }
}

/// A whole number, also as pandas writes one in a column with gaps (`100.0`).
fn integer(record: &StringRecord, at: usize, column: &'static str) -> Result<u64, TableError> {
    let text = record[at].trim();
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole
        .parse()
        .map_err(|_| wrong(record, at, column, "whole number"))
}

fn narrowed<T: TryFrom<u64>>(
    record: &StringRecord,
    at: usize,
    column: &'static str,
) -> Result<T, TableError> {
    T::try_from(integer(record, at, column)?)
        .map_err(|_| wrong(record, at, column, "number of this size"))
}

fn wrong(record: &StringRecord, at: usize, column: &'static str, kind: &'static str) -> TableError {
    TableError::Field {
        line: line_of(record),
        column,
        text: shown(&record[at]),
        kind,
    }
}
