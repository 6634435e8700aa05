//! The tables of a training: which cell was used for what, and what was said of it.

use cellmill_core::formats::{LabelRow, write_labels};
use cellmill_core::keys::ProjectFolder;
use cellmill_core::split::Part;

use super::catalogue::Catalogue;
use super::cells::folder_of;

/// What the network says of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// Index of a class.
    pub(super) class: usize,
    /// Calibrated, 0 to 1.
    pub(super) score: f64,
}

/// `split.csv`: image, cell, class, part, predicted, score, in the order of the list of cells. Cells without an answer
/// could not be read and have no row.
pub(super) fn split_table(
    catalogue: &Catalogue,
    parts: &[Part],
    answers: &[Option<Answer>],
    types: &[u32],
) -> Vec<u8> {
    const TO_MEMORY: &str = "a vector takes any number of rows of six fields";
    let mut out = csv::WriterBuilder::new().from_writer(Vec::new());
    let header = ["image", "cell", "class", "part", "predicted", "score"];
    out.write_record(header).expect(TO_MEMORY);
    for at in catalogue.listed() {
        let Some(answer) = answers[at] else { continue };
        let row = [
            catalogue.image(at).key.as_str(),
            &catalogue.cell(at).name,
            &types[catalogue.cells[at].class].to_string(),
            parts[at].as_str(),
            &types[answer.class].to_string(),
            &format!("{:.4}", answer.score),
        ];
        out.write_record(row).expect(TO_MEMORY);
    }
    out.into_inner().expect(TO_MEMORY)
}

/// `train_labels.csv` or `test_labels.csv`.
pub(super) fn labels_table(
    catalogue: &Catalogue,
    parts: &[Part],
    answers: &[Option<Answer>],
    types: &[u32],
    folder: ProjectFolder,
) -> Vec<u8> {
    let is_in = |at: &usize| folder_of(parts[*at]) == folder && answers[*at].is_some();
    let rows: Vec<LabelRow> = catalogue
        .listed()
        .into_iter()
        .filter(is_in)
        .map(|at| {
            let label = types[catalogue.cells[at].class];
            LabelRow {
                file: format!("{label}/{}", catalogue.cell(at).name),
                label,
            }
        })
        .collect();
    write_labels(&rows)
}
