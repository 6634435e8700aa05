//! Tables for people.

use chrono::{DateTime, SecondsFormat, Utc};
use tabled::builder::Builder;
use tabled::settings::Style;

/// Rows under a head, aligned, without lines between rows.
#[derive(Debug)]
pub(crate) struct Table {
    builder: Builder,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        let mut builder = Builder::default();
        builder.push_record(head);
        Self { builder }
    }

    /// A table whose number of columns is known only when it is shown.
    pub(crate) fn with_head(head: impl IntoIterator<Item = String>) -> Self {
        let mut table = Self::of_pairs();
        table.row_of(head);
        table
    }

    /// Names and values, without a head.
    pub(crate) fn of_pairs() -> Self {
        Self {
            builder: Builder::default(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.row_of(cells);
    }

    pub(crate) fn row_of(&mut self, cells: impl IntoIterator<Item = String>) {
        // A control character of a foreign name must not move the cursor of a terminal.
        let cells = cells.into_iter().map(|it| printable(&it));
        self.builder.push_record(cells);
    }

    pub(crate) fn render(self) -> String {
        let mut table = self.builder.build();
        table.with(Style::blank());
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n")
    }
}

/// Shows control characters escaped; only the colours that [`super::Console::paint`] writes pass.
fn printable(text: &str) -> String {
    const COLOURS: [&str; 4] = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"];
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c.is_control() && !COLOURS.iter().any(|it| text[at..].starts_with(it)) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Bytes for people: `12.3 MB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A moment for people, to the second.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Seconds for people: `45 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn seconds(n: u64) -> String {
    match n {
        0..60 => format!("{n} s"),
        60..3600 => format!("{} min {:02} s", n / 60, n % 60),
        _ => format!("{} h {:02} min", n / 3600, n % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_say_them() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(12_345_678), "12.3 MB");
        assert_eq!(seconds(59), "59 s");
        assert_eq!(seconds(185), "3 min 05 s");
        assert_eq!(seconds(7_800), "2 h 10 min");
    }

    #[test]
    fn a_foreign_name_cannot_move_the_cursor() {
        let mut table = Table::new(["name"]);
        table.row(["a\rb\u{1b}[2J".to_owned()]);
        assert!(table.render().contains("a\\rb\\u{1b}[2J"));
    }
}
