//! What can't be learned: a clear error or a clear figure, and a server that goes on.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::learning::commands::{TrainWish, predict};
use cellmill_tests::show::learning::projects::Trained;
use cellmill_tests::show::learning::scores::mean;
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::{Mill, Ran};
use cellmill_tests::show::renamed::place_file;
use cellmill_tests::show::{Figures, Show};

use super::odd_data::{NOBODYS_CLASS, OddData};

const EPOCHS: u32 = 4;
/// How far from chance shuffled labels may get.
const CHANCE: f64 = 0.1;
const SHUFFLES: [u64; 2] = [1, 2];
const NO_MODEL: u64 = 999_999;
/// What a program says that did not expect what it met.
const PANIC: &str = "panicked at";
/// The folder given is not of the documented form.
const USAGE: i32 = 2;

/// How a command is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not with 0, in words.
    Error,
    /// With an error in words, or with 0 and what it was asked for.
    Any,
}

struct Odd<'a> {
    show: &'a Show,
    figures: &'a mut Figures,
    mill: Mill,
    n_ended: usize,
    n_serving: usize,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("odd")?;
    let data = OddData::make(show, &place).await?;
    let mill = Mill::up(&show.program, &place.join("root")).await?;
    let mut odd = Odd {
        show,
        figures,
        mill,
        n_ended: 0,
        n_serving: 0,
    };
    let mid = odd.shuffled(&data).await?;
    odd.trainings(&data).await?;
    odd.predictions(&data, mid).await?;
    odd.imports(&place, &data).await?;
    let (n, n_serving) = (odd.n_ended, odd.n_serving);
    odd.figures
        .exactly("odd.still_serving", n_serving, "commands", n);
    let is_calm = !odd.mill.log()?.contains(PANIC);
    odd.figures.holds("odd.no_panic_in_the_log", is_calm);
    odd.mill.stop().await
}

