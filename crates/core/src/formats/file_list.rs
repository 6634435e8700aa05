//! `datasets/<dir>/filelist.csv`: the images of a data set and their CSVs.

use csv::{QuoteStyle, StringRecord};

use super::paths::relative_path;
use super::table::{TableError, append, find, line_of, need};
use crate::ids::shown;

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileListRow {
    /// `None` in lists before November 2019.
    pub imgid: Option<u64>,
    /// The image's key.
    pub imgpath: String,
    /// The key of its CSV; empty when it has none.
    pub csvpath: String,
    /// Always 0: the predecessor never filled it in.
    pub p1n0: u8,
    pub batchid: String,
    pub medicalid: String,
    pub imgname: String,
}

const HEADER: [&str; 7] = [
    "imgid",
    "imgpath",
    "csvpath",
    "p1n0",
    "batchid",
    "medicalid",
    "imgname",
];

/// The whole table, as Go writes it: quotes where they are needed.
pub fn write_file_list<'a>(rows: impl IntoIterator<Item = &'a FileListRow>) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = |row: &FileListRow| {
        let FileListRow {
            imgid,
            imgpath,
            csvpath,
            p1n0,
            batchid,
            medicalid,
            imgname,
        } = row.clone();
        let imgid = imgid.map_or_else(String::new, |it| it.to_string());
        [
            imgid,
            imgpath,
            csvpath,
            p1n0.to_string(),
            batchid,
            medicalid,
            imgname,
        ]
    };
    append(
        &mut out,
        QuoteStyle::Necessary,
        std::iter::once(HEADER.map(str::to_owned)),
    );
    append(
        &mut out,
        QuoteStyle::Necessary,
        rows.into_iter().map(fields),
    );
    out
}

/// Reads the table of any time: with `imgid`, without it (October 2019), and the one before, which had no header and
/// three columns between blanks (`imgpath csvpath topath`).
pub fn read_file_list(bytes: &[u8]) -> Result<Vec<FileListRow>, TableError> {
    let first_line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let names_columns = first_line
        .split(|b| *b == b',')
        .any(|it| it.trim_ascii() == b"imgpath");
    if names_columns || first_line.contains(&b',') {
        read_named(bytes)
    } else {
        read_unnamed(bytes)
    }
}

fn read_named(bytes: &[u8]) -> Result<Vec<FileListRow>, TableError> {
    let mut reader = csv::Reader::from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let header = reader.headers().map_err(TableError::Csv)?.clone();
    let imgid = find(&header, "imgid");
    let [imgpath, csvpath, p1n0, batchid, medicalid, imgname] = [
        need(&header, "imgpath")?,
        need(&header, "csvpath")?,
        need(&header, "p1n0")?,
        need(&header, "batchid")?,
        need(&header, "medicalid")?,
        need(&header, "imgname")?,
    ];
    let row = |record: Result<StringRecord, csv::Error>| {
        let record = record.map_err(TableError::Csv)?;
        let wrong = |column, text: &str, kind| TableError::Field {
            line: line_of(&record),
            column,
            text: shown(text),
            kind,
        };
        let number = imgid.map(|at| &record[at]).filter(|it| !it.is_empty());
        let imgid = number
            .map(|it| it.parse().map_err(|_| wrong("imgid", it, "number")))
            .transpose()?;
        Ok(FileListRow {
            imgid,
            imgpath: relative_path(&record[imgpath]).into_owned(),
            csvpath: relative_path(&record[csvpath]).into_owned(),
            p1n0: record[p1n0]
                .parse()
                .map_err(|_| wrong("p1n0", &record[p1n0], "0 or 1"))?,
            batchid: record[batchid].to_owned(),
            medicalid: record[medicalid].to_owned(),
            imgname: record[imgname].to_owned(),
        })
    };
    reader.records().map(row).collect()
}

/// Batch, case and name are taken from the image's path.
fn read_unnamed(bytes: &[u8]) -> Result<Vec<FileListRow>, TableError> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, it)| !it.trim().is_empty());
    let row = |(at, line): (usize, &str)| {
        let (line_number, fields) = (at as u64 + 1, line.split_whitespace().collect::<Vec<_>>());
        let [imgpath, csvpath, _] = fields[..] else {
            return Err(TableError::FieldCount {
                line: line_number,
                n_fields: fields.len(),
                wanted: 3,
            });
        };
        let imgpath = relative_path(imgpath).into_owned();
        let parts: Vec<&str> = imgpath.rsplit('/').collect();
        let part = |at: usize| {
            parts
                .get(at)
                .map_or_else(String::new, |it| (*it).to_owned())
        };
        let (imgname, medicalid, batchid) = (part(0), part(2), part(3));
        let csvpath = relative_path(csvpath).into_owned();
        Ok(FileListRow {
            imgid: None,
            imgpath,
            csvpath,
            p1n0: 0,
            batchid,
            medicalid,
            imgname,
        })
    };
    lines.map(row).collect()
}
