//! Which cases the training never sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cellmill_core::formats::CellsListRow;
use cellmill_core::ids::sha256_hex;
use cellmill_core::snapshot::Snapshot;
use cellmill_core::split::{Group, deal};

use crate::cli::Error;

/// A case, as `<batch>/<case>`.
type Case = (String, String);

/// A fifth of the cases judges.
const SHARES: [f64; 2] = [0.8, 0.2];

/// The cases that are kept apart: those that `split.csv` names, else a fifth, dealt out by what they hold.
///
/// Without names, so a copy of the data under other names is dealt out the same.
pub(super) fn choose(
    from: &Path,
    rows: &[CellsListRow],
    snapshot: &Snapshot,
    seed: u64,
) -> Result<Vec<Case>, Error> {
    let all: BTreeSet<Case> = rows
        .iter()
        .map(|it| (it.batchid.clone(), it.medicalid.clone()))
        .collect();
    if all.len() < 3 {
        return Err(Error::Usage {
            what: format!(
                "the labelled cells come from {} cases, the demo needs 3: to learn from, to choose by, to judge by",
                all.len()
            ),
            hint: Some("use `cellmill train` with `--split image` on such data".to_owned()),
        });
    }
    let named = named(from)?;
    let kept: Vec<Case> = all
        .iter()
        .filter(|it| named.contains(*it))
        .cloned()
        .collect();
    if !kept.is_empty() && kept.len() + 1 < all.len() {
        return Ok(kept);
    }
    Ok(dealt(&all, rows, snapshot, seed))
}

/// What `split.csv` keeps apart: every case that is not for training.
fn named(from: &Path) -> Result<BTreeSet<Case>, Error> {
    let path = from.join("split.csv");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::file("read", &path)(error)),
    };
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| header.iter().position(|it| it.trim() == name);
    let (Some(batch), Some(case), Some(part)) = (column("batch"), column("case"), column("split"))
    else {
        return Err(Error::Usage {
            what: format!("`{}` has no columns batch, case, split", path.display()),
            hint: Some(
                "mend it, or take it away: then a fifth of the cases is kept apart".to_owned(),
            ),
        });
    };
    let mut kept = BTreeSet::new();
    for line in lines.filter(|it| !it.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        if field(part) != "train" {
            kept.insert((field(batch).to_owned(), field(case).to_owned()));
        }
    }
    Ok(kept)
}

fn dealt(all: &BTreeSet<Case>, rows: &[CellsListRow], snapshot: &Snapshot, seed: u64) -> Vec<Case> {
    let classes: BTreeSet<u32> = rows.iter().map(|it| it.celltype).collect();
    let hashes: BTreeMap<&str, &str> = snapshot
        .images
        .iter()
        .map(|it| (it.key.as_str(), it.sha256.as_str()))
        .collect();
    let group = |case: &Case| {
        let own: Vec<&CellsListRow> = rows
            .iter()
            .filter(|it| it.batchid == case.0 && it.medicalid == case.1)
            .collect();
        let images: BTreeSet<&str> = own
            .iter()
            .filter_map(|it| hashes.get(it.imgpath.as_deref()?).copied())
            .collect();
        let content = images.into_iter().collect::<Vec<_>>().join(" ");
        let digest = u64::from_str_radix(&sha256_hex(content.as_bytes())[..16], 16);
        let count = |class: &u32| own.iter().filter(|it| it.celltype == *class).count() as u64;
        Group {
            digest: digest.unwrap_or_default(),
            counts: classes.iter().map(count).collect(),
        }
    };
    let groups: Vec<Group> = all.iter().map(group).collect();
    let parts = deal(&groups, &SHARES, seed);
    let kept = all.iter().zip(parts).filter(|(_, part)| *part == 1);
    kept.map(|(case, _)| case.clone()).collect()
}
