//! The Lambda `label`: doctors' points that were created.

use std::process::ExitCode;

use cellmill_core::messages::POINTS;
use cellmill_fn_label::Label;
use cellmill_lambda::{run, serve_each};

/// Small reads and writes: the wait for storage is what costs.
const AT_ONCE: usize = 10;

fn main() -> ExitCode {
    run(async |home| {
        let label = Label::of_settings(home.store.clone(), &home.settings);
        let handle = |body: String| {
            let label = &label;
            async move { label.handle(&body).await }
        };
        serve_each(&home, POINTS, AT_ONCE, handle).await
    })
}
