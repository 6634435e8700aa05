//! Which cells a network learns from, which decide, and which judge. Pure.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::boxes::BBox;
use cellmill_core::ids::sha256_hex;
use cellmill_core::split::{self, Group, Part, SplitRule};

/// What the split has to know of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// Of the image.
    pub(super) sha256: &'a str,
    pub(super) batch: &'a str,
    pub(super) case: &'a str,
    pub(super) crop: BBox,
    /// Index of its class.
    pub(super) class: usize,
    /// The part that its folder said.
    pub(super) part: Option<Part>,
    /// Its place in the predecessor's order: by chosen class, then as the list of cells has it.
    pub(super) legacy_place: (usize, usize),
}

/// How cells were dealt out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Of each cell.
    pub(super) parts: Vec<Part>,
    /// What stayed together: `case`, `image`, `cell`; `folder` where the folders decided alone.
    pub(super) unit: &'static str,
    /// What a reader should know.
    pub(super) notes: Vec<String>,
}

/// Why cells can't be dealt out as asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    #[error(
        "split `fixed` takes the parts that folders said, and no image of the data set has one\nhint: import a folder with `train` and `test` in it, or choose split `case`"
    )]
    NoParts,
    #[error(
        "none of the test cases {} is in the data set\nhint: name cases as `<batch>/<case>` or `<case>`, it has {}",
        listed(asked),
        listed(known)
    )]
    NoTestCase {
        asked: Vec<String>,
        known: Vec<String>,
    },
}

/// At most ten of them, for a message.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|it| format!("`{it}`")).collect();
    let more = if names.len() > shown.len() {
        ", .."
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

const THREE: [(Part, f64); 3] = [
    (Part::Train, 0.70),
    (Part::Validation, 0.15),
    (Part::Test, 0.15),
];
const TWO: [(Part, f64); 2] = [(Part::Train, 0.85), (Part::Validation, 0.15)];

/// Deals cells out. Neither names nor the order of cells decide, but for [`SplitRule::Legacy`].
pub(super) fn deal_out(
    cells: &[Member<'_>],
    rule: &SplitRule,
    n_classes: usize,
    seed: u64,
) -> Result<Split, SplitError> {
    let mut deal = Deal {
        cells,
        n_classes,
        seed,
        split: Split {
            parts: vec![Part::Train; cells.len()],
            unit: "cell",
            notes: Vec::new(),
        },
    };
    let all: Vec<usize> = (0..cells.len()).collect();
    match rule {
        SplitRule::Case => deal.among(&all, Unit::Case, &THREE, "the data"),
        SplitRule::Image => deal.among(&all, Unit::Image, &THREE, "the data"),
        SplitRule::Cases { test } => deal.cases(test)?,
        SplitRule::Fixed => deal.fixed()?,
        SplitRule::Legacy => deal.legacy(),
    }
    Ok(deal.split)
}

/// What stays together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Case,
    Image,
    Cell,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Image => "image",
            Self::Cell => "cell",
        }
    }

    const fn finer(self) -> Self {
        match self {
            Self::Case => Self::Image,
            Self::Image | Self::Cell => Self::Cell,
        }
    }

    /// Equal for cells that stay together. Images are told apart by content: a copy of an image stays beside it.
    fn key(self, cell: &Member<'_>) -> String {
        let BBox { x1, y1, x2, y2 } = cell.crop;
        match self {
            Self::Case => format!("{}/{}", cell.batch, cell.case),
            Self::Image => cell.sha256.to_owned(),
            Self::Cell => format!("{} {x1},{y1},{x2},{y2} {}", cell.sha256, cell.class),
        }
    }
}

struct Deal<'a> {
    cells: &'a [Member<'a>],
    n_classes: usize,
    seed: u64,
    split: Split,
}

