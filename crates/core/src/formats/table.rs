//! What the CSV tables have in common.

use csv::{QuoteStyle, StringRecord, WriterBuilder};

/// Why a row of a table can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the table is no CSV")]
    Csv(#[source] csv::Error),
    #[error("the table has no column `{column}`")]
    MissingColumn { column: &'static str },
    #[error("line {line}: `{text}` in column `{column}` is no {kind}")]
    Field {
        line: u64,
        column: &'static str,
        text: String,
        kind: &'static str,
    },
    #[error("line {line} has {n_fields} fields, {wanted} are needed")]
    FieldCount {
        line: u64,
        n_fields: usize,
        wanted: usize,
    },
}

/// Appends rows to a table. Lines end in `\n`.
pub(super) fn append<const N: usize>(
    out: &mut Vec<u8>,
    quotes: QuoteStyle,
    rows: impl IntoIterator<Item = [String; N]>,
) {
    let mut writer = WriterBuilder::new().quote_style(quotes).from_writer(out);
    for row in rows {
        writer
            .write_record(&row)
            .expect("a vector takes any number of bytes, and all rows have one length");
    }
    writer.flush().expect("a vector takes any number of bytes");
}

/// Where a column stands.
pub(super) fn find(header: &StringRecord, name: &str) -> Option<usize> {
    header.iter().position(|it| it.trim() == name)
}

/// Where a column stands that must be there.
pub(super) fn need(header: &StringRecord, name: &'static str) -> Result<usize, TableError> {
    find(header, name).ok_or(TableError::MissingColumn { column: name })
}

/// The line a record begins on, from 1.
pub(super) fn line_of(record: &StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}
