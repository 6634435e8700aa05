//! What every scenario needs: the data, the programs, a place for roots.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::data::Folder;
use super::process::{Mill, Program};

/// What every show can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowOptions {
    /// The data [default: shared/data beside the repository]
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA, hide_default_value = true)]
    pub data: PathBuf,
    /// Keep the roots, and say where they are
    #[arg(long)]
    pub keep: bool,
    /// Less of everything: for a first look, not for figures to quote
    #[arg(long)]
    pub quick: bool,
}

/// Beside the repository.
const DEFAULT_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");

/// What the scenarios share.
#[derive(Debug)]
pub struct Show {
    pub options: ShowOptions,
    pub program: Program,
    place: TempDir,
}

impl Show {
    /// `name` tells the roots of this show from those of another.
    pub fn new(name: &str, options: ShowOptions) -> Result<Self> {
        ensure!(
            options.data.is_dir(),
            "there is no data in {}",
            options.data.display()
        );
        let mut place = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir()
            .context("make a place for roots")?;
        if options.keep {
            place.disable_cleanup(true);
            say(format_args!("roots are kept in {}", place.path().display()));
        }
        Ok(Self {
            program: Program::beside_this_one()?,
            options,
            place,
        })
    }

    /// A folder of this name that is not there yet.
    pub fn place(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A new folder.
    pub fn make_place(&self, name: &str) -> Result<PathBuf> {
        let path = self.place(name);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Gives the room back that a scenario took.
    pub fn clear(&self, path: &Path) -> Result<()> {
        if self.options.keep || !path.exists() {
            return Ok(());
        }
        std::fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
    }

    /// The folders of the data that can be imported, by name.
    pub fn folders(&self) -> Result<Vec<Folder>> {
        let folders = Folder::all_of(&self.options.data)?;
        ensure!(
            !folders.is_empty(),
            "no folder of {} has photographs in img/<batch>/<case>/Images/",
            self.options.data.display()
        );
        Ok(folders)
    }

    pub fn hostile(&self, file: &str) -> PathBuf {
        self.options.data.join("hostile").join(file)
    }

    /// Photographs that `cellmill synth` makes in a new folder.
    pub async fn synthetic(&self, to: &Path, more: &[&str]) -> Result<Folder> {
        let text = to.to_string_lossy();
        let args = [&["synth", &text], more].concat();
        self.program.run(&args).await?.must_be_ok("synth")?;
        Folder::read(to)
    }

    /// Runs `cellmill import` to its end and reads its report.
    pub async fn import(&self, folder: &Path, mill: &Mill) -> Result<Value> {
        let folder = folder.to_string_lossy();
        let ran = self
            .program
            .run(&["import", &folder, "--url", mill.url(), "--json"])
            .await?;
        ran.json().context("import")
    }

    /// Makes a data set by command and waits until its job has ended.
    pub async fn make_dataset(&self, mill: &Mill, wish: &Wish<'_>) -> Result<Value> {
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

    /// Does `cellmill verify` find nothing? What it finds is told on stderr.
    pub async fn is_verified(&self, root: &Path) -> Result<bool> {
        let root = root.to_string_lossy();
        let ran = self
            .program
            .run(&["verify", "--root", &root, "--json"])
            .await?;
        if ran.code != Some(0) {
            say(format_args!("{:#}", ran.json()?));
        }
        Ok(ran.code == Some(0))
    }
}

/// A data set to make.
#[derive(Debug)]
pub struct Wish<'a> {
    pub dir: &'a str,
    /// `0`, `1`, `2` or `3`.
    pub data_type: &'a str,
    pub batches: Vec<&'a str>,
    pub waits: bool,
}

/// Progress goes to stderr.
#[expect(clippy::print_stderr, reason = "how a show tells its progress")]
pub fn say(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
