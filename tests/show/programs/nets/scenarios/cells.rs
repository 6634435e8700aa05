//! Two classes of Pap-smear cells, split by field: weights of photographs that learn on, and none.

use std::time::Instant;

use anyhow::{Context as _, Result};
use cellmill_tests::show::learning::class_folders::ClassFolders;
use cellmill_tests::show::learning::commands::{TrainWish, epochs};
use cellmill_tests::show::learning::folder_split::{self, Judged};
use cellmill_tests::show::learning::scores::mean;
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::{Figures, Show};
use serde_json::json;

const BATCH: &str = "show";
const DATASET: &str = "Whole";
const WEIGHTS: &str = "weights/efficientnet-lite0.safetensors";
const FINE_TUNED: f64 = 0.80;
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// A way to train.
struct Way<'a> {
    name: &'a str,
    /// Of the projects' directories.
    dir: &'a str,
    more: &'a [&'a str],
    /// Of the mean balanced accuracy.
    goal: Option<f64>,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folders = ClassFolders::read(&show.options.data.join("cells"))?;
    let root = show.make_place("cells")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    folder_split::import(show, &mill, &folders, BATCH).await?;
    let wish = Wish {
        dir: DATASET,
        data_type: "3",
        batches: vec![BATCH],
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    let weights = show.options.data.join(WEIGHTS);
    let weights = weights.to_string_lossy();
    let ways = [
        Way {
            name: "cells.fine_tuned",
            dir: "Tuned",
            more: &["--net", "efficientnet_lite0", "--weights", &weights],
            goal: Some(FINE_TUNED),
        },
        Way {
            name: "cells.from_scratch",
            dir: "Scratch",
            more: &[],
            goal: None,
        },
    ];
    for way in &ways {
        if let Err(error) = learn(show, figures, &mill, &folders, way).await {
            say(format_args!("  {}: {error:#}", way.name));
            figures.holds(&format!("{}.ran_to_its_end", way.name), false);
        }
    }
    mill.stop().await?;
    figures.holds("cells.verify_finds_nothing", show.is_verified(&root).await?);
    Ok(())
}

/// All seeds of one way.
async fn learn(
    show: &Show,
    figures: &mut Figures,
    mill: &Mill,
    folders: &ClassFolders,
    way: &Way<'_>,
) -> Result<()> {
    let seeds = if show.options.quick {
        &SEEDS[..1]
    } else {
        &SEEDS
    };
    let name = way.name;
    let (mut judged, mut baselines, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for &seed in seeds {
        let dir = format!("{}{seed}", way.dir);
        let merge = folders.merge();
        let more = [&["--merge", &merge, "--split", "fixed"], way.more].concat();
        let wish = TrainWish {
            dataset: DATASET,
            dir: &dir,
            seed,
            epochs: epochs(show),
            more: &more,
        };
        let begun = Instant::now();
        let trained = wish.trained(show, mill).await?;
        seconds.push(begun.elapsed().as_secs_f64());
        let Judged {
            scores,
            n_wrong_part,
        } = folder_split::judge(mill, folders, &trained).await?;
        let figure = |it: &str| format!("{name}.seed_{seed}.{it}");
        let unit = "cells";
        figures.exactly(&figure("cells_in_the_wrong_part"), n_wrong_part, unit, 0);
        let balanced = scores.balanced_accuracy();
        figures.told(&figure("balanced_accuracy"), balanced, "");
        figures.told(&figure("accuracy"), scores.accuracy(), "");
        judged.push(balanced);
        baselines.push(trained.figure("baseline", "balanced_accuracy"));
        if seed == SEEDS[0] {
            let card = &trained.card;
            let network = json!([card["family"], card["scale"], card["input"]["side"]]);
            figures.said(&format!("{name}.network"), network, "");
        }
    }
    let all = format!("{} seeds", judged.len());
    let unit = format!("mean of {all}");
    let (figure, of_all) = (format!("{name}.balanced_accuracy"), mean(judged.clone()));
    match way.goal {
        Some(goal) => figures.at_least(&figure, of_all, &unit, goal),
        None => figures.told(&figure, of_all, &unit),
    }
    let unit = format!("standard deviation of {all}");
    figures.told(&format!("{name}.spread"), deviation(&judged), &unit);
    judged.sort_by(f64::total_cmp);
    let ends = [judged.first(), judged.last()].map(|it| it.copied().context("a seed"));
    let [least, most] = ends;
    figures.said(&format!("{name}.range"), json!([least?, most?]), "");
    let unit = "histogram + logistic regression";
    let baseline = format!("{name}.baseline_balanced_accuracy");
    figures.told(&baseline, mean(baselines), unit);
    figures.told(&format!("{name}.seconds"), mean(seconds), "s a training");
    Ok(())
}

/// The standard deviation of a sample; 0 of a single value.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values.to_vec());
    let squares: f64 = values.iter().map(|it| (it - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert!((deviation(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!(deviation(&[0.8]).abs() < 1e-12);
    }
}
