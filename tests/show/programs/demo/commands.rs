//! Trainings and predictions by command.

use anyhow::{Context as _, Result};
use cellmill_tests::show::Show;
use cellmill_tests::show::process::{Mill, Ran};

use crate::projects::Trained;

/// A training to ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrainWish<'a> {
    /// Directory of the data set.
    pub(crate) dataset: &'a str,
    /// Directory of the project.
    pub(crate) dir: &'a str,
    pub(crate) seed: u64,
    /// Fewer than `train` takes by itself.
    pub(crate) epochs: Option<u32>,
    /// Further arguments.
    pub(crate) more: &'a [&'a str],
}

impl TrainWish<'_> {
    /// Asks for it, and waits unless told otherwise.
    pub(crate) async fn run(&self, show: &Show, mill: &Mill) -> Result<Ran> {
        let (seed, epochs) = (self.seed.to_string(), self.epochs.map(|it| it.to_string()));
        let mut args = vec!["train", self.dataset, "--url", mill.url()];
        args.extend(["--dir", self.dir, "--seed", &seed]);
        if let Some(epochs) = &epochs {
            args.extend(["--epochs", epochs]);
        }
        args.extend(self.more);
        show.program.run(&args).await
    }

    /// Runs it to its end and reads what it left.
    pub(crate) async fn trained(&self, show: &Show, mill: &Mill) -> Result<Trained> {
        let what = format!("the training {}", self.dir);
        self.run(show, mill).await?.must_be_ok(&what)?;
        Trained::read(mill.root(), self.dir).context(what)
    }
}

/// Lets a model say what the cells of a data set are.
pub(crate) async fn predict(
    show: &Show,
    mill: &Mill,
    dataset: &str,
    mid: u64,
    dir: &str,
    more: &[&str],
) -> Result<Ran> {
    let mid = mid.to_string();
    let mut args = vec!["predict", dataset, "--url", mill.url()];
    args.extend(["--model", &mid, "--dir", dir]);
    args.extend(more);
    show.program.run(&args).await
}

/// Fewer epochs for a first look, else as many as `train` takes by itself.
pub(crate) fn epochs(show: &Show) -> Option<u32> {
    show.options.quick.then_some(3)
}
