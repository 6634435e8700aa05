//! Odd and broken pictures through a detector: whatever comes in, the data set is made.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::learning::projects::json;
use cellmill_tests::show::picture::grey_png;
use cellmill_tests::show::place::say;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::{Figures, Show, table};

const BATCH: &str = "odd";
/// A row of manifest.csv.
type Row = HashMap<String, String>;

/// Fields of the synthetic smear that the detector learns from.
const N_FIELDS: &str = "12";

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let place = show.make_place("hostile")?;
    let root = place.join("root");
    let mut mill = Mill::up(&show.program, &root).await?;
    let smear = show
        .synthetic(&place.join("smear"), &["--images", N_FIELDS])
        .await?;
    show.import(&smear.path, &mill).await?;
    let mut args = vec!["dataset", "create", "--url", mill.url(), "--dir", "Smear"];
    args.push("--wait");
    for batch in smear.batches() {
        args.extend(["--batch", batch]);
    }
    show.program.run(&args).await?.must_be_ok("the data set")?;
    let args = [
        "train",
        "Smear",
        "--kind",
        "detect",
        "--agnostic",
        "--epochs",
        "12",
    ];
    let args = [
        &args[..],
        &["--split", "image", "--dir", "Finder", "--url", mill.url()],
    ]
    .concat();
    show.program.run(&args).await?.must_be_ok("the detector")?;
    let project = json(&root.join("projects/Finder/mod.json"))?;
    let mid = project["mid"].as_u64().context("mod.json names no model")?;

    let odd = place.join("odd");
    let n_odd = write_odd(show, &odd)?;
    let odd = odd.to_string_lossy();
    // Those that are refused make the import end with a word of its own.
    let ran = show
        .program
        .run(&["import", &odd, "--url", mill.url(), "--json"])
        .await?;
    say(format_args!("  import ended with {:?}", ran.code));
    let mid = mid.to_string();
    for (name, mid) in [("learned", mid.as_str()), ("classical", "0")] {
        let dir = format!("Odd{mid}");
        let args = ["dataset", "create", "--url", mill.url(), "--wait", "--json"];
        let of = ["--batch", BATCH, "--type", "0", "--mid", mid, "--dir", &dir];
        let made = show.program.run(&[&args[..], &of].concat()).await?;
        let made = made.must_be_ok(&dir)?.json()?;
        let state = made["job"]["state"].as_str().unwrap_or_default();
        figures.holds(&format!("hostile.{name}.done"), state == "done");
        let snapshot = json(&root.join("datasets").join(&dir).join("snapshot.json"))?;
        let n = snapshot["images"].as_array().map_or(0, Vec::len);
        let unit = format!("images looked at, of {n_odd} that were sent");
        figures.at_least(&format!("hostile.{name}.images"), n as f64, &unit, 5.0);
        let n = made["statistics"]["cells_total"].as_f64();
        figures.told(
            &format!("hostile.{name}.cells"),
            n.unwrap_or(f64::NAN),
            "cells",
        );
    }
    figures.holds("hostile.server_lives", mill.is_alive());
    mill.stop().await?;
    figures.holds(
        "hostile.verify_finds_nothing",
        show.is_verified(&root).await?,
    );
    Ok(())
}

/// Every picture of hostile/ that need not be refused, and blank ones, one pixel, a field that is all cell.
fn write_odd(show: &Show, to: &Path) -> Result<usize> {
    let folder = to.join("img").join(BATCH).join("case1").join("Images");
    fs::create_dir_all(&folder).context("make a folder")?;
    let manifest = fs::read_to_string(show.hostile("manifest.csv")).context("read manifest.csv")?;
    let rows = table::rows(&manifest);
    let is_picture = |it: &&Row| !matches!(it["group"].as_str(), "csv" | "archive");
    let pictures = rows
        .iter()
        .filter(is_picture)
        .filter(|it| it["expect"] != "reject");
    let mut n = 0;
    for row in pictures {
        let ending = Path::new(&row["path"]).extension();
        let ending = ending.map_or_else(String::new, |it| format!(".{}", it.to_string_lossy()));
        fs::copy(
            show.hostile(&row["path"]),
            folder.join(format!("odd{n}{ending}")),
        )
        .with_context(|| row["path"].clone())?;
        n += 1;
    }
    for (name, width, height, grey) in [
        ("blank", 640, 480, 255),
        ("black", 640, 480, 0),
        ("pixel", 1, 1, 120),
        ("thread", 1, 2000, 200),
        ("all", 300, 200, 110),
    ] {
        let png = grey_png(width, height, grey)?;
        fs::write(folder.join(format!("{name}.png")), png).context("write a picture")?;
        n += 1;
    }
    Ok(n)
}
