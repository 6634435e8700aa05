//! What every scenario needs: the data, the programs, a place for roots.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::data::Folder;
use crate::process::{Mill, Program};

/// Photographs and points in, checked images, labels, cells and data sets out: seen from outside, in figures
///
/// Prints one JSON line for each figure. Ends with 1 when one falls short.
#[derive(Debug, clap::Parser)]
#[command(name = "tests/show/cells")]
pub(crate) struct Options {
    /// The data: folders with img/ and csv/ in the documented layout, and hostile/
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA, hide_default_value = true)]
    pub(crate) data: PathBuf,
    /// Only this scenario
    #[arg(long, value_name = "NAME", value_parser = crate::scenarios::NAMES)]
    pub(crate) only: Option<String>,
    /// Keep the roots, and say where they are
    #[arg(long)]
    pub(crate) keep: bool,
    /// Fewer kills and images: for a first look, not for figures to quote
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Beside the repository.
const DEFAULT_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");

/// What the scenarios share.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) options: Options,
    pub(crate) program: Program,
    place: TempDir,
}

impl Show {
    pub(crate) fn new(options: Options) -> Result<Self> {
        ensure!(
            options.data.is_dir(),
            "there is no data in {}",
            options.data.display()
        );
        let mut place = tempfile::Builder::new()
            .prefix("show-cells-")
            .tempdir()
            .context("make a place for roots")?;
        if options.keep {
            place.disable_cleanup(true);
            eprintln!("roots are kept in {}", place.path().display());
        }
        Ok(Self {
            program: Program::beside_this_one()?,
            options,
            place,
        })
    }

    /// A folder of this name that is not there yet.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A new folder.
    pub(crate) fn make_place(&self, name: &str) -> Result<PathBuf> {
        let path = self.place(name);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Gives the room back that a scenario took.
    pub(crate) fn clear(&self, path: &Path) -> Result<()> {
        if self.options.keep || !path.exists() {
            return Ok(());
        }
        std::fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
    }

    /// The folders of the data that can be imported, by name.
    pub(crate) fn folders(&self) -> Result<Vec<Folder>> {
        let folders = Folder::all_of(&self.options.data)?;
        ensure!(
            !folders.is_empty(),
            "no folder of {} has photographs in img/<batch>/<case>/Images/",
            self.options.data.display()
        );
        Ok(folders)
    }

    pub(crate) fn hostile(&self, file: &str) -> PathBuf {
        self.options.data.join("hostile").join(file)
    }

    /// Runs `cellmill import` to its end and reads its report.
    pub(crate) async fn import(&self, folder: &Path, mill: &Mill) -> Result<Value> {
        let folder = folder.to_string_lossy();
        let ran = self
            .program
            .run(&["import", &folder, "--url", mill.url(), "--json"])
            .await?;
        ran.json().context("import")
    }

    /// Makes a data set by command and waits until its job has ended.
    pub(crate) async fn make_dataset(&self, mill: &Mill, wish: &Wish<'_>) -> Result<Value> {
        let mut args = vec!["dataset", "create", "--url", mill.url(), "--json"];
        args.extend(["--type", wish.data_type, "--dir", wish.dir]);
        for batch in &wish.batches {
            args.extend(["--batch", batch]);
        }
        args.extend(wish.waits.then_some("--wait"));
        let ran = self.program.run(&args).await?;
        ran.json()
            .with_context(|| format!("make data set {}", wish.dir))
    }
}

/// A data set to make.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) dir: &'a str,
    /// `0`, `1` or `2`.
    pub(crate) data_type: &'a str,
    pub(crate) batches: Vec<&'a str>,
    pub(crate) waits: bool,
}

/// Asks again until there is an answer. Says what was waited for when there is none in time.
pub(crate) async fn wait_until<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > limit {
            bail!("waited {limit:?} in vain until {what}");
        }
        tokio::time::sleep(pause).await;
    }
}
