//! A copy of a folder under other names: what comes of it must not depend on names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::data::{Folder, stem};
use super::table;

/// Copies a folder under other names of batches, cases and files: odd ones, all legal, and in another order.
///
/// `seed` decides the names. Where a `split.csv` says what cases are for, the copy's says the same of their new
/// names.
pub fn renamed(folder: &Folder, to: &Path, seed: u64) -> Result<()> {
    let names = Names::of(folder, seed);
    for image in &folder.images {
        let own = stem(&image.name);
        let place = [image.batch.as_str(), &image.case, own];
        let name = format!("{}{}", names.stems[&place], &image.name[own.len()..]);
        let batch = to.join("img").join(&names.batches[image.batch.as_str()]);
        let case = batch.join(&names.cases[&[place[0], place[1]]]);
        place_file(&image.path, &case.join("Images").join(name))?;
    }
    for csv in &folder.csvs {
        let place = [csv.batch.as_str(), &csv.case, &csv.stem];
        // A CSV of no image keeps nobody's name.
        let Some(stem) = names.stems.get(&place) else {
            continue;
        };
        let batch = to.join("csv").join(&names.batches[csv.batch.as_str()]);
        let case = batch
            .join(&csv.date)
            .join(&names.cases[&[place[0], place[1]]]);
        place_file(&csv.path, &case.join(format!("{stem}.csv")))?;
    }
    let classes = folder.path.join("classes.json");
    if classes.exists() {
        place_file(&classes, &to.join("classes.json"))?;
    }
    let split = folder.path.join("split.csv");
    if split.exists() {
        let text = fs::read_to_string(&split).context("read split.csv")?;
        fs::write(to.join("split.csv"), names.of_split(&text)).context("write split.csv")?;
    }
    Ok(())
}

/// New names by the old ones.
struct Names<'a> {
    batches: BTreeMap<&'a str, String>,
    cases: BTreeMap<[&'a str; 2], String>,
    stems: BTreeMap<[&'a str; 3], String>,
}

impl<'a> Names<'a> {
    fn of(folder: &'a Folder, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut name = move |odd: &str| format!("{:05x}{odd}", random.random_range(0..1 << 20));
        let mut names = Self {
            batches: BTreeMap::new(),
            cases: BTreeMap::new(),
            stems: BTreeMap::new(),
        };
        let mut used = BTreeSet::new();
        let mut fresh = |odd: &str| {
            loop {
                let it = name(odd);
                if used.insert(it.clone()) {
                    return it;
                }
            }
        };
        for image in &folder.images {
            let [batch, case] = [image.batch.as_str(), &image.case];
            names
                .batches
                .entry(batch)
                .or_insert_with(|| fresh("批次_a.b%"));
            names
                .cases
                .entry([batch, case])
                .or_insert_with(|| fresh("病 例%41.x"));
            let place = [batch, case, stem(&image.name)];
            names
                .stems
                .entry(place)
                .or_insert_with(|| fresh("细胞 图_%20.v1 a+b"));
        }
        names
    }

    /// The rows of split.csv with the new names; rows of cases without images are left out.
    fn of_split(&self, text: &str) -> String {
        let mut copy = String::from("batch,case,split\n");
        for row in table::rows(text) {
            let field = |name: &str| row.get(name).map_or("", |it| it.trim());
            let place = [field("batch"), field("case")];
            if let Some((batch, case)) = self.batches.get(place[0]).zip(self.cases.get(&place)) {
                // Writing into a text does not fail.
                let _ = writeln!(copy, "{batch},{case},{}", field("split"));
            }
        }
        copy
    }
}

/// Copies a file, and makes the folders that it is to lie in.
pub fn place_file(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}
