//! Trainings and predictions by command.

use crate::show::Show;
use crate::show::process::{Mill, Ran};
use anyhow::{Context as _, Result};

use super::projects::Trained;

/// A training to ask for.
#[derive(Clone, Debug, Default)]
pub struct TrainWish<'a> {
    /// Directory of the data set.
    pub dataset: &'a str,
    /// Directory of the project.
    pub dir: &'a str,
    pub seed: u64,
    /// Fewer than `train` takes by itself.
    pub epochs: Option<u32>,
    /// Further arguments.
    pub more: &'a [&'a str],
}

impl TrainWish<'_> {
    /// Asks for it, and waits unless told otherwise.
    pub async fn run(&self, show: &Show, mill: &Mill) -> Result<Ran> {
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
    pub async fn trained(&self, show: &Show, mill: &Mill) -> Result<Trained> {
        let what = format!("the training {}", self.dir);
        self.run(show, mill).await?.must_be_ok(&what)?;
        Trained::read(mill.root(), self.dir).context(what)
    }
}

/// Lets a model say what the cells of a data set are.
pub async fn predict(
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
pub fn epochs(show: &Show) -> Option<u32> {
    show.options.quick.then_some(3)
}
