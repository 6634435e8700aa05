//! What the scenarios share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cellmill_tests::aws::{Stack, StackWish, Worker};
use cellmill_tests::show::Show;

/// The show and what it was told.
#[derive(Clone, Debug)]
pub(crate) struct Lab<'a> {
    pub(crate) show: &'a Show,
    /// Objects of the scenario `pump`: images and CSVs.
    pub(crate) n_objects: u32,
    /// Units of the scenario `scaling`.
    pub(crate) n_units: u32,
    pub(crate) port: Option<u16>,
    pub(crate) lambdas: PathBuf,
    pub(crate) state: PathBuf,
}

impl Lab<'_> {
    /// A new stack.
    pub(crate) async fn stack(&self) -> Result<Stack> {
        Stack::up(self.wish(false)).await
    }

    /// A new stack behind a proxy.
    pub(crate) async fn proxied_stack(&self) -> Result<Stack> {
        Stack::up(self.wish(true)).await
    }

    fn wish(&self, is_proxied: bool) -> StackWish {
        StackWish {
            port: self.port,
            state: self.state.clone(),
            lambdas: self.lambdas.clone(),
            is_proxied,
        }
    }

    /// A worker of a stack; its log lies in `place`.
    pub(crate) async fn worker(&self, stack: &Stack, name: &str, place: &Path) -> Result<Worker> {
        let log = place.join(format!("{name}.log"));
        Worker::start(stack, name, &[], &log).await
    }
}
