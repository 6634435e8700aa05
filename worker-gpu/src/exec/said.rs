//! The lines that a program says on its standard output.

use serde::Deserialize;

/// One line, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    Progress {
        percent: f64,
        eta_s: Option<u64>,
        step: Option<String>,
    },
    Log(String),
    /// A file of the folder `checkpoints`, complete.
    Checkpoint {
        file: String,
        is_best: bool,
    },
    /// It goes on from the checkpoint that it got.
    Resumed,
    /// Of what it was asked to keep there is nothing yet.
    NothingToKeep,
    /// An input that it leaves out.
    Rejected {
        key: String,
        reason: String,
    },
    Error(Told),
}

/// An error that the program tells itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) error: String,
    /// No attempt can succeed.
    pub(super) permanent: bool,
}

#[derive(Deserialize)]
struct Raw {
    percent: Option<f64>,
    eta_s: Option<f64>,
    step: Option<String>,
    log: Option<String>,
    checkpoint: Option<String>,
    #[serde(default)]
    best: bool,
    resumed: Option<bool>,
    nothing: Option<bool>,
    rejected: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    #[serde(default)]
    permanent: bool,
}

/// Understands a line, or says why not. Keys that are not known are passed over, so that programs may say more.
pub(super) fn parse(line: &str) -> Result<Line, String> {
    let raw: Raw =
        serde_json::from_str(line).map_err(|error| format!("it is no message ({error})"))?;
    if let Some(error) = raw.error {
        let permanent = raw.permanent;
        return Ok(Line::Error(Told { error, permanent }));
    }
    if let Some(key) = raw.rejected {
        let reason = raw
            .reason
            .unwrap_or_else(|| "no reason was given".to_owned());
        return Ok(Line::Rejected { key, reason });
    }
    if let Some(file) = raw.checkpoint {
        let is_best = raw.best;
        return Ok(Line::Checkpoint { file, is_best });
    }
    if raw.resumed == Some(true) {
        return Ok(Line::Resumed);
    }
    if raw.nothing == Some(true) {
        return Ok(Line::NothingToKeep);
    }
    if let Some(percent) = raw.percent {
        let eta_s = raw.eta_s.filter(|it| *it >= 0.0).map(|it| it.ceil() as u64);
        return Ok(Line::Progress {
            percent,
            eta_s,
            step: raw.step,
        });
    }
    let none = || {
        "it has none of `percent`, `log`, `checkpoint`, `resumed`, `nothing`, `rejected`, `error`"
            .to_owned()
    };
    raw.log.map(Line::Log).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_other_lines() {
        assert_eq!(
            parse(r#"{"percent":40,"eta_s":119.2,"later":1}"#),
            Ok(Line::Progress {
                percent: 40.0,
                eta_s: Some(120),
                step: None
            })
        );
        assert_eq!(parse(r#"{"resumed":true}"#), Ok(Line::Resumed));
        assert_eq!(parse(r#"{"nothing":true}"#), Ok(Line::NothingToKeep));
        assert_eq!(parse(r#"{"log":"病"}"#), Ok(Line::Log("病".to_owned())));
        let told = Told {
            error: "no such class".to_owned(),
            permanent: true,
        };
        assert_eq!(
            parse(r#"{"error":"no such class","permanent":true}"#),
            Ok(Line::Error(told))
        );
        for bad in [
            "",
            "Epoch 1",
            "[1]",
            "{}",
            r#"{"percent":"40"}"#,
            r#"{"percent":1e999}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
