//! The Lambda `assemble`: jobs that were submitted.

use std::process::ExitCode;
use std::sync::Arc;

use cellmill_core::messages::ASSEMBLE;
use cellmill_fn_assemble::Assemble;
use cellmill_lambda::{run, serve_each};

fn main() -> ExitCode {
    run(async |home| {
        let assemble = Assemble::new(home.store.clone(), Arc::clone(&home.queue), &home.settings);
        let handle = |body: String| {
            let assemble = &assemble;
            async move { assemble.handle(&body).await }
        };
        serve_each(&home, ASSEMBLE, 1, handle).await
    })
}
