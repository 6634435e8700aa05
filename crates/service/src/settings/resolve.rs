//! From variables to settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use cellmill_core::timing::Timing;
use tracing_subscriber::filter::Targets;

use super::env::{self, Variable};
use super::parse::{GIB, KIB, Reader, SettingsError, bytes, number, offset, url};
use super::types::{CsvLimits, ImageLimits, LogFormat, LogSettings, Settings};

/// On S3 a stamp is a whole second and a request can take one: a shorter lease would end under a live worker.
const MIN_LEASE_ON_S3: Duration = Duration::from_secs(10);

impl Settings {
    /// Reads the variables of this process.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::resolve(&environment())
    }

    /// As [`from_env`](Self::from_env), for programs that can't do without some: those are missing like any other
    /// problem, all told at once.
    pub fn from_env_requiring(required: &[&Variable]) -> Result<Self, SettingsError> {
        Self::resolve_requiring(&environment(), required)
    }

    /// Reads the variables of `values` and checks them together. Names without our prefix are passed over.
    pub fn resolve(values: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        Self::resolve_requiring(values, &[])
    }

    fn resolve_requiring(
        values: &BTreeMap<String, String>,
        required: &[&Variable],
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(values);
        let settings = read(&mut reader);
        check(&settings, &mut reader);
        for variable in required {
            if values.get(variable.name).is_none_or(String::is_empty) {
                reader.refuse(variable, variable.form);
            }
        }
        reader.finish().map(|()| settings)
    }
}

pub(super) fn environment() -> BTreeMap<String, String> {
    // A variable that is no text is none of ours: all our values are text.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Default for Settings {
    fn default() -> Self {
        Self::resolve(&BTreeMap::new()).expect("a test reads every default")
    }
}

fn read(from: &mut Reader<'_>) -> Settings {
    Settings {
        store: from.read_optional(&env::STORE, url),
        queue: from.read_optional(&env::QUEUE, url),
        listen: from.read(&env::LISTEN, |it| it.parse::<SocketAddr>().ok()),
        health: from.read_optional(&env::HEALTH, loopback),
        timing: Timing::of_lease(from.read(&env::LEASE_S, seconds(5, 3600))),
        images: ImageLimits {
            max_bytes: from.read(&env::MAX_IMAGE_BYTES, bytes(KIB..=64 * GIB)),
            max_side: from.read(&env::MAX_IMAGE_SIDE, number(1..=1_000_000)),
            max_decoded_bytes: from.read(&env::MAX_DECODED_BYTES, bytes(KIB..=64 * GIB)),
            decode_budget_bytes: from.read(&env::DECODE_BUDGET_BYTES, bytes(KIB..=1024 * GIB)),
        },
        csv: CsvLimits {
            max_bytes: from.read(&env::MAX_CSV_BYTES, bytes(KIB..=64 * GIB)),
            max_rows: from.read(&env::MAX_CSV_ROWS, number(1..=100_000_000)),
        },
        images_per_unit: from.read(&env::IMAGES_PER_UNIT, number(1..=10_000)),
        window: from.read(&env::WINDOW, number(1..=10_000)),
        units_kept: from.read(&env::KEEP_UNITS_DAYS, days(1, 3650)),
        workers: from.read(&env::WORKERS, number(0..=1024)),
        threads: threads(from.read(&env::THREADS, number(0..=1024))),
        time_zone: from.read(&env::TIME_ZONE, offset),
        upload_ttl: from.read(&env::UPLOAD_TTL_S, seconds(10, 604_800)),
        legacy_workers: from.read(&env::LEGACY_WORKERS, on_or_off),
        log: LogSettings {
            filter: from.read(&env::LOG, filter),
            format: from.read(&env::LOG_FORMAT, log_format),
        },
    }
}

/// The rules between variables.
fn check(settings: &Settings, reader: &mut Reader<'_>) {
    let on_s3 = settings
        .store
        .as_ref()
        .is_some_and(|it| it.starts_with("s3://"));
    if on_s3 && settings.timing.lease() < MIN_LEASE_ON_S3 {
        reader.refuse(&env::LEASE_S, env::LEASE_S.form);
    }
    let images = &settings.images;
    if images.decode_budget_bytes < images.max_decoded_bytes {
        // The largest image would wait for ever.
        reader.refuse(
            &env::DECODE_BUDGET_BYTES,
            format!(
                "at least {} of {} bytes",
                env::MAX_DECODED_BYTES.name,
                images.max_decoded_bytes
            ),
        );
    }
    if settings.window <= 2 * settings.workers {
        // With fewer hints than that, workers idle while the next hints are sent.
        let expected = format!(
            "more than twice {}, which is {}",
            env::WORKERS.name,
            settings.workers
        );
        reader.refuse(&env::WINDOW, expected);
    }
}

