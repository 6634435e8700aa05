//! `kill -9` of `up` while each stage works: afterwards everything finishes, as if nothing had happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::data::{Folder, copy_tree, files_below};
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::files::state_of;
use cellmill_tests::show::place::{Show, Wish};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::tree::{RUN_FIELDS, Tree};
use cellmill_tests::show::wait::{no_job_is_open, wait_until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const LIMIT: Duration = Duration::from_mins(3);
/// A unit of a killed worker is free again soon.
const SETTINGS: [(&str, &str); 1] = [("CELLMILL_LEASE_S", "5")];
/// The moments of the kills follow from it.
const SEED: u64 = 20_190_523;
/// A stage shorter than this is over before a kill at a wanted moment gets through: then the data is doubled.
const SHORTEST: Duration = Duration::from_millis(20);
const MAX_COPIES: usize = 4;
/// Detections: long to cut.
const CROP: &str = "Crop";
/// Points: quick to cut, as many rows to collect.
const COLLECT: &str = "Collect";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ingest,
    Label,
    Crop,
    Collect,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Ingest, Self::Label, Self::Crop, Self::Collect];

    const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Label => "label",
            Self::Crop => "crop",
            Self::Collect => "collect",
        }
    }
}

/// How far a stage is, read from the files, so that looking costs `up` nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NotBegun,
    Working,
    Ended,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let (material, calm) = undisturbed(show, figures).await?;
    let wanted: usize = if show.options.quick { 2 } else { 10 };
    let mut moments = StdRng::seed_from_u64(SEED);
    let mut hits = [0_usize; 4];
    let mut durations = calm.durations;
    let (mut n_passes, mut n_same) = (0, 0);
    // A kill that came too late is no kill; the pass is compared all the same, and another one is made.
    while hits.iter().any(|it| *it < wanted) && n_passes < 2 * wanted {
        n_passes += 1;
        let root = show.make_place("kill")?.join(format!("pass-{n_passes}"));
        let moments: [f64; 4] = std::array::from_fn(|_| moments.random());
        let pass = material
            .pass(show, &root, Some((&moments, &durations)))
            .await?;
        for (i, hit) in pass.hits.into_iter().enumerate() {
            hits[i] += usize::from(hit);
            if !hit {
                // It was over by then: the stage lasts no longer than that on this machine, now.
                durations[i] = durations[i].mul_f64(moments[i]);
            }
        }
        let differences = calm.tree.differences(&pass.tree);
        n_same += usize::from(differences.is_empty());
        eprintln!(
            "  pass {n_passes}: {:?}, {} files differ",
            pass.hits,
            differences.len()
        );
        for it in differences.iter().take(10) {
            eprintln!("    {it}");
        }
        show.clear(&root)?;
    }
    for (stage, hits) in Stage::ALL.iter().zip(hits) {
        let name = format!("kill.{}.while_working", stage.name());
        figures.at_least(&name, hits as f64, "kills", wanted as f64);
    }
    figures.exactly(
        "kill.same_as_undisturbed",
        n_same,
        "runs of 4 kills",
        n_passes,
    );
    figures.told("kill.compared_files", calm.tree.n_files() as f64, "files");
    figures.told(
        "kill.fields_not_compared",
        RUN_FIELDS.len() as f64,
        "fields",
    );
    Ok(())
}

/// The run without kills, on enough data.
async fn undisturbed(show: &Show, figures: &mut Figures) -> Result<(Material, Pass)> {
    let mut copies = 1;
    loop {
        let material = Material::of(show, copies)?;
        let root = show
            .make_place("kill")?
            .join(format!("undisturbed-{copies}"));
        let calm = material.pass(show, &root, None).await?;
        let shortest = calm.durations.iter().min().copied().unwrap_or_default();
        if shortest >= SHORTEST || copies == MAX_COPIES {
            for (stage, duration) in Stage::ALL.iter().zip(calm.durations) {
                let name = format!("kill.{}.duration", stage.name());
                figures.told(&name, duration.as_secs_f64(), "s");
            }
            figures.told("kill.images", material.folder.images.len() as f64, "images");
            figures.told("kill.copies_of_the_data", copies as f64, "copies");
            return Ok((material, calm));
        }
        eprintln!(
            "  {:?} are too short to be hit: with more data",
            calm.durations
        );
        show.clear(&root)?;
        copies *= 2;
    }
}

/// The photographs and CSVs of a pass.
struct Material {
    folder: Folder,
    classes: Vec<PathBuf>,
}

/// What a pass gave.
struct Pass {
    durations: [Duration; 4],
    hits: [bool; 4],
    tree: Tree,
}

impl Material {
    /// All folders of the data, each batch so many times.
    fn of(show: &Show, copies: usize) -> Result<Self> {
        let all = show.make_place("kill")?.join(format!("material-{copies}"));
        let mut classes = Vec::new();
        for folder in show.folders()? {
            for copy in 0..copies {
                for batch in folder.batches() {
                    let name = if copy == 0 {
                        batch.to_owned()
                    } else {
                        format!("{batch}-{copy}")
                    };
                    for part in ["img", "csv"] {
                        let from = folder.path.join(part).join(batch);
                        if from.exists() {
                            copy_tree(&from, &all.join(part).join(&name))?;
                        }
                    }
                }
            }
            classes.extend(Some(folder.path.join("classes.json")).filter(|it| it.exists()));
        }
        Ok(Self {
            folder: Folder::read(&all)?,
            classes,
        })
    }

