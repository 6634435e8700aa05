//! Imports that are broken off, repeated, or done by `cp`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::{Folder, copy_tree, files_below};
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::tree::Tree;
use cellmill_tests::show::wait::wait_until;
use serde_json::Value;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folder = everything(show)?;
    broken_off(show, figures, &folder).await?;
    copied_in(show, figures, &folder).await
}

/// All folders of the data as one: an import long enough to be broken off.
fn everything(show: &Show) -> Result<Folder> {
    let all = show.make_place("resume")?.join("everything");
    for folder in show.folders()? {
        for part in ["img", "csv"] {
            copy_tree(&folder.path.join(part), &all.join(part))?;
        }
    }
    Folder::read(&all)
}

/// Killed half-way and repeated, then repeated once more.
async fn broken_off(show: &Show, figures: &mut Figures, folder: &Folder) -> Result<()> {
    let root = show.make_place("resume")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    let total = folder.n_bytes();
    let before = killed_half_way(show, &mill, folder).await?;
    figures.told(
        "resume.sent_before_the_kill",
        before as f64 / total as f64,
        "of the bytes",
    );

    let second = show.import(&folder.path, &mill).await?;
    let sent = second["bytes_sent"].as_u64().context("no bytes_sent")?;
    figures.exactly(
        "resume.sent_by_the_second",
        sent as usize,
        "bytes",
        (total - before) as usize,
    );
    let n_ok = second["images"]["ok"].as_u64().unwrap_or(0);
    figures.exactly(
        "resume.images_ok",
        n_ok as usize,
        "images",
        folder.images.len(),
    );

    let tree = settled(&root).await?;
    let third = show.import(&folder.path, &mill).await?;
    let sent = third["bytes_sent"].as_u64().context("no bytes_sent")?;
    figures.exactly("resume.sent_by_the_third", sent as usize, "bytes", 0);
    let differences = tree.differences(&settled(&root).await?);
    for it in differences.iter().take(10) {
        eprintln!("  {it}");
    }
    figures.exactly(
        "resume.files_changed_by_the_third",
        differences.len(),
        "files",
        0,
    );
    mill.stop().await
}

/// Kills an import when half of its bytes lie in the root. Gives the bytes that lie there in the end.
async fn killed_half_way(show: &Show, mill: &Mill, folder: &Folder) -> Result<u64> {
    let path = folder.path.to_string_lossy();
    let mut import = show
        .program
        .command(&["import", &path, "--url", mill.url(), "--parallel", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start an import")?;
    let half = folder.n_bytes() / 2;
    let reached = wait_until(
        "half of the bytes are there",
        Duration::from_mins(2),
        Duration::from_millis(2),
        async || {
            let ended = import
                .try_wait()
                .context("look after the import")?
                .is_some();
            ensure!(!ended, "the import ended before it could be killed");
            Ok((bytes_sent(mill.root())? >= half).then_some(()))
        },
    )
    .await;
    import.kill().context("kill the import")?;
    import.wait().context("wait for the killed import")?;
    reached?;
    // A file that was on its way is whole in a moment, or gone.
    let mut last = bytes_sent(mill.root())?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = bytes_sent(mill.root())?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// Bytes under img/ and csv/.
fn bytes_sent(root: &Path) -> Result<u64> {
    let mut sum = 0;
    for tree in ["img", "csv"] {
        let path = root.join(tree);
        if path.exists() {
            for file in files_below(&path)?.values() {
                sum += file.metadata().map_or(0, |it| it.len());
            }
        }
    }
    Ok(sum)
}

/// The tree when it has stopped changing.
async fn settled(root: &Path) -> Result<Tree> {
    Tree::still(root, Tree::exact, Duration::from_secs(30)).await
}

/// `cp -r` into the root of a running `up`.
async fn copied_in(show: &Show, figures: &mut Figures, folder: &Folder) -> Result<()> {
    let root = show.make_place("resume")?.join("root-cp");
    let mill = Mill::up(&show.program, &root).await?;
    for folder in show.folders()? {
        let classes = folder.path.join("classes.json");
        if classes.exists() {
            let empty = show.make_place("resume")?.join(&folder.name);
            std::fs::create_dir_all(empty.join("img")).context("make a folder")?;
            std::fs::create_dir_all(empty.join("csv")).context("make a folder")?;
            std::fs::copy(&classes, empty.join("classes.json")).context("copy classes.json")?;
            show.import(&empty, &mill).await?;
        }
    }
    for part in ["img", "csv"] {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(folder.path.join(part))
            .arg(&root)
            .status();
        ensure!(copied.context("run cp")?.success(), "cp failed");
    }
    let (n_images, n_csvs) = (folder.images.len(), folder.csvs.len());
    let mut found = (0, 0);
    let all = wait_until(
        "everything that was copied in is found",
        Duration::from_mins(2),
        Duration::from_millis(300),
        async || {
            let images = mill.client().all("/api/v1/images", &[]).await?;
            let csvs = mill.client().all("/api/v1/points", &[]).await?;
            found = (in_state(&images, "ok"), in_state(&csvs, "applied"));
            Ok((found == (n_images, n_csvs)).then_some((images, csvs)))
        },
    )
    .await;
    figures.exactly("resume.cp.images_found", found.0, "images", n_images);
    figures.exactly("resume.cp.csvs_applied", found.1, "files", n_csvs);
    let (images, csvs) = all?;
    let n_refused = in_state(&images, "rejected") + in_state(&csvs, "rejected");
    figures.exactly("resume.cp.refused", n_refused, "files", 0);
    mill.stop().await
}

fn in_state(views: &[Value], state: &str) -> usize {
    views.iter().filter(|it| it["state"] == state).count()
}
