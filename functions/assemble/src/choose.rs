//! Which images a data set is made of.

use std::collections::BTreeMap;

use cellmill_core::ids::{BatchId, CaseId, PointsDate, Stem};
use cellmill_core::job::DataParameters;
use cellmill_core::keys::{CsvKey, ImageKey, ImageRoot, ObjectKey, Prefix};
use cellmill_store::{Error, Store};
use futures::TryStreamExt as _;

/// All recorded images of the chosen batches and cases, ascending by (batch, case, root, name).
pub(crate) async fn images(
    store: &Store,
    parameters: &DataParameters,
) -> Result<Vec<ImageKey>, Error> {
    let mut chosen = Vec::new();
    for batch in &parameters.batches {
        for root in ImageRoot::ALL {
            for prefix in prefixes(root, batch, &parameters.cases) {
                let mut records = store.list(&prefix.to_path());
                while let Some(listed) = records.try_next().await? {
                    if let Ok(Some(ObjectKey::ImageRecord(key))) = ObjectKey::parse(&listed.key) {
                        chosen.push(key);
                    }
                }
            }
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

fn prefixes(root: ImageRoot, batch: &BatchId, cases: &[CaseId]) -> Vec<Prefix> {
    if cases.is_empty() {
        return vec![Prefix::ImageRecordsOfBatch(root, batch.clone())];
    }
    cases
        .iter()
        .map(|case| Prefix::ImageRecordsOfCase(root, batch.clone(), case.clone()))
        .collect()
}

/// The CSVs of the chosen batches: one listing instead of a question for each image.
#[derive(Debug, Default)]
pub(crate) struct PointsIndex {
    latest: BTreeMap<(BatchId, CaseId, Stem), PointsDate>,
}

impl PointsIndex {
    pub(crate) async fn read(store: &Store, parameters: &DataParameters) -> Result<Self, Error> {
        let mut index = Self::default();
        for batch in &parameters.batches {
            let mut listed = store.list(&Prefix::PointsOfBatch(batch.clone()).to_path());
            while let Some(it) = listed.try_next().await? {
                if let Ok(Some(ObjectKey::Points(key))) = ObjectKey::parse(&it.key) {
                    index.add(key);
                }
            }
        }
        Ok(index)
    }

    fn add(&mut self, key: CsvKey) {
        let CsvKey {
            batch,
            date,
            case,
            stem,
        } = key;
        let latest = self
            .latest
            .entry((batch, case, stem))
            .or_insert_with(|| date.clone());
        if cellmill_core::label::is_later(&date, latest) {
            *latest = date;
        }
    }

    /// The CSV of the latest date for an image with this original name.
    pub(crate) fn of(&self, image: &ImageKey, original_name: &str) -> Option<CsvKey> {
        let stem = Stem::of_original(original_name).ok()?;
        let found = (image.batch.clone(), image.case.clone(), stem);
        let date = self.latest.get(&found)?.clone();
        let (batch, case, stem) = found;
        Some(CsvKey {
            batch,
            date,
            case,
            stem,
        })
    }
}

/// What to tell whoever asked for a data set of nothing.
pub(crate) fn why_empty(parameters: &DataParameters) -> String {
    let batches: Vec<&str> = parameters.batches.iter().map(BatchId::as_str).collect();
    let cases: Vec<&str> = parameters.cases.iter().map(CaseId::as_str).collect();
    let of_cases = if cases.is_empty() {
        String::new()
    } else {
        format!(", cases `{}`", cases.join("`, `"))
    };
    let of_type = parameters
        .label_type
        .as_ref()
        .map_or_else(String::new, |it| format!(", with a label of type `{it}`"));
    format!(
        "no usable image in batches `{}`{of_cases}{of_type}; import images first, or look with `cellmill images` why they were rejected",
        batches.join("`, `")
    )
}
