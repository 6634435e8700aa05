//! `projects/<dir>/{train,test,predict}_labels.csv`.

use csv::QuoteStyle;

use super::table::{TableError, append, line_of, need};

/// One file of a training or prediction, and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRow {
    /// `<class>/<cell name>.png`
    pub file: String,
    pub label: u32,
}

/// The whole table: every field quoted, `File Name,Label` first.
pub fn write_labels<'a>(rows: impl IntoIterator<Item = &'a LabelRow>) -> Vec<u8> {
    let mut out = Vec::new();
    let header = ["File Name".to_owned(), "Label".to_owned()];
    let rows = rows
        .into_iter()
        .map(|it| [it.file.clone(), it.label.to_string()]);
    append(
        &mut out,
        QuoteStyle::Always,
        std::iter::once(header).chain(rows),
    );
    out
}

/// Reads the table in any quoting.
pub fn read_labels(bytes: &[u8]) -> Result<Vec<LabelRow>, TableError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(TableError::Csv)?;
    let (file, label) = (need(header, "File Name")?, need(header, "Label")?);
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(TableError::Csv)?;
        let text = &record[label];
        let wrong = || TableError::Field {
            line: line_of(&record),
            column: "Label",
            text: crate::ids::shown(text),
            kind: "class",
        };
        Ok(LabelRow {
            file: record[file].to_owned(),
            label: text.trim().parse().map_err(|_| wrong())?,
        })
    };
    reader.records().map(row).collect()
}
