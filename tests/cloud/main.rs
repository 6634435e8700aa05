//! The AWS home against a real S3 and SQS server: an emulator on this machine, never AWS itself.
//!
//! `tests/cloud/run` starts the emulator and this program. The address is taken from `AWS_ENDPOINT_URL`, as every
//! program of Cellmill takes it.

#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

mod flow;
mod queue;
mod store;
mod uploads;
mod versions;

/// Refuses to run against anything but this machine.
fn check_endpoint() {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    assert!(
        endpoint.starts_with("http://127.0.0.1:"),
        "AWS_ENDPOINT_URL is `{endpoint}`: these tests talk to an emulator on 127.0.0.1, start them by tests/cloud/run"
    );
}

/// A name that no other test and no other run has.
fn fresh_name(stem: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970")
        .as_millis();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{ms}-{}-{count}", std::process::id())
}
