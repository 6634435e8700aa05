//! Which data sets wanted an image and left it out.

use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{ImageKey, JobKind, NumberKind, ObjectKey, UnitKey};
use cellmill_core::unit::UnitRecord;
use futures::TryStreamExt as _;
use serde_json::Value;

use crate::edge::Error;
use crate::parts::App;
use crate::routes::documents::read_or_skip;
use crate::routes::jobs::{Counted, counted_jobs, numbers, open_units};

/// The newest data sets that are looked at: one read each.
const MAX_DATASETS: usize = 50;
/// Failed units whose rejected images are read, of a data set without a result.
const MAX_UNITS: usize = 16;

/// A sentence for each data set that chose the image's case and did not take the image.
pub(super) async fn left_out(app: &App, image: &ImageKey) -> Result<Vec<String>, Error> {
    let mut numbers = numbers(&app.store, NumberKind::Datasets).await?;
    let n_older = numbers.len().saturating_sub(MAX_DATASETS);
    numbers.truncate(MAX_DATASETS);
    let counted = numbers.iter().map(|it| Counted::new(JobKind::Data, *it));
    let jobs: Vec<_> = counted_jobs(&app.store, counted.collect())
        .try_collect()
        .await?;
    let mut told = Vec::new();
    for job in jobs
        .iter()
        .map(|it| &it.value)
        .filter(|it| chose(it, image))
    {
        let why = match &job.result {
            Some(result) => in_result(result, &image.to_path()),
            None => in_units(app, job, &image.to_path()).await?,
        };
        told.extend(why.map(|it| format!("data set `{}` left it out: {it}", job.dir)));
    }
    if n_older > 0 {
        told.push(format!(
            "only the newest {MAX_DATASETS} data sets were looked at, {n_older} older ones were not"
        ));
    }
    Ok(told)
}

/// Did somebody choose the image's case?
fn chose(job: &JobRecord, image: &ImageKey) -> bool {
    let JobParameters::Data(parameters) = &job.parameters else {
        return false;
    };
    parameters.batches.contains(&image.batch)
        && (parameters.cases.is_empty() || parameters.cases.contains(&image.case))
}

/// The reason among those that a result lists; it lists the first hundred.
fn in_result(result: &Value, image: &str) -> Option<String> {
    let lists = ["rejected", "left_out"].into_iter();
    let items = lists.filter_map(|it| result[it].as_array()).flatten();
    let item = items.into_iter().find(|it| it["key"] == image);
    if let Some(item) = item {
        return Some(item["reason"].as_str().unwrap_or_default().to_owned());
    }
    let has_more = [("rejected", "n_rejected"), ("left_out", "n_left_out")]
        .into_iter()
        .any(|(list, n)| {
            let listed = result[list].as_array().map_or(0, Vec::len) as u64;
            result[n].as_u64().is_some_and(|it| it > listed)
        });
    has_more
        .then(|| "perhaps; its result names the first hundred only, its log names all".to_owned())
}

/// The reason in the records of units that are worked on or failed.
async fn in_units(app: &App, job: &JobRecord, image: &str) -> Result<Option<String>, Error> {
    let mut units = open_units(&app.store, job).await?;
    let failed = (0..job.units.count).filter(|it| job.units.failed.contains(*it));
    for unit in failed.take(MAX_UNITS) {
        let key = ObjectKey::Unit(UnitKey {
            dir: job.dir.clone(),
            kind: job.kind,
            unit,
        });
        units.extend(read_or_skip::<UnitRecord>(&app.store, &key).await?);
    }
    let mut rejected = units.iter().flat_map(|it| &it.value.rejected);
    let found = rejected.find(|it| it.key == image);
    Ok(found.map(|it| it.reason.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_names_the_reason_or_says_that_it_names_not_all() {
        let result = json!({
            "rejected": [{"key": "img/a", "code": "c", "reason": "it changed"}], "n_rejected": 1,
            "left_out": [{"key": "img/b", "reason": "no label"}], "n_left_out": 1,
        });
        assert_eq!(in_result(&result, "img/a").unwrap(), "it changed");
        assert_eq!(in_result(&result, "img/b").unwrap(), "no label");
        assert_eq!(in_result(&result, "img/c"), None);
        let result = json!({"rejected": [], "n_rejected": 7});
        assert!(in_result(&result, "img/c").unwrap().starts_with("perhaps"));
    }
}
