//! The log of one unit, in the form that the lab's tools read.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

/// Enough for a line per image of the largest unit, and little beside the images.
const MAX_BYTES: usize = 1 << 20;

/// How bad a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Lines of `2019-11-02 16:34:43,912 - INFO - text` (FORMATS A.1), held until the unit ends.
#[derive(Debug, Default)]
pub(crate) struct UnitLog {
    text: String,
    n_left_out: u64,
}

impl UnitLog {
    /// Appends a line. Line breaks in `text` become blanks, so that a line stays one.
    pub(crate) fn push(&mut self, now: DateTime<Utc>, level: Level, text: &str) {
        if self.text.len() + text.len() > MAX_BYTES {
            self.n_left_out += 1;
            return;
        }
        self.write(now, level, &text.replace(['\n', '\r'], " "));
    }

    /// The whole log, `now` for the remark on lines that did not fit.
    pub(crate) fn finish(mut self, now: DateTime<Utc>) -> String {
        if self.n_left_out > 0 {
            let remark = format!(
                "{} more lines did not fit into {MAX_BYTES} bytes",
                self.n_left_out
            );
            self.write(now, Level::Warning, &remark);
        }
        self.text
    }

    fn write(&mut self, now: DateTime<Utc>, level: Level, text: &str) {
        let stamp = now.format("%Y-%m-%d %H:%M:%S,%3f");
        writeln!(self.text, "{stamp} - {} - {text}", level.as_str())
            .expect("a string takes any text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2019-11-02T16:34:43.912Z".parse().unwrap()
    }

    #[test]
    fn lines_have_the_form_of_the_predecessor() {
        let mut log = UnitLog::default();
        log.push(now(), Level::Info, "step 1");
        log.push(now(), Level::Warning, "two\nlines");
        assert_eq!(
            log.finish(now()),
            "2019-11-02 16:34:43,912 - INFO - step 1\n2019-11-02 16:34:43,912 - WARNING - two lines\n"
        );
    }

    #[test]
    fn a_log_says_what_did_not_fit() {
        let mut log = UnitLog::default();
        let long = "x".repeat(MAX_BYTES / 2);
        for _ in 0..4 {
            log.push(now(), Level::Error, &long);
        }
        let text = log.finish(now());
        assert!(text.len() < MAX_BYTES + 200);
        assert!(
            text.ends_with("WARNING - 3 more lines did not fit into 1048576 bytes\n"),
            "{}",
            &text[text.len() - 100..]
        );
    }
}
