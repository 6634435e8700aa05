//! What an import of class folders did: one value, shown as tables or as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::table::Table;
use crate::cli::{Console, Error};

use super::class_folders::{ClassPlan, Told};
use super::class_ids::ClassIds;
use super::report::Report;

/// The summary.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FolderReport {
    #[serde(flatten)]
    pub(super) report: Report,
    pub(super) batch: String,
    pub(super) label_type: String,
    /// The label type was made by this import, or would be.
    pub(super) label_type_is_new: bool,
    /// Files beside the class folders.
    pub(super) passed_over: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) folders: Vec<FolderRow>,
}

/// One class folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FolderRow {
    pub(super) part: Option<String>,
    /// As the folder is called.
    pub(super) class: String,
    pub(super) id: u32,
    pub(super) images: u64,
    pub(super) labelled: u64,
    /// Images that are not labelled: see the problems.
    pub(super) failed: u64,
}

/// Counts by folder; `is_labelled` says how an image ended, `None` when nothing was done.
pub(super) fn rows(
    plan: &ClassPlan,
    ids: &ClassIds,
    is_labelled: impl Fn(&str) -> Option<bool>,
) -> Vec<FolderRow> {
    let mut rows: BTreeMap<&Told, FolderRow> = BTreeMap::new();
    for (key, told) in &plan.images {
        let row = rows.entry(told).or_insert_with(|| FolderRow {
            part: told.part.clone(),
            class: told.class.clone(),
            id: ids.ids.get(&told.class).copied().unwrap_or_default(),
            images: 0,
            labelled: 0,
            failed: 0,
        });
        row.images += 1;
        match is_labelled(key) {
            Some(true) => row.labelled += 1,
            Some(false) => row.failed += 1,
            None => {}
        }
    }
    rows.into_values().collect()
}

impl FolderReport {
    pub(super) fn show(&self, console: &mut Console) -> Result<(), Error> {
        console.line(self.report.summary(console))?;
        let mut table = Table::new(["part", "folder", "class", "images", "labelled", "failed"]);
        for row in &self.folders {
            table.row([
                row.part.clone().unwrap_or_default(),
                row.class.clone(),
                row.id.to_string(),
                row.images.to_string(),
                row.labelled.to_string(),
                row.failed.to_string(),
            ]);
        }
        console.line("")?;
        console.line(table.render())?;
        self.report.show_problems(console)?;
        let made = match (self.label_type_is_new, self.report.dry_run) {
            (true, false) => ", made by this import",
            (true, true) => ", which would be made",
            (false, _) => "",
        };
        console.line(format_args!(
            "\nbatch {}, label type {}{made}",
            self.batch, self.label_type
        ))?;
        if !self.passed_over.is_empty() {
            console.line(format_args!("passed over: {}", self.passed_over.join(", ")))?;
        }
        for note in &self.notes {
            console.line(format_args!("note: {note}"))?;
        }
        if !self.report.dry_run {
            console.line(format_args!(
                "next: cellmill dataset create --type 3 --batch {} --wait",
                self.batch
            ))?;
        }
        Ok(())
    }
}