impl Odd<'_> {
    /// Labels dealt out at random: what is learned is worth nothing. Gives a model that learned the true ones.
    async fn shuffled(&mut self, data: &OddData) -> Result<u64> {
        self.show.import(&data.sound.path, &self.mill).await?;
        self.dataset("Sound", &data.sound.batches()).await?;
        let wish = TrainWish {
            dataset: "Sound",
            dir: "True",
            seed: 1,
            epochs: Some(EPOCHS),
            more: &[],
        };
        let sound = wish.trained(self.show, &self.mill).await?;
        let balanced = sound.figure("test", "balanced_accuracy");
        self.figures
            .told("odd.true_labels.balanced_accuracy", balanced, "");
        let mut judged = Vec::new();
        for seed in SHUFFLES {
            let dir = format!("Shuffled{seed}");
            let wish = TrainWish {
                dir: &dir,
                seed,
                more: &["--shuffle-labels"],
                ..wish
            };
            let trained = wish.trained(self.show, &self.mill).await?;
            judged.push(trained.figure("test", "balanced_accuracy"));
        }
        let chance = 1.0 / sound.classes().len() as f64;
        let limits = [chance - CHANCE, chance + CHANCE];
        let unit = "balanced accuracy, mean of 2 seeds";
        self.figures
            .within("odd.shuffled_labels", mean(judged), unit, limits);
        Ok(sound.mid)
    }

    async fn trainings(&mut self, data: &OddData) -> Result<()> {
        for (name, folder, end, names) in [
            ("oneclass", &data.one_class, End::Error, data.class.as_str()),
            ("threecells", &data.three_cells, End::Any, ""),
            ("onecase", &data.one_case, End::Any, ""),
            ("blank", &data.blank, End::Any, ""),
            ("nocells", &data.no_cells, End::Error, ""),
        ] {
            self.show.import(folder, &self.mill).await?;
            self.train(name, end, names).await?;
        }
        // The class is told where the CSVs come in, and there is nothing to learn then.
        let folder = data.unnamed.to_string_lossy();
        let ran = self
            .show
            .program
            .run(&["import", &folder, "--url", self.mill.url()])
            .await?;
        let is_told = ran.said().contains(NOBODYS_CLASS) && !ran.said().contains(PANIC);
        self.figures
            .holds("odd.unnamed_class.import_names_it", is_told);
        self.train("unnamed", End::Error, "").await
    }

    async fn dataset(&mut self, dir: &str, batches: &[&str]) -> Result<()> {
        let wish = Wish {
            dir,
            data_type: "1",
            batches: batches.to_vec(),
            waits: true,
        };
        self.show.make_dataset(&self.mill, &wish).await.map(drop)
    }

    /// Trains on the batch of this name. An error names the data set, or this class.
    async fn train(&mut self, name: &str, end: End, class: &str) -> Result<()> {
        let (dataset, dir) = (format!("{name}Cells"), format!("{name}Trained"));
        self.dataset(&dataset, &[name]).await?;
        let wish = TrainWish {
            dataset: &dataset,
            dir: &dir,
            seed: 1,
            epochs: Some(EPOCHS),
            more: &[],
        };
        let ran = wish.run(self.show, &self.mill).await?;
        let is_ok = ran.code == Some(0);
        // A refusal need not repeat what it was called with.
        let words = [dataset.as_str(), "data set", class];
        self.ended(&format!("train.{name}"), &ran, end, &words)
            .await;
        if is_ok {
            let trained = Trained::read(self.mill.root(), &dir)?;
            let judged = ["test", "validation"].map(|it| trained.figure(it, "balanced_accuracy"));
            let figure = judged.into_iter().find(|it| !it.is_nan());
            let name = format!("odd.train.{name}");
            let told = figure.unwrap_or(f64::NAN);
            self.figures
                .told(&format!("{name}.balanced_accuracy"), told, "");
            // Too few cells leave none to judge by: then the card must say so.
            let notes = trained.card["training"]["notes"]
                .as_array()
                .map_or(0, Vec::len);
            let is_said = figure.map_or(notes > 0, |it| (0.0..=1.0).contains(&it));
            self.figures
                .holds(&format!("{name}.says_what_it_is_worth"), is_said);
        }
        Ok(())
    }

    async fn predictions(&mut self, data: &OddData, mid: u64) -> Result<()> {
        let number = NO_MODEL.to_string();
        let ran = predict(self.show, &self.mill, "Sound", NO_MODEL, "NoModel", &[]).await?;
        self.ended("predict.unknown_model", &ran, End::Error, &[&number])
            .await;
        let ran = predict(self.show, &self.mill, "NoData", mid, "NoDataset", &[]).await?;
        self.ended("predict.unknown_dataset", &ran, End::Error, &["NoData"])
            .await;

        let mid = mid.to_string();
        let batch = data
            .no_cells
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let url = self.mill.url().to_owned();
        let empty = ["predict", "--batch", &batch, "--model", &mid, "--url", &url];
        let ran = self
            .show
            .program
            .run(&[&empty[..], &["--case", "a"]].concat())
            .await?;
        self.ended(
            "predict.case_without_cells",
            &ran,
            End::Any,
            &[&batch, "data set"],
        )
        .await;
        let ran = self
            .show
            .program
            .run(&[&empty[..], &["--case", "nobody"]].concat())
            .await?;
        self.ended("predict.unknown_case", &ran, End::Error, &["nobody"])
            .await;
        Ok(())
    }

    async fn imports(&mut self, place: &Path, data: &OddData) -> Result<()> {
        let empty = place.join("emptyclasses");
        fs::create_dir_all(&empty).context("make a folder")?;
        let ran = self.import_classes(&empty).await?;
        self.ended("import.empty_folder", &ran, End::Error, &["emptyclasses"])
            .await;
        let is_usage = ran.code == Some(USAGE);
        self.figures
            .holds("odd.import.empty_folder.exit_code", is_usage);

        let strange = place.join("strangeclasses");
        let names = ["no-such-class", "neither-this"];
        for name in names {
            let image = &data.sound.images[0];
            place_file(&image.path, &strange.join(name).join(&image.name))?;
        }
        let ran = self.import_classes(&strange).await?;
        self.ended("import.unknown_classes", &ran, End::Error, &[names[0]])
            .await;
        let are_all_named = names.iter().all(|it| ran.said().contains(it));
        self.figures
            .holds("odd.import.unknown_classes.all_named", are_all_named);
        let is_usage = ran.code == Some(USAGE);
        self.figures
            .holds("odd.import.unknown_classes.exit_code", is_usage);
        let query = [("batch", "strangeclasses")];
        let sent = self.mill.client().all("/api/v1/images", &query).await?;
        self.figures
            .exactly("odd.import.unknown_classes.sent", sent.len(), "images", 0);
        Ok(())
    }

    async fn import_classes(&self, folder: &Path) -> Result<Ran> {
        let folder = folder.to_string_lossy();
        let args = [
            "import",
            &folder,
            "--folders-as-classes",
            "--url",
            self.mill.url(),
        ];
        self.show.program.run(&args).await
    }

    /// Judges how a command ended: an error has one of these words in it, and says what to do next.
    async fn ended(&mut self, name: &str, ran: &Ran, end: End, words: &[&str]) {
        let said = ran.said();
        let is_calm = ran.code.is_some() && !said.contains(PANIC);
        let is_named = words.iter().any(|it| !it.is_empty() && said.contains(it));
        let is_clear = match ran.code {
            Some(0) => end == End::Any,
            _ => is_calm && is_named && (said.contains("hint:") || said.contains("`cellmill ")),
        };
        say(format_args!("  {name} ended with {:?}", ran.code));
        if ran.code != Some(0) || !is_clear {
            for line in said.lines().filter(|it| !it.trim().is_empty()).take(12) {
                say(format_args!("    {line}"));
            }
        }
        self.figures
            .holds(&format!("odd.{name}.ends_clearly"), is_clear && is_calm);
        self.n_ended += 1;
        let is_serving = self.mill.is_alive() && self.mill.client().is_healthy().await;
        self.n_serving += usize::from(is_serving);
    }
}
