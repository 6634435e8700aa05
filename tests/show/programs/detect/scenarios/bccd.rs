//! Detectors of blood cells: from scratch and from weights of photographs, judged by cases that they never saw, and
//! data sets made with them beside the classical finder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use cellmill_tests::show::data::{Folder, copy_tree};
use cellmill_tests::show::learning::projects::json;
use cellmill_tests::show::place::{Wish, say};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::{Figures, Show, table};
use serde_json::Value;

const POINTS: &str = "Points";
const WEIGHTS: &str = "weights/efficientnet-lite0.safetensors";
const MAP50: f64 = 0.90;
/// What has to hold where the goal is missed.
const FLOOR: f64 = 0.80;
/// Figures of the card, and those counted from the boxes by other means, differ by no more: boxes are rounded to a
/// tenth of a pixel between them.
const ROUNDING: f64 = 0.01;

/// A way to train.
struct Way {
    name: &'static str,
    dir: &'static str,
    more: Vec<String>,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("bccd")?;
    let root = place.join("root");
    let folder = Folder::read(&show.options.data.join("bccd"))?;
    let cases = judges(&folder)?;
    let mill = Mill::up(&show.program, &root).await?;
    show.import(&folder.path, &mill).await?;
    let wish = Wish {
        dir: POINTS,
        data_type: "1",
        batches: folder.batches(),
        waits: true,
    };
    show.make_dataset(&mill, &wish).await?;
    let truth = truth_of(&folder, &cases, &place.join("truth"))?;
    let weights = show.options.data.join(WEIGHTS);
    let weights = weights.to_string_lossy().into_owned();
    let ways = [
        Way {
            name: "bccd.scratch",
            dir: "Scratch",
            more: Vec::new(),
        },
        Way {
            name: "bccd.weights",
            dir: "Weights",
            more: vec!["--weights".to_owned(), weights],
        },
    ];
    let mut mids = Vec::new();
    for way in &ways {
        match learn(show, figures, &mill, &cases, &truth, way).await {
            Ok(mid) => mids.push(mid),
            Err(error) => {
                say(format_args!("  {}: {error:#}", way.name));
                figures.holds(&format!("{}.ran_to_its_end", way.name), false);
            }
        }
    }
    if let Some(&mid) = mids.last() {
        data_sets(show, figures, &mill, &folder, &cases, mid).await?;
    }
    mill.stop().await?;
    figures.holds("bccd.verify_finds_nothing", show.is_verified(&root).await?);
    Ok(())
}

/// The cases that judge, as `batch/case`.
fn judges(folder: &Folder) -> Result<Vec<String>> {
    let split = fs::read_to_string(folder.path.join("split.csv")).context("read split.csv")?;
    let rows = table::rows(&split);
    let judges = rows.iter().filter(|it| it["split"] != "train");
    Ok(judges
        .map(|it| format!("{}/{}", it["batch"], it["case"]))
        .collect())
}

/// A folder with the images and points of these cases alone.
fn truth_of(folder: &Folder, cases: &[String], to: &Path) -> Result<PathBuf> {
    for case in cases {
        let from = folder.path.join("img").join(case);
        copy_tree(&from, &to.join("img").join(case))?;
    }
    for csv in &folder.csvs {
        if cases.contains(&format!("{}/{}", csv.batch, csv.case)) {
            let path = to.join(&csv.key);
            let parent = path.parent().context("a key has a folder")?;
            fs::create_dir_all(parent).context("make a folder")?;
            fs::copy(&csv.path, &path).context("copy points")?;
        }
    }
    let classes = folder.path.join("classes.json");
    if classes.is_file() {
        fs::copy(classes, to.join("classes.json")).context("copy the classes")?;
    }
    Ok(to.to_owned())
}

