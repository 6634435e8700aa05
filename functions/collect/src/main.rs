//! The Lambda `collect`: units that ended.

use std::process::ExitCode;
use std::sync::Arc;

use cellmill_core::messages::COLLECT;
use cellmill_fn_collect::Collect;
use cellmill_lambda::{run, serve_batches};

fn main() -> ExitCode {
    run(async |home| {
        let collect = Collect::new(home.store.clone(), Arc::clone(&home.queue), &home.settings);
        let handle = |bodies: Vec<String>| {
            let collect = &collect;
            async move { collect.handle(&bodies).await }
        };
        serve_batches(&home, COLLECT, handle).await
    })
}
