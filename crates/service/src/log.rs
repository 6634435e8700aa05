//! Logs: text for people, JSON for programs, both on stderr so that stdout stays for results.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::settings::{LogFormat, LogSettings};

/// Starts logging for the whole process. Says `false`, and changes nothing, when that happened before: tests
/// and programs that embed this one may have their own.
pub fn init(settings: &LogSettings) -> bool {
    let is_colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(settings, is_colored, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).is_ok()
}

fn subscriber<W>(
    settings: &LogSettings,
    is_colored: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The settings are checked; a hand-made filter with a mistake logs what is logged without one.
    let default = || Targets::new().with_default(tracing::Level::INFO);
    let filter: Targets = settings.filter.parse().unwrap_or_else(|_| default());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // A line that can't be written is lost. Left on, the complaint about it is printed to the same closed
        // stderr, which panics whatever task was logging: the one that waits for signals, for example.
        .log_internal_errors(false)
        .with_ansi(is_colored);
    let registry = tracing_subscriber::registry();
    match settings.format {
        LogFormat::Text => Box::new(registry.with(lines.with_filter(filter))),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            Box::new(registry.with(lines.with_filter(filter)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Standard error when its reader has gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The complaint about a lost line went to the real standard error; a child whose own is closed shows that
    /// nothing is printed there.
    #[test]
    fn a_log_that_nobody_reads_stops_nobody() {
        const CHILD: &str = "CELLMILL_TEST_CLOSED_LOG";
        if std::env::var_os(CHILD).is_some() {
            let settings = LogSettings {
                filter: "info".to_owned(),
                format: LogFormat::Text,
            };
            let subscriber = subscriber(&settings, false, || Closed);
            tracing::subscriber::with_default(subscriber, || tracing::info!("lost"));
            return;
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "log::tests::a_log_that_nobody_reads_stops_nobody",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let lines = Lines::default();
        let settings = LogSettings {
            filter: filter.to_owned(),
            format,
        };
        let writer = lines.clone();
        let subscriber = subscriber(&settings, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("unit", unit = "data-00003");
            span.in_scope(|| tracing::info!(n_cells = 12, "unit committed"));
            tracing::debug!("too detailed");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_one_line_with_its_fields_and_span() {
        let text = logged("info", LogFormat::Text);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("unit committed n_cells=12") && text.contains("data-00003"),
            "{text}"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged("debug", LogFormat::Json);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "unit committed");
        assert_eq!(lines[0]["n_cells"], 12);
        assert_eq!(lines[0]["span"]["unit"], "data-00003");
    }

    #[test]
    fn a_second_start_is_refused_quietly() {
        let settings = LogSettings {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        };
        init(&settings);
        assert!(!init(&settings));
    }
}