impl Deal<'_> {
    /// Deals these cells into parts: by `unit`, or by a finer one when there are fewer of it than parts.
    fn among(&mut self, places: &[usize], unit: Unit, shares: &[(Part, f64)], of_what: &str) {
        let wanted = unit;
        let (mut unit, mut groups) = (unit, self.grouped(places, unit));
        while groups.len() < shares.len() && unit != Unit::Cell {
            let s = if groups.len() == 1 { "" } else { "s" };
            let (finer, n) = (unit.finer(), groups.len());
            self.split.notes.push(format!(
                "dealt out by {}: {of_what} has {n} {}{s}",
                finer.as_str(),
                unit.as_str()
            ));
            (unit, groups) = (finer, self.grouped(places, finer));
        }
        debug_assert!(wanted <= unit);
        let of_group = |(key, members): (&String, &Vec<usize>)| self.group(unit, key, members);
        let described: Vec<Group> = groups.iter().map(of_group).collect();
        let weights: Vec<f64> = shares.iter().map(|it| it.1).collect();
        let dealt = split::deal(&described, &weights, self.seed);
        for (members, part) in groups.values().zip(dealt) {
            for &at in members {
                self.split.parts[at] = shares[part].0;
            }
        }
        self.split.unit = unit.as_str();
    }

    fn grouped(&self, places: &[usize], unit: Unit) -> BTreeMap<String, Vec<usize>> {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for &at in places {
            groups
                .entry(unit.key(&self.cells[at]))
                .or_default()
                .push(at);
        }
        groups
    }

    fn group(&self, unit: Unit, key: &str, members: &[usize]) -> Group {
        let content = if unit == Unit::Cell {
            key.to_owned()
        } else {
            let images: BTreeSet<&str> = members.iter().map(|&it| self.cells[it].sha256).collect();
            images.into_iter().collect::<Vec<_>>().join("\n")
        };
        let mut counts = vec![0; self.n_classes];
        for &at in members {
            counts[self.cells[at].class] += 1;
        }
        let hash = sha256_hex(content.as_bytes());
        Group {
            digest: u64::from_str_radix(&hash[..16], 16).expect("a sha256 is written in hex"),
            counts,
        }
    }

    /// These cases judge, the others are dealt out.
    fn cases(&mut self, test: &[String]) -> Result<(), SplitError> {
        let names = |cell: &Member<'_>| {
            [
                format!("{}/{}", cell.batch, cell.case),
                cell.case.to_owned(),
            ]
        };
        let is_named = |cell: &Member<'_>| names(cell).iter().any(|it| test.contains(it));
        let (judges, rest): (Vec<usize>, Vec<usize>) =
            (0..self.cells.len()).partition(|&it| is_named(&self.cells[it]));
        if judges.is_empty() {
            let known: BTreeSet<String> =
                self.cells.iter().map(|it| names(it)[0].clone()).collect();
            return Err(SplitError::NoTestCase {
                asked: test.to_vec(),
                known: known.into_iter().collect(),
            });
        }
        let found: BTreeSet<String> = judges
            .iter()
            .flat_map(|&it| names(&self.cells[it]))
            .collect();
        let lost: Vec<String> = test
            .iter()
            .filter(|it| !found.contains(*it))
            .cloned()
            .collect();
        if !lost.is_empty() {
            self.split
                .notes
                .push(format!("no cells of the test cases {}", listed(&lost)));
        }
        for at in judges {
            self.split.parts[at] = Part::Test;
        }
        self.among(&rest, Unit::Case, &TWO, "the data beside the test cases");
        Ok(())
    }

    /// As the folders said.
    fn fixed(&mut self) -> Result<(), SplitError> {
        let of = |part: Option<Part>| -> Vec<usize> {
            let all = self.cells.iter().enumerate();
            all.filter(|it| it.1.part == part).map(|it| it.0).collect()
        };
        let (train, validation) = (of(Some(Part::Train)), of(Some(Part::Validation)));
        let (test, open) = (of(Some(Part::Test)), of(None));
        if open.len() == self.cells.len() {
            return Err(SplitError::NoParts);
        }
        if !open.is_empty() {
            self.split.notes.push(format!(
                "{} cells of images that no folder gave a part are learned from",
                open.len()
            ));
        }
        let learned: Vec<usize> = train.into_iter().chain(open).collect();
        // Where nothing was kept for the end, the validation part judges.
        let (judges, decides) = if test.is_empty() {
            (validation, Vec::new())
        } else {
            (test, validation)
        };
        if decides.is_empty() {
            self.among(&learned, Unit::Case, &TWO, "the train part");
        } else {
            self.split.unit = "folder";
        }
        for at in judges {
            self.split.parts[at] = Part::Test;
        }
        for at in decides {
            self.split.parts[at] = Part::Validation;
        }
        Ok(())
    }

    /// As the predecessor did.
    fn legacy(&mut self) {
        let mut order: Vec<usize> = (0..self.cells.len()).collect();
        order.sort_by_key(|&it| self.cells[it].legacy_place);
        let (test, _) = split::legacy(order.len());
        for at in test {
            self.split.parts[order[at]] = Part::Test;
        }
        self.split.notes.push(
            "split as the predecessor did: cells of one case are on both sides, and the last epoch counts".to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` cells of two classes in 3 images a case, named by what `name` makes of numbers.
    fn members<'a>(names: &'a [String], hashes: &'a [String], n: usize) -> Vec<Member<'a>> {
        let member = |at: usize| {
            let image = at * 7 % hashes.len();
            Member {
                sha256: &hashes[image],
                batch: "b",
                case: &names[image / 3],
                crop: BBox::new(at as u32, 0, at as u32 + 5, 5),
                class: usize::from(at.is_multiple_of(5)),
                part: None,
                legacy_place: (usize::from(at.is_multiple_of(5)), at),
            }
        };
        (0..n).map(member).collect()
    }

    fn named(n: usize, name: impl Fn(usize) -> String) -> Vec<String> {
        (0..n).map(name).collect()
    }

    fn hashes(n: usize) -> Vec<String> {
        named(n, |it| sha256_hex(&it.to_le_bytes()))
    }

    fn count(split: &Split, part: Part) -> usize {
        split.parts.iter().filter(|it| **it == part).count()
    }

    #[test]
    fn whole_cases_are_dealt_out_and_their_names_do_not_count() {
        let (hashes, cases) = (hashes(60), named(20, |it| format!("case{it:02}")));
        let cells = members(&cases, &hashes, 400);
        let split = deal_out(&cells, &SplitRule::Case, 2, 3).unwrap();
        assert_eq!((split.unit, split.notes.len()), ("case", 0));
        for case in &cases {
            let parts: BTreeSet<Part> = cells
                .iter()
                .zip(&split.parts)
                .filter(|it| it.0.case == case)
                .map(|it| *it.1)
                .collect();
            assert_eq!(parts.len(), 1, "{case}");
        }
        for (part, share) in THREE {
            let got = count(&split, part) as f64 / 400.0;
            assert!((got - share).abs() < 0.06, "{part:?}: {got}");
        }
        let renamed = named(20, |it| format!("{}", 900 - it));
        let again = deal_out(&members(&renamed, &hashes, 400), &SplitRule::Case, 2, 3).unwrap();
        assert_eq!(again, split);
        let other = deal_out(&cells, &SplitRule::Case, 2, 4).unwrap();
        assert_ne!(other.parts, split.parts, "the seed counts");
    }

    #[test]
    fn few_cases_are_dealt_out_by_image_and_few_images_by_cell() {
        let hashes = hashes(60);
        let one = vec!["only".to_owned(); 20];
        let split = deal_out(&members(&one, &hashes, 400), &SplitRule::Case, 2, 1).unwrap();
        assert_eq!(split.notes, ["dealt out by image: the data has 1 case"]);
        assert_eq!(split.unit, "image");
        let two = named(20, |it| format!("{}", it % 2));
        let split = deal_out(&members(&two, &hashes, 400), &SplitRule::Case, 2, 1).unwrap();
        assert_eq!(split.notes, ["dealt out by image: the data has 2 cases"]);
        let split = deal_out(&members(&two, &hashes[..2], 40), &SplitRule::Case, 2, 1).unwrap();
        assert_eq!(split.unit, "cell");
        assert_eq!(split.notes[1], "dealt out by cell: the data has 2 images");
        assert!(Part::ALL.iter().all(|&it| count(&split, it) > 0));
    }

    #[test]
    fn named_cases_judge_and_no_other() {
        let (hashes, cases) = (hashes(60), named(20, |it| format!("case{it:02}")));
        let cells = members(&cases, &hashes, 400);
        let rule = |test: &[&str]| SplitRule::Cases {
            test: test.iter().map(|it| (*it).to_owned()).collect(),
        };
        let split = deal_out(&cells, &rule(&["case03", "b/case07", "gone"]), 2, 1).unwrap();
        for (cell, part) in cells.iter().zip(&split.parts) {
            assert_eq!(
                *part == Part::Test,
                ["case03", "case07"].contains(&cell.case)
            );
        }
        assert!(count(&split, Part::Validation) > 30);
        assert_eq!(split.notes, ["no cells of the test cases `gone`"]);
        let error = deal_out(&cells, &rule(&["gone"]), 2, 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`gone`") && error.contains("`b/case00`"),
            "{error}"
        );
    }

    #[test]
    fn folders_decide_and_what_they_lack_is_dealt_out() {
        let (hashes, cases) = (hashes(60), named(20, |it| format!("case{it:02}")));
        let with = |parts: [Option<Part>; 3]| {
            let mut cells = members(&cases, &hashes, 400);
            for (at, cell) in cells.iter_mut().enumerate() {
                cell.part = parts[at % 3];
            }
            (deal_out(&cells, &SplitRule::Fixed, 2, 1), cells)
        };
        let [train, validation, test] = Part::ALL.map(Some);
        let (split, cells) = with([train, validation, test]);
        let split = split.unwrap();
        assert!(
            cells
                .iter()
                .zip(&split.parts)
                .all(|it| it.0.part == Some(*it.1))
        );
        assert_eq!(split.unit, "folder");

        let (split, cells) = with([train, train, validation]);
        let split = split.unwrap();
        for (cell, part) in cells.iter().zip(&split.parts) {
            assert_eq!(*part == Part::Test, cell.part == validation);
        }
        assert!(count(&split, Part::Validation) > 20 && split.unit == "case");

        let (split, _) = with([train, None, None]);
        let split = split.unwrap();
        assert_eq!(count(&split, Part::Test), 0, "nothing judges");
        assert!(split.notes[0].contains("266 cells"), "{:?}", split.notes);
        assert_eq!(with([None; 3]).0.unwrap_err(), SplitError::NoParts);
    }

    #[test]
    fn the_legacy_split_is_that_of_the_predecessor() {
        let (hashes, cases) = (hashes(60), named(20, |it| format!("case{it:02}")));
        let split = deal_out(&members(&cases, &hashes, 10), &SplitRule::Legacy, 2, 1).unwrap();
        // Cells 0 and 5 are of the second class, so the order is 1 2 3 4 6 7 8 9 0 5; 8 and 1 are drawn.
        let test: Vec<usize> = (0..10)
            .filter(|&it| split.parts[it] == Part::Test)
            .collect();
        assert_eq!(test, [0, 2]);
        assert_eq!(count(&split, Part::Validation), 0);
    }

    #[test]
    fn two_cells_leave_parts_empty() {
        let (hashes, cases) = (hashes(3), named(1, |_| "c".to_owned()));
        let split = deal_out(&members(&cases, &hashes, 2), &SplitRule::Case, 2, 1).unwrap();
        assert_eq!(split.parts.len(), 2);
        assert_eq!(deal_out(&[], &SplitRule::Case, 2, 1).unwrap().parts, []);
    }
}
