//! Where commands write: results to standard output, everything else to standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use super::Error;

/// The two outputs of the program and how they are to be used.
pub struct Console {
    out: Box<dyn Write + Send + Sync>,
    /// One JSON value per answer instead of tables.
    json: bool,
    /// Standard output is a terminal that shows colours.
    colour: bool,
    /// Standard error is a terminal: progress may be drawn there.
    progress: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Busy,
    Bad,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("json", &self.json)
            .field("colour", &self.colour)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// The outputs of this process. `NO_COLOR` is honoured.
    pub fn of_process(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self {
            out: Box::new(io::stdout()),
            json,
            colour: !json && !plain && io::stdout().is_terminal(),
            progress: !json && io::stderr().is_terminal(),
        }
    }

    /// Results go to `out`, without colours and progress.
    pub fn captured(json: bool, out: Box<dyn Write + Send + Sync>) -> Self {
        Self {
            out,
            json,
            colour: false,
            progress: false,
        }
    }

    pub const fn is_json(&self) -> bool {
        self.json
    }

    pub const fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Writes one line of the result.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.out, "{text}").map_err(Error::Output)
    }

    /// Writes text that ends its own lines, such as a log.
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        let written = self.out.write_all(text.as_bytes());
        written
            .and_then(|()| self.out.flush())
            .map_err(Error::Output)
    }

    /// Writes one JSON value, on one line.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Output(error.into()))?;
        self.line(text)
    }

    /// Writes the value as JSON, or lets `human` write it for a person.
    pub fn answer<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.json {
            self.json(value)
        } else {
            human(self, value)
        }
    }

    /// Says something beside the result, on standard error.
    pub fn note(&self, text: impl fmt::Display) {
        // A standard error that is closed leaves nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Reports an error with the chain of what caused it, once.
    pub fn complain(&self, error: &dyn std::error::Error, hint: Option<&str>) {
        self.note(format_args!("error: {error}"));
        let mut source = error.source();
        while let Some(cause) = source {
            self.note(format_args!("  because: {cause}"));
            source = cause.source();
        }
        if let Some(hint) = hint {
            self.note(format_args!("  hint: {hint}"));
        }
    }

    /// The text in the colour of its tone, where colours are shown.
    pub fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Busy => 33,
            Tone::Bad => 31,
            Tone::Plain => return text.to_string(),
        };
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}