fn seconds(least: u64, most: u64) -> impl Fn(&str) -> Option<Duration> {
    let read = number(least..=most);
    move |text| read(text).map(Duration::from_secs)
}

fn days(least: u64, most: u64) -> impl Fn(&str) -> Option<Duration> {
    let read = number(least..=most);
    move |text| read(text).map(|it| Duration::from_hours(24 * it))
}

fn loopback(text: &str) -> Option<SocketAddr> {
    text.parse()
        .ok()
        .filter(|it: &SocketAddr| it.ip().is_loopback())
}

fn threads(chosen: usize) -> usize {
    match chosen {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        n => n,
    }
}

fn filter(text: &str) -> Option<String> {
    text.parse::<Targets>().ok().map(|_| text.to_owned())
}

fn on_or_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use expect_test::{Expect, expect};

    use super::super::env::{PREFIX, VARIABLES};
    use super::*;

    fn resolve(values: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::resolve(&values.collect())
    }

    fn check_refused(values: &[(&str, &str)], want: &Expect) {
        want.assert_eq(&resolve(values).unwrap_err().to_string());
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        const MIB: u64 = 1024 * 1024;
        let settings = Settings::default();
        assert_eq!(settings.store, None);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8750");
        let images = ImageLimits {
            max_bytes: 256 * MIB,
            max_side: 30_000,
            max_decoded_bytes: 512 * MIB,
            decode_budget_bytes: 640 * MIB,
        };
        assert_eq!(settings.images, images);
        assert_eq!(
            settings.csv,
            CsvLimits {
                max_bytes: 64 * MIB,
                max_rows: 1_000_000
            }
        );
        assert_eq!(settings.upload_ttl, Duration::from_mins(15));
        assert_eq!(settings.units_kept, Duration::from_hours(30 * 24));
        assert!(settings.threads >= 1);
        assert_eq!(settings.timing, Timing::default());
    }

    #[test]
    fn a_lease_has_a_unit() {
        let timing = resolve(&[("CELLMILL_LEASE_S", "5")]).unwrap().timing;
        assert_eq!(timing.lease(), Duration::from_secs(5));
    }

    #[test]
    fn every_variable_is_read() {
        let other = [
            ("CELLMILL_STORE", "file:///data"),
            ("CELLMILL_QUEUE", "memory://"),
            ("CELLMILL_LISTEN", "[::1]:80"),
            ("CELLMILL_HEALTH", "127.0.0.1:1"),
            ("CELLMILL_LEASE_S", "100"),
            ("CELLMILL_MAX_IMAGE_BYTES", "1 GiB"),
            ("CELLMILL_MAX_IMAGE_SIDE", "5"),
            ("CELLMILL_MAX_DECODED_BYTES", "2 MiB"),
            ("CELLMILL_DECODE_BUDGET_BYTES", "1 GiB"),
            ("CELLMILL_MAX_CSV_BYTES", "1 GiB"),
            ("CELLMILL_MAX_CSV_ROWS", "7"),
            ("CELLMILL_IMAGES_PER_UNIT", "8"),
            ("CELLMILL_WINDOW", "9"),
            ("CELLMILL_KEEP_UNITS_DAYS", "7"),
            ("CELLMILL_WORKERS", "3"),
            ("CELLMILL_THREADS", "1011"),
            ("CELLMILL_TIME_ZONE", "+08:00"),
            ("CELLMILL_UPLOAD_TTL_S", "12"),
            ("CELLMILL_LEGACY_WORKERS", "on"),
            ("CELLMILL_LOG", "warn,cellmill_worker=debug"),
            ("CELLMILL_LOG_FORMAT", "json"),
        ];
        let tried: BTreeSet<_> = other.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            tried,
            VARIABLES.iter().map(|it| it.name).collect::<BTreeSet<_>>()
        );
        for one in other {
            assert_ne!(
                resolve(&[one]).unwrap(),
                Settings::default(),
                "{} changes nothing",
                one.0
            );
        }
        assert_eq!(resolve(&other).unwrap().workers, 3);
    }

    #[test]
    fn every_variable_is_ours_and_told() {
        for variable in VARIABLES {
            assert!(variable.name.starts_with(PREFIX));
            assert!(env::table().contains(&format!("| `{}` |", variable.name)));
        }
        let unset: BTreeSet<_> = VARIABLES
            .iter()
            .filter(|it| it.default.is_empty())
            .map(|it| it.name)
            .collect();
        assert_eq!(
            unset,
            ["CELLMILL_STORE", "CELLMILL_QUEUE", "CELLMILL_HEALTH"].into()
        );
    }

    #[test]
    fn an_empty_value_is_none_and_other_programs_are_not_our_business() {
        let given = resolve(&[
            ("CELLMILL_LEASE_S", ""),
            ("CELLMILL_TEST_X", "1"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(given.unwrap(), Settings::default());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        check_refused(
            &[
                ("CELLMILL_LEASE_S", "4"),
                ("CELLMILL_LEESE_S", "40"),
                ("CELLMILL_LISTEN", "localhost"),
                ("CELLMILL_LOG", "cellmill=loud"),
                ("CELLMILL_MAX_IMAGE_BYTES", "lots"),
                ("CELLMILL_STORE", "/data"),
                ("CELLMILL_TIME_ZONE", "Shanghai"),
            ],
            &expect![[r"
                the settings cannot be used
                  CELLMILL_LEESE_S is `40`, expected no variable of this name
                  CELLMILL_STORE is `/data`, expected a url such as `file:///folder` or `s3://bucket`
                  CELLMILL_LISTEN is `localhost`, expected an address and a port such as `127.0.0.1:8750`
                  CELLMILL_LEASE_S is `4`, expected seconds from 5 to 3600, from 10 on S3
                  CELLMILL_MAX_IMAGE_BYTES is `lots`, expected bytes from 1 KiB to 64 GiB, as `1048576` or `1 MiB`
                  CELLMILL_TIME_ZONE is `Shanghai`, expected an offset such as `+08:00`
                  CELLMILL_LOG is `cellmill=loud`, expected a filter such as `info` or `warn,cellmill_worker=debug`"]],
        );
    }

    #[test]
    fn what_a_program_needs_is_missed_with_every_other_problem() {
        let given = BTreeMap::from([("CELLMILL_LEASE_S".to_owned(), "4".to_owned())]);
        let required = [&env::STORE, &env::QUEUE];
        let told = Settings::resolve_requiring(&given, &required).unwrap_err();
        expect![[r"
            the settings cannot be used
              CELLMILL_LEASE_S is `4`, expected seconds from 5 to 3600, from 10 on S3
              CELLMILL_STORE is not set, expected a url such as `file:///folder` or `s3://bucket`
              CELLMILL_QUEUE is not set, expected a url such as `sqlite:///folder/file` or `sqs://prefix`"]]
        .assert_eq(&told.to_string());
    }

    #[test]
    fn values_that_do_not_go_together_are_refused() {
        check_refused(
            &[
                ("CELLMILL_MAX_DECODED_BYTES", "1 GiB"),
                ("CELLMILL_WORKERS", "32"),
                ("CELLMILL_LEASE_S", "9"),
                ("CELLMILL_STORE", "s3://cells"),
            ],
            &expect![[r"
                the settings cannot be used
                  CELLMILL_LEASE_S is `9`, expected seconds from 5 to 3600, from 10 on S3
                  CELLMILL_DECODE_BUDGET_BYTES is `640 MiB`, expected at least CELLMILL_MAX_DECODED_BYTES of 1073741824 bytes
                  CELLMILL_WINDOW is `64`, expected more than twice CELLMILL_WORKERS, which is 32"]],
        );
    }

    #[test]
    fn no_secret_of_a_value_is_told() {
        let error = resolve(&[("CELLMILL_STORES", "s3://key:secret@bucket")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn the_table_is_markdown() {
        let table = env::table();
        let row = "| `CELLMILL_LOG_FORMAT` | `text` | `text` or `json` | How it is logged, on stderr. |\n";
        assert!(table.ends_with(row), "{table}");
        assert_eq!(table.lines().count(), VARIABLES.len() + 2);
    }
}