async fn learn(
    show: &Show,
    figures: &mut Figures,
    mill: &Mill,
    cases: &[String],
    truth: &Path,
    way: &Way,
) -> Result<u64> {
    let (name, cases) = (way.name, cases.join(","));
    let mut args = vec!["train", POINTS, "--kind", "detect", "--url", mill.url()];
    args.extend(["--dir", way.dir, "--test-cases", &cases]);
    args.extend(way.more.iter().map(String::as_str));
    if show.options.quick {
        args.extend(["--epochs", "3"]);
    }
    let begun = Instant::now();
    let trained = show.program.run(&args).await?;
    trained.must_be_ok(name)?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    figures.told(&format!("{name}.minutes"), minutes, "min, wall clock");
    let project = mill.root().join("projects").join(way.dir);
    let mid = json(&project.join("mod.json"))?["mid"]
        .as_u64()
        .context("mod.json names no model")?;
    let card = mill
        .root()
        .join(format!("modules/detector/{mid}.safetensors.json"));
    let card = json(&card)?;
    let test = &card["detector"]["test"];
    let figure = |it: &Value| it.as_f64().unwrap_or(f64::NAN);

    let rows = json(&project.join("detections.json"))?;
    let of_test = |it: &&Value| it["part"] == "test";
    let rows: Vec<&Value> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter(of_test)
        .collect();
    let detections = show.place("bccd").join(format!("{}.json", way.dir));
    let text = serde_json::to_vec(&rows).context("write detections")?;
    fs::write(&detections, text).context("write detections")?;
    let (truth, detections) = (truth.to_string_lossy(), detections.to_string_lossy());
    let args = ["eval", "detect", "--json", "--max-dets", "1000", "--truth"];
    let args = [&args[..], &[&truth, "--detections", &detections]].concat();
    let counted = show.program.run(&args).await?;
    let counted = counted.must_be_ok("eval detect")?.json()?;
    let map50 = figure(&counted["ap50"]);
    let what = "of cases that it never saw, as pycocotools counts";
    figures.at_least(&format!("{name}.map50"), map50, what, MAP50);
    figures.at_least(&format!("{name}.map50.floor"), map50, what, FLOOR);
    let apart = (map50 - figure(&test["ap50"])).abs();
    figures.at_most(
        &format!("{name}.card_differs_by"),
        apart,
        "of map50",
        ROUNDING,
    );
    figures.told(&format!("{name}.map50_95"), figure(&counted["ap"]), "");
    for class in counted["per_class"].as_array().into_iter().flatten() {
        let id = &class["class"];
        figures.told(&format!("{name}.{id}.ap50"), figure(&class["ap50"]), "");
    }
    for it in ["precision", "recall", "f1"] {
        figures.told(
            &format!("{name}.{it}"),
            figure(&test[it]),
            "by its threshold",
        );
    }
    Ok(mid)
}

/// Data sets of type 0 and 2 of the cases that judge: how many points each finder confirms.
async fn data_sets(
    show: &Show,
    figures: &mut Figures,
    mill: &Mill,
    folder: &Folder,
    cases: &[String],
    mid: u64,
) -> Result<()> {
    let n_points: usize = {
        let of_judges = |it: &&cellmill_tests::show::data::CsvFile| {
            cases.contains(&format!("{}/{}", it.batch, it.case))
        };
        let csvs = folder.csvs.iter().filter(of_judges);
        let texts: Result<Vec<String>, _> = csvs.map(|it| fs::read_to_string(&it.path)).collect();
        let texts = texts.context("read points")?;
        texts.iter().map(|it| table::rows(it).len()).sum()
    };
    let mut shares = Vec::new();
    for (name, mid) in [("classical", 0), ("learned", mid)] {
        for data_type in ["0", "2"] {
            let dir = format!("Of{mid}Type{data_type}");
            let mid = mid.to_string();
            let mut args = vec!["dataset", "create", "--url", mill.url(), "--wait", "--json"];
            args.extend([
                "--dir", &dir, "--type", data_type, "--mid", &mid, "--cache", "0",
            ]);
            for batch in folder.batches() {
                args.extend(["--batch", batch]);
            }
            for case in cases {
                let case = case.rsplit('/').next().unwrap_or(case);
                args.extend(["--case", case]);
            }
            let made = show.program.run(&args).await?;
            let made = made.must_be_ok(&dir)?.json()?;
            let n = made["statistics"]["cells_total"].as_f64();
            let n = n.context("a data set counts its cells")?;
            let figure = format!("bccd.type_{data_type}.{name}");
            figures.told(&format!("{figure}.cells"), n, "cells");
            if data_type == "2" {
                let share = n / n_points as f64;
                figures.told(
                    &format!("{figure}.confirmed"),
                    share,
                    "of the doctors' points",
                );
                shares.push(share);
            }
        }
    }
    let unit = "of the doctors' points, beside the classical finder's";
    figures.above(
        "bccd.type_2.learned_beside_classical",
        shares[1],
        unit,
        shares[0],
    );
    Ok(())
}
