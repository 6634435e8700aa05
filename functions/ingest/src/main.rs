//! The Lambda `ingest`: images that were created.

use std::process::ExitCode;
use std::sync::Arc;

use cellmill_core::messages::UPLOADS;
use cellmill_fn_ingest::Ingest;
use cellmill_lambda::{run, serve_each};
use cellmill_vision::DecodeBudget;

fn main() -> ExitCode {
    run(async |home| {
        let settings = &home.settings;
        let budget = DecodeBudget::new(settings.images.decode_budget_bytes);
        let ingest = Ingest::new(
            home.store.clone(),
            Arc::clone(&home.queue),
            settings,
            budget,
        );
        let handle = |body: String| {
            let ingest = &ingest;
            async move { ingest.handle(&body).await }
        };
        serve_each(&home, UPLOADS, settings.threads, handle).await
    })
}
