//! Names that nobody should send: stored and given back byte for byte, or refused, and never outside the root.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::files_below;
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::http::{Client, Sent, Upload, text};
use cellmill_tests::show::picture::grey_png;
use cellmill_tests::show::process::Mill;
use serde_json::Value;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let list = fs::read(show.hostile("names.json")).context("read names.json")?;
    let list: Value = serde_json::from_slice(&list).context("names.json is no JSON")?;
    let texts = |field: &str| -> Vec<String> {
        list[field]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect()
    };
    let place = show.make_place("names")?;
    let root = place.join("house").join("root");
    fs::create_dir_all(&root).context("make a root")?;
    let mill = Mill::up(&show.program, &root).await?;
    let outside_before = outside(&place)?;
    let picture = grey_png(32, 24, 99)?;
    let mut tried = Tried::default();
    for tree in ["hospital", "upload"] {
        for name in texts("names") {
            let file = upload(tree, "names", "case", &name, &picture);
            tried
                .add(mill.client(), &file, &name, may_be_refused(&name))
                .await?;
        }
        for id in texts("batch_or_case_ids") {
            for (batch, case) in [(id.as_str(), "case"), ("names", id.as_str())] {
                let file = upload(tree, batch, case, "a.png", &picture);
                // Batch and case are ids: the rule on names does not promise to store each.
                tried.add(mill.client(), &file, "a.png", true).await?;
            }
        }
    }
    let escaped: Vec<String> = outside(&place)?
        .difference(&outside_before)
        .cloned()
        .collect();
    for path in &escaped {
        eprintln!("  outside the root: {path}");
    }
    figures.exactly("names.decided", tried.n_decided, "names", tried.n);
    figures.exactly("names.outside_the_root", escaped.len(), "files", 0);
    figures.exactly("names.wrongly_refused", tried.n_wrongly_refused, "names", 0);
    figures.exactly(
        "names.byte_for_byte",
        tried.n_same,
        "stored names",
        tried.n_stored,
    );
    figures.told("names.stored", tried.n_stored as f64, "names");
    figures.holds("names.still_serving", mill.client().is_healthy().await);
    mill.stop().await
}

#[derive(Debug, Default)]
struct Tried {
    n: usize,
    n_decided: usize,
    n_stored: usize,
    n_same: usize,
    n_wrongly_refused: usize,
}

impl Tried {
    async fn add(
        &mut self,
        client: &Client,
        file: &Upload<'_>,
        name: &str,
        may_be_refused: bool,
    ) -> Result<()> {
        self.n += 1;
        let shown: String = format!("{:?}/{:?}/{name:?}", file.batch, file.case)
            .chars()
            .take(90)
            .collect();
        match client.upload(file).await? {
            Sent::Refused(code) if code.is_empty() => {
                eprintln!("  {shown}: refused without a code");
            }
            Sent::Refused(code) => {
                self.n_decided += 1;
                self.n_wrongly_refused += usize::from(!may_be_refused);
                eprintln!("  {} {shown}: refused, {code}", file.root);
            }
            Sent::Stored(key) => {
                client.decided(&key, Duration::from_secs(30)).await?;
                let view = client.get("/api/v1/image", &[("key", &key)]).await?;
                let bytes = client
                    .bytes("/api/v1/image/bytes", &[("key", &key)])
                    .await?;
                let is_same = text(&view["name"]) == name
                    && text(&view["batch"]) == file.batch
                    && text(&view["case"]) == file.case
                    && bytes == file.content;
                self.n_decided += 1;
                self.n_stored += 1;
                self.n_same += usize::from(is_same);
                if !is_same {
                    eprintln!("  {} {shown}: came back as {}", file.root, view["name"]);
                }
            }
        }
        Ok(())
    }
}

/// A name with a path in it, and one that is no name at all.
fn may_be_refused(name: &str) -> bool {
    let is_path = name.contains(['/', '\\']) || name.contains("..");
    is_path || name.chars().any(char::is_control) || name.is_empty() || name == "."
}

fn upload<'a>(
    root: &'a str,
    batch: &'a str,
    case: &'a str,
    name: &'a str,
    content: &'a [u8],
) -> Upload<'a> {
    Upload {
        root,
        batch,
        case,
        date: None,
        name,
        label_type: None,
        content,
    }
}

/// Files beside and above the root. (The log of `up` lies there, too, by this program's own doing.)
fn outside(place: &std::path::Path) -> Result<BTreeSet<String>> {
    let mut found: BTreeSet<String> = files_below(place)?.into_keys().collect();
    found.retain(|it| !it.starts_with("house/root/") && it != "house/root.log");
    let tmp = std::env::temp_dir();
    for name in ["evil", "passwd"] {
        found.extend(
            tmp.join(name)
                .exists()
                .then(|| format!("{}/{name}", tmp.display())),
        );
    }
    Ok(found)
}
