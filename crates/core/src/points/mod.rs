//! Doctors' points: one CSV per image and date, read row by row (FORMATS A.7).

mod outcome;
mod read;
#[cfg(test)]
mod tests;

pub use outcome::{CsvRefusal, PointRow, Points, RejectedRow, RowCode, Verdict};
pub use read::{CsvLimits, parse};

use std::borrow::Cow;

/// A text as a cell of an exported table, where a spreadsheet must not take it for a formula.
///
/// Spreadsheets run what begins with `=`, `+`, `-`, `@`, a tab or a line break, full-width forms included, also after
/// blanks. Such a text gets a `'` in front, which they show as text. Use it for texts that people typed, not for numbers.
///
/// ```
/// use cellmill_core::points::neutralise;
/// assert_eq!(neutralise("=HYPERLINK(\"x\")"), "'=HYPERLINK(\"x\")");
/// assert_eq!(neutralise("WBC"), "WBC");
/// ```
pub fn neutralise(text: &str) -> Cow<'_, str> {
    let dangerous = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
        )
    };
    let first = text
        .trim_start_matches([' ', '\u{a0}', '\u{3000}'])
        .chars()
        .next();
    if first.is_some_and(dangerous) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
