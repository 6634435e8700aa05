//! The numbers of info.json and info2.json, counted while cellslist.csv is written.

use std::collections::{BTreeMap, BTreeSet};

use super::cells_list::CellsListRow;
use super::dataset::{ClassCount, DatasetInfo};
use crate::classes::Polarity;

/// Counts over the rows of a cellslist.csv, in memory that grows with images and cases, not with cells.
///
/// As documented, batches, cases and images count when they have a row. The two kinds of images are counted as they were
/// meant: an image is positive (`fovpcnt`) when one of its cells has a positive class, negative (`fovncnt`) when one has
/// a negative class and none a positive one. (The predecessor compared numbers with texts and always wrote 0.) Images
/// and rows whose classes are neither, such as 100, are in neither count.
#[derive(Clone, Debug, Default)]
pub struct DatasetCounts {
    batches: BTreeSet<String>,
    cases: BTreeSet<String>,
    /// The most severe finding of each image.
    images: BTreeMap<String, Option<Polarity>>,
    rows_of_class: BTreeMap<u32, u64>,
    rows_of_finding: BTreeMap<Polarity, u64>,
}

impl DatasetCounts {
    /// Counts a row; `polarity` is that of its class.
    pub fn add(&mut self, row: &CellsListRow, polarity: Option<Polarity>) {
        insert(&mut self.batches, &row.batchid);
        insert(&mut self.cases, &row.medicalid);
        let path = row.imgpath.as_ref().unwrap_or(&row.imgname);
        if let Some(worst) = self.images.get_mut(path) {
            *worst = (*worst).max(polarity);
        } else {
            self.images.insert(path.clone(), polarity);
        }
        *self.rows_of_class.entry(row.celltype).or_default() += 1;
        if let Some(polarity) = polarity {
            *self.rows_of_finding.entry(polarity).or_default() += 1;
        }
    }

    /// The images that have rows, ascending by key.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// Rows per class, ascending by class.
    pub fn types(&self) -> Vec<ClassCount> {
        self.rows_of_class
            .iter()
            .map(|(&celltype, &labelcnt)| ClassCount { celltype, labelcnt })
            .collect()
    }

    /// Sets the counts of an info. Its lists and totals stay as they are.
    pub fn fill(&self, info: &mut DatasetInfo) {
        let images_of = |finding| {
            self.images
                .values()
                .filter(|it| **it == Some(finding))
                .count() as u64
        };
        let rows_of = |finding| self.rows_of_finding.get(&finding).copied().unwrap_or(0);
        info.batchcnt = self.batches.len() as u64;
        info.medicalcnt = self.cases.len() as u64;
        info.fovcnt = self.images.len() as u64;
        info.fovncnt = images_of(Polarity::Negative);
        info.fovpcnt = images_of(Polarity::Positive);
        info.labelncnt = rows_of(Polarity::Negative);
        info.labelpcnt = rows_of(Polarity::Positive);
        info.labelcnt = self.rows_of_class.values().sum();
        info.types = self.types();
    }
}

/// Without a copy for each of a million rows.
fn insert(set: &mut BTreeSet<String>, text: &str) {
    if !set.contains(text) {
        set.insert(text.to_owned());
    }
}