    /// Everything once: images, CSVs, two data sets. With `kills`, one kill in each stage.
    async fn pass(
        &self,
        show: &Show,
        root: &Path,
        kills: Option<(&[f64; 4], &[Duration; 4])>,
    ) -> Result<Pass> {
        let mut pass = Pass {
            durations: [Duration::ZERO; 4],
            hits: [false; 4],
            tree: Tree::default(),
        };
        let mut mill = Mill::up_with(&show.program, root, &SETTINGS).await?;
        self.define_classes(show, &mill).await?;
        mill.stop().await?;
        copy_tree(&self.folder.path.join("img"), &root.join("img"))?;
        mill = Mill::spawn(&show.program, root, &SETTINGS)?;
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            self.begin(stage, show, &mut mill).await?;
            let begun = self.reached(stage, root, Progress::Working).await?;
            if let Some((moments, durations)) = kills {
                tokio::time::sleep(durations[i].mul_f64(moments[i])).await;
                mill.kill()?;
                pass.hits[i] = self.was_working(stage, root)?;
                mill = Mill::spawn(&show.program, root, &SETTINGS)?;
            }
            let ended = self.reached(stage, root, Progress::Ended).await;
            let ended = ended.with_context(|| format!("stage {}", stage.name()))?;
            pass.durations[i] = ended - begun;
        }
        mill.wait_until_healthy().await?;
        pass.tree = settled(root).await?;
        mill.stop().await?;
        Ok(pass)
    }

    async fn define_classes(&self, show: &Show, mill: &Mill) -> Result<()> {
        for (i, classes) in self.classes.iter().enumerate() {
            let empty = show.make_place("kill")?.join(format!("classes{i}"));
            for part in ["img", "csv"] {
                fs::create_dir_all(empty.join(part)).context("make a folder")?;
            }
            fs::copy(classes, empty.join("classes.json")).context("copy classes.json")?;
            show.import(&empty, mill).await?;
        }
        Ok(())
    }

    /// Gives the stage its work. Ingest has it already, collect gets it from its own cutting.
    async fn begin(&self, stage: Stage, show: &Show, mill: &mut Mill) -> Result<()> {
        let (dir, data_type) = match stage {
            Stage::Ingest => return Ok(()),
            Stage::Label => {
                return copy_tree(&self.folder.path.join("csv"), &mill.root().join("csv"));
            }
            Stage::Crop => (CROP, "0"),
            Stage::Collect => (COLLECT, "1"),
        };
        mill.wait_until_healthy().await?;
        let mut batches = self.folder.batches();
        if stage == Stage::Crop {
            // Long enough; detecting on all photographs would only make the show longer.
            batches.truncate(1);
        }
        let wish = Wish {
            dir,
            data_type,
            batches,
            waits: false,
        };
        show.make_dataset(mill, &wish).await.map(drop)
    }

    /// Waits until the stage is that far, and says when.
    async fn reached(&self, stage: Stage, root: &Path, wanted: Progress) -> Result<Instant> {
        let what = format!("stage {} is {wanted:?}", stage.name());
        let pause = match stage {
            Stage::Collect => Duration::from_millis(1),
            _ => Duration::from_millis(5),
        };
        wait_until(&what, LIMIT, pause, async || {
            let progress = self.progress(stage, root)?;
            let is_there = progress == wanted || progress == Progress::Ended;
            Ok(is_there.then(Instant::now))
        })
        .await
    }

    fn progress(&self, stage: Stage, root: &Path) -> Result<Progress> {
        let of_count = |n: usize, of: usize| match n {
            0 => Progress::NotBegun,
            n if n < of => Progress::Working,
            _ => Progress::Ended,
        };
        Ok(match stage {
            Stage::Ingest => of_count(
                n_in_state(&root.join("records/img"), "ok")?,
                self.folder.images.len(),
            ),
            Stage::Label => of_count(
                n_in_state(&root.join("records/csv"), "applied")?,
                self.folder.csvs.len(),
            ),
            Stage::Crop => match job_state(root, CROP)?.as_str() {
                "running" => Progress::Working,
                "collecting" | "done" => Progress::Ended,
                _ => Progress::NotBegun,
            },
            Stage::Collect => match job_state(root, COLLECT)?.as_str() {
                "collecting" => Progress::Working,
                "done" => Progress::Ended,
                _ => Progress::NotBegun,
            },
        })
    }

    /// Was a stage at work when `up` was killed? Nobody has changed the files since.
    fn was_working(&self, stage: Stage, root: &Path) -> Result<bool> {
        let is_working = self.progress(stage, root)? == Progress::Working;
        Ok(match stage {
            Stage::Crop => is_working && n_in_state(&root.join("units").join(CROP), "leased")? > 0,
            _ => is_working,
        })
    }
}

/// How many of the JSON documents below a folder are in a state.
fn n_in_state(folder: &Path, state: &str) -> Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut n = 0;
    for path in files_below(folder)?.into_values() {
        if path.extension().is_some_and(|it| it == "json") {
            n += usize::from(state_of(&path)? == state);
        }
    }
    Ok(n)
}

fn job_state(root: &Path, dir: &str) -> Result<String> {
    state_of(&root.join("datasets").join(dir).join("data.json"))
}

/// The results when no job is open and nothing changes any more.
async fn settled(root: &Path) -> Result<Tree> {
    for dir in [CROP, COLLECT] {
        let pause = Duration::from_millis(200);
        wait_until("a job is done", LIMIT, pause, async || {
            Ok((job_state(root, dir)? == "done").then_some(()))
        })
        .await?;
    }
    no_job_is_open(root, LIMIT).await?;
    let tree = Tree::still(root, Tree::of_results, LIMIT).await?;
    ensure!(tree.n_files() > 0, "the tree is empty");
    Ok(tree)
}
