//! The list of variables.

use std::fmt::Write;

/// Names of settings start with this.
pub const PREFIX: &str = "CELLMILL_";

/// Names that start with this belong to tests and are never settings.
pub const TEST_PREFIX: &str = "CELLMILL_TEST_";

/// The address of the server that commands ask. The command line reads it; it is no setting of a server.
pub const ENDPOINT: &str = "CELLMILL_ENDPOINT";

/// One variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds when it is unset or empty, in the form that is read; empty: nothing.
    pub default: &'static str,
    /// What it must look like, with the unit and the limits.
    pub form: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
}

/// Declares each variable as a constant and all of them as `VARIABLES`, so that none can be forgotten.
macro_rules! variables {
    ($($constant:ident: $default:literal, $form:literal, $doc:literal;)+) => {
        $(
            #[doc = $doc]
            pub const $constant: Variable = Variable {
                name: concat!("CELLMILL_", stringify!($constant)),
                default: $default,
                form: $form,
                doc: $doc,
            };
        )+

        /// Every variable, in the order of the README.
        pub const VARIABLES: &[Variable] = &[$($constant),+];
    };
}

variables! {
    STORE:
        "",
        "a url such as `file:///folder` or `s3://bucket`",
        "Where everything is kept; unset: what the command line names.";
    QUEUE:
        "",
        "a url such as `sqlite:///folder/file` or `sqs://prefix`",
        "Where hints are kept; unset: a file inside the store's folder.";
    LISTEN:
        "127.0.0.1:8750",
        "an address and a port such as `127.0.0.1:8750`",
        "Where the page and the api answer.";
    HEALTH:
        "",
        "an address of this machine and a port such as `127.0.0.1:8751`",
        "Where a worker tells whether it is at work, `GET /health`, and its figures, `GET /metrics`; unset: nowhere.";
    LEASE_S:
        "50",
        "seconds from 5 to 3600, from 10 on S3",
        "How long a silent worker keeps its unit; heartbeat, self-stop and sweep scale with it.";
    MAX_IMAGE_BYTES:
        "256 MiB",
        "bytes from 1 KiB to 64 GiB, as `1048576` or `1 MiB`",
        "The largest image file.";
    MAX_IMAGE_SIDE:
        "30000",
        "pixels from 1 to 1000000",
        "The longest side of an image.";
    MAX_DECODED_BYTES:
        "512 MiB",
        "bytes from 1 KiB to 64 GiB, as `1048576` or `1 MiB`",
        "The largest image once decoded: width x height x channels x bytes.";
    DECODE_BUDGET_BYTES:
        "640 MiB",
        "bytes from 1 KiB to 1024 GiB, as `1048576` or `1 MiB`",
        "What all decoded images of one process may take together; more wait.";
    MAX_CSV_BYTES:
        "64 MiB",
        "bytes from 1 KiB to 64 GiB, as `1048576` or `1 MiB`",
        "The largest CSV of points.";
    MAX_CSV_ROWS:
        "1000000",
        "rows from 1 to 100000000",
        "The most rows of one CSV.";
    IMAGES_PER_UNIT:
        "32",
        "images from 1 to 10000",
        "How many images one unit of a data job takes: about 2 minutes of work.";
    WINDOW:
        "64",
        "units from 1 to 10000, more than twice the workers",
        "How many units of one job have hints out at a time.";
    KEEP_UNITS_DAYS:
        "30",
        "days from 1 to 3650",
        "How long a job keeps what its units left beside the result (records, logs, checkpoints) after it ended.";
    WORKERS:
        "1",
        "workers from 0 to 1024",
        "How many workers run inside this process; 0: only those beside it.";
    THREADS:
        "0",
        "threads from 0 to 1024",
        "How many threads decode and crop; 0: one for each core.";
    TIME_ZONE:
        "+00:00",
        "an offset such as `+08:00`",
        "The time zone whose midnight is in the names of batches and cases.";
    UPLOAD_TTL_S:
        "900",
        "seconds from 10 to 604800",
        "How long a signed upload address works.";
    LEGACY_WORKERS:
        "off",
        "`on` or `off`",
        "Whether programs of this machine may take jobs through `/api1/job`, as the predecessor's workers do.";
    LOG:
        "info",
        "a filter such as `info` or `warn,cellmill_worker=debug`",
        "What is logged.";
    LOG_FORMAT:
        "text",
        "`text` or `json`",
        "How it is logged, on stderr.";
}

/// The variables as a Markdown table, as it stands in the README.
pub fn table() -> String {
    let mut table =
        String::from("| variable | default | form | what it does |\n|---|---|---|---|\n");
    for Variable {
        name,
        default,
        form,
        doc,
    } in VARIABLES
    {
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        writeln!(table, "| `{name}` | {default} | {form} | {doc} |")
            .expect("a string takes all text");
    }
    table
}
