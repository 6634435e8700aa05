//! The sweep over `img/`, `scratch/img/` and `csv/` against `records/`: finds files whose event was lost,
//! or which a person copied in while nobody watched.

use cellmill_core::keys::{ImageRoot, ObjectKey, Prefix};
use cellmill_core::records::{ImageRecord, PointsRecord, PointsState, StemRecord};
use cellmill_store::{Error, Listed, Store};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{Action, What};

/// One slice of the sweep.
#[derive(Clone, Debug)]
pub struct SweepImages {
    /// Go on behind this key; `None` begins anew.
    pub from: Option<String>,
    /// Look at no more objects than this.
    pub budget: usize,
}

impl SweepImages {
    /// Everything, in one go: what a standalone does when it starts.
    pub const fn everything() -> Self {
        Self {
            from: None,
            budget: usize::MAX,
        }
    }
}

/// What a slice found.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    pub actions: Vec<Action>,
    pub n_objects: usize,
    /// Where the next slice begins; `None` when everything was seen.
    pub next: Option<String>,
}

/// Records read at once: each is one small read, so the wait for storage is what costs.
const PARALLEL_READS: usize = 32;

pub(crate) async fn plan(store: &Store, sweep: &SweepImages) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    for prefix in prefixes() {
        let from = match &sweep.from {
            // A prefix before the cursor's was finished by an earlier slice.
            Some(from) if !from.starts_with(&prefix) && order(from) > order(&prefix) => continue,
            Some(from) if from.starts_with(&prefix) => Some(from.clone()),
            _ => None,
        };
        let left = sweep.budget - swept.n_objects;
        let listing = match &from {
            Some(from) => store.list_from(&prefix, from),
            None => store.list(&prefix),
        };
        let mut checked = listing
            .take(left)
            .map_ok(|listed| async move { Ok((listed.key.clone(), check(store, &listed).await?)) })
            .try_buffered(PARALLEL_READS);
        let mut last = None;
        while let Some((key, action)) = checked.try_next().await? {
            swept.n_objects += 1;
            swept.actions.extend(action);
            last = Some(key);
        }
        if swept.n_objects >= sweep.budget {
            swept.next = last;
            return Ok(swept);
        }
    }
    Ok(swept)
}

/// Images first, so that points find theirs.
fn prefixes() -> [String; 3] {
    [
        Prefix::Images(ImageRoot::Hospital).to_path(),
        Prefix::Images(ImageRoot::Upload).to_path(),
        Prefix::Points.to_path(),
    ]
}

fn order(key: &str) -> usize {
    prefixes()
        .iter()
        .position(|prefix| key.starts_with(prefix.as_str()))
        .unwrap_or(usize::MAX)
}

async fn check(store: &Store, listed: &Listed) -> Result<Option<Action>, Error> {
    // A listing does not tell the ETag of what is named like a document.
    let etag = match &listed.etag {
        Some(etag) => Some(etag.clone()),
        None => store.head(&listed.key).await?.map(|it| it.etag),
    };
    match ObjectKey::parse(&listed.key) {
        Ok(Some(ObjectKey::Image(key))) => {
            let record = store
                .read::<ImageRecord>(&ObjectKey::ImageRecord(key))
                .await?;
            let why = match record {
                None => "no record of it",
                Some(record) if record.value.speaks_of(etag.as_deref()) => return Ok(None),
                Some(_) => "its bytes are newer than its record",
            };
            Ok(Some(Action {
                what: What::Ingest {
                    key: listed.key.clone(),
                },
                why: why.to_owned(),
            }))
        }
        Ok(Some(ObjectKey::Points(key))) => {
            let record = store
                .read::<PointsRecord>(&ObjectKey::PointsRecord(key.clone()))
                .await?;
            let why = match record {
                None => "no record of it",
                Some(record) if record.value.etag != etag => "its bytes are newer than its record",
                Some(record) if record.value.state == PointsState::Waiting => {
                    let stem = store
                        .read::<StemRecord>(&ObjectKey::StemRecord(key.stem_key()))
                        .await?;
                    if stem.is_none_or(|it| it.value.images.is_empty()) {
                        return Ok(None);
                    }
                    "it waits for an image that is here"
                }
                Some(_) => return Ok(None),
            };
            Ok(Some(Action {
                what: What::Label {
                    key: listed.key.clone(),
                },
                why: why.to_owned(),
            }))
        }
        _ => Ok(None),
    }
}
