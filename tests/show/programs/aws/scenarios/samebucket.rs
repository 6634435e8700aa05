//! The same flow on AWS and standalone: the same tree.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use cellmill_tests::aws::mirror::mirror;
use cellmill_tests::aws::{Door, Stack};
use cellmill_tests::show::data::{Folder, files_below};
use cellmill_tests::show::place::say;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::tree::{HOME_FIELDS, Tree};
use cellmill_tests::show::wait::no_job_is_open;
use cellmill_tests::show::{Figures, Show};

use crate::lab::Lab;
use crate::material::photographs;
use crate::{flow, settled};

const N_CASES: usize = 6;
const LIMIT: Duration = Duration::from_mins(3);
/// Of a document; everything else is equal.
const MAX_FIELDS: f64 = 10.0;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("samebucket")?;
    let folder = photographs(lab.show, N_CASES, &place.join("data"))?;

    let home = standalone(lab.show, &folder, &place.join("standalone")).await?;
    let stack = lab.stack().await?;
    let emulated = on_stack(lab, &stack, &folder, &place).await?;
    stack.down().await?;

    figures.told("samebucket.compared_files", home.n_files() as f64, "files");
    let n_fields = HOME_FIELDS.len() as f64;
    figures.at_most(
        "samebucket.fields_not_compared",
        n_fields,
        "fields",
        MAX_FIELDS,
    );
    for (name, is_of) in KINDS {
        let n = files_below(&place.join("mirror"))?;
        let n = n.keys().filter(|it| is_of(it)).count();
        // None of them would make the comparison easy.
        let figure = format!("samebucket.{name}_compared_by_bytes");
        figures.at_least(&figure, n as f64, "files", 1.0);
    }
    let differences = home.differences(&emulated);
    for it in differences.iter().take(20) {
        say(format_args!("    {it}"));
    }
    figures.exactly("samebucket.differences", differences.len(), "files", 0);
    let is_verified = lab.show.is_verified(&place.join("mirror")).await?;
    figures.holds("samebucket.verify_finds_nothing", is_verified);
    Ok(())
}

/// Is a key of this kind?
type IsOf = fn(&str) -> bool;

/// What is not even a document.
const KINDS: [(&str, IsOf); 2] = [
    ("models", |it| it.ends_with(".safetensors")),
    ("packs", |it| it.contains("/packs/")),
];

/// The flow in one process over a folder.
pub(super) async fn standalone(show: &Show, folder: &Folder, root: &Path) -> Result<Tree> {
    let mill = Mill::up(&show.program, root).await?;
    let took = flow::run(&Door::of_mill(&show.program, &mill), folder).await?;
    took.tell();
    no_job_is_open(root, LIMIT).await?;
    let tree = Tree::still(root, Tree::of_home, LIMIT).await?;
    mill.stop().await?;
    Ok(tree)
}

/// The flow on a stack with one worker. Its bucket is then a folder too, `mirror` in `place`.
pub(super) async fn on_stack(
    lab: &Lab<'_>,
    stack: &Stack,
    folder: &Folder,
    place: &Path,
) -> Result<Tree> {
    let worker = lab.worker(stack, "worker", place).await?;
    let door = Door::of_stack(&lab.show.program, stack)?;
    let took = flow::run(&door, folder).await?;
    took.tell();
    settled::queues_are_empty(stack, LIMIT).await?;
    settled::no_job_is_open(stack, LIMIT).await?;
    worker.stop().await?;
    let copy = place.join("mirror");
    mirror(&stack.bucket(), &copy).await?;
    Tree::of_home(&copy)
}
