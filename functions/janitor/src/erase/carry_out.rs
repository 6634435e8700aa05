//! Carrying an erasure out, so that it can be killed at any point and begun again.

use std::collections::BTreeSet;
use std::sync::Arc;

use cellmill_core::document::Stamp;
use cellmill_core::erase::{Case, ErasedCounts, Erasure};
use cellmill_core::ids::{Dir, UlidText};
use cellmill_core::job::JobRecord;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, Prefix};
use cellmill_core::records::AuditEntry;
use cellmill_store::uploads::{PartUploads, Sessions};
use cellmill_store::versions::PurgeVersions;
use cellmill_store::{Decision, Error as StoreError, Store};
use chrono::Datelike as _;
use serde_json::json;

use super::{Found, Plan, Refusal, decide, look};
use crate::retention::delete_all;

/// What an erasure works with.
#[derive(Clone, Debug)]
pub struct EraseCase {
    pub store: Store,
    pub uploads: Arc<dyn PartUploads>,
    /// Where the home keeps what was deleted. A folder keeps nothing.
    pub versions: Option<Arc<dyn PurgeVersions>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(Refusal),
    #[error("erasing the case; what is left goes when the same command runs again")]
    Store(#[source] StoreError),
    #[error(
        "everything of the case is deleted, but the bucket keeps earlier versions that can't be removed; run the same command again with the rights s3:ListBucketVersions and s3:DeleteObjectVersion"
    )]
    Versions(#[source] StoreError),
    #[error(
        "{n_left} objects of case {case} came while it was erased; run the same command again when nothing of it arrives any more"
    )]
    Arriving { case: Case, n_left: u64 },
}

impl EraseCase {
    /// What would be removed. Nothing is changed.
    pub async fn plan(&self, case: &Case, with_datasets: bool) -> Result<Plan, Error> {
        let seen = look(&self.store, case).await.map_err(Error::Store)?;
        decide(case, seen, with_datasets).map_err(Error::Refused)
    }

    /// Removes what the plan names. Killed at any point, the next plan of the same case has the rest.
    pub async fn perform(&self, plan: &Plan, by: &str) -> Result<Erasure, Error> {
        let erasure = self.begin(plan, by).await.map_err(Error::Store)?;
        for (kind, dir) in &plan.jobs {
            self.mark(*kind, dir, plan, by).await?;
        }
        self.delete(plan).await.map_err(Error::Store)?;
        self.purge(&erasure).await.map_err(Error::Versions)?;
        self.check(&plan.case).await?;
        self.end(erasure).await.map_err(Error::Store)
    }

    /// Writes the tombstone, or takes up the one that is there.
    async fn begin(&self, plan: &Plan, by: &str) -> Result<Erasure, StoreError> {
        let audit = self.store.fresh_id().to_string();
        let fresh = Erasure {
            stamp: Stamp::default(),
            case: plan.case.clone(),
            by: by.to_owned(),
            begun: self.store.now(),
            audit: UlidText::parse(&audit).expect("a ULID prints as 26 capitals and digits"),
            counts: plan.counts,
            datasets: plan.datasets.clone(),
            projects: plan.projects.clone(),
            models: plan.models.clone(),
            ended: None,
        };
        let swapped = self
            .store
            .swap::<Erasure>(&tombstone(&plan.case), |stored| match stored {
                Some(begun) if begun.ended.is_none() => Decision::Write(taken_up(begun, &fresh)),
                _ => Decision::Write(fresh.clone()),
            })
            .await?;
        Ok(swapped.stored.map_or(fresh, |it| it.value))
    }

    async fn mark(&self, kind: JobKind, dir: &Dir, plan: &Plan, by: &str) -> Result<(), Error> {
        let now = self.store.now();
        let swapped = self
            .store
            .swap::<JobRecord>(&ObjectKey::job(kind, dir), |stored| {
                match stored.and_then(|it| it.erase(&plan.case, by, now)) {
                    Some(next) => Decision::Write(next),
                    None => Decision::Keep,
                }
            })
            .await
            .map_err(Error::Store)?;
        match swapped.stored {
            // Retried since the look.
            Some(job) if !job.value.state.is_ended() => Err(Error::Refused(Refusal::Active {
                case: plan.case.clone(),
                jobs: vec![format!("{} {dir}", kind.as_str())],
            })),
            _ => Ok(()),
        }
    }

    /// What leads to other things goes after them: snapshots after what they name, records after thumbnails.
    async fn delete(&self, plan: &Plan) -> Result<(), StoreError> {
        let sessions = Sessions {
            store: self.store.clone(),
            home: Arc::clone(&self.uploads),
        };
        for (id, found) in &plan.uploads {
            sessions.remove(id, &keys(found)).await?;
        }
        let all = plan.own.iter().chain(&plan.of_jobs);
        let of_turn = |turn: Turn| {
            let keys = all.clone().map(|it| &it.key);
            keys.filter(move |it| Turn::of(it) == turn).cloned()
        };
        // Photographs first, or they would be taken for new ones without a record.
        delete_all(&self.store, &of_turn(Turn::Source).collect::<Vec<_>>()).await?;
        delete_all(&self.store, &keys(&plan.cached)).await?;
        delete_all(&self.store, &of_turn(Turn::Derived).collect::<Vec<_>>()).await?;
        delete_all(&self.store, &of_turn(Turn::Guide).collect::<Vec<_>>()).await
    }

    /// Removes earlier versions, of what was removed in earlier runs as well.
    async fn purge(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let Some(versions) = &self.versions else {
            return Ok(());
        };
        let case = &erasure.case;
        let mut folders = Prefix::folders_of_case(&case.batch, &case.case);
        let datasets = erasure.datasets.iter();
        folders.extend(datasets.map(|it| Prefix::Dataset(it.clone()).to_path()));
        let projects = erasure.projects.iter();
        folders.extend(projects.map(|it| Prefix::Project(it.clone()).to_path()));
        let with_units = erasure.datasets.iter().chain(&erasure.projects);
        folders.extend(with_units.map(|it| Prefix::UnitsOfJob(it.clone()).to_path()));
        let mut n_removed = 0;
        for folder in &folders {
            n_removed += versions.purge(folder, &|_| true).await?;
        }
        let of = case.clone();
        let is_of_case = move |key: &str| match ObjectKey::parse(key) {
            Ok(Some(ObjectKey::Points(key) | ObjectKey::PointsRecord(key))) => of.has_points(&key),
            _ => false,
        };
        for batch in [
            Prefix::PointsOfBatch(case.batch.clone()),
            Prefix::PointsRecordsOfBatch(case.batch.clone()),
        ] {
            n_removed += versions.purge(&batch.to_path(), &is_of_case).await?;
        }
        tracing::info!(case = %case, n_removed, "earlier versions removed");
        Ok(())
    }

    /// Looks once more: something may have arrived meanwhile.
    async fn check(&self, case: &Case) -> Result<(), Error> {
        let left = self.plan(case, true).await?;
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::Arriving {
            case: case.clone(),
            n_left: left.counts.n_objects,
        })
    }

    /// Writes the audit entry, once, and ends the tombstone.
    async fn end(&self, erasure: Erasure) -> Result<Erasure, StoreError> {
        let at = erasure.begun;
        let key = ObjectKey::Audit {
            year: at.year() as u16,
            month: at.month() as u8,
            day: at.day() as u8,
            id: erasure.audit.clone(),
        };
        let ErasedCounts {
            n_images,
            n_objects,
            bytes,
        } = erasure.counts;
        let entry = AuditEntry {
            stamp: Stamp::default(),
            at,
            by: erasure.by.clone(),
            action: "case.erase".to_owned(),
            subject: erasure.case.to_string(),
            details: json!({
                "n_images": n_images,
                "n_objects": n_objects,
                "bytes": bytes,
                "datasets": erasure.datasets,
                "projects": erasure.projects,
                "models": erasure.models,
            }),
        };
        self.store.create(&key, entry).await?;
        let ended = self.store.now();
        let swapped = self
            .store
            .swap::<Erasure>(&tombstone(&erasure.case), |stored| match stored {
                Some(it) if it.ended.is_none() => Decision::Write(Erasure {
                    ended: Some(ended),
                    ..it.clone()
                }),
                _ => Decision::Keep,
            })
            .await?;
        Ok(swapped.stored.map_or(erasure, |it| it.value))
    }
}

/// When a key is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Source,
    Derived,
    /// What a look goes by.
    Guide,
}

impl Turn {
    fn of(key: &str) -> Self {
        match ObjectKey::parse(key) {
            Ok(Some(ObjectKey::Image(_) | ObjectKey::Points(_))) => Self::Source,
            Ok(Some(
                ObjectKey::ImageRecord(_)
                | ObjectKey::PointsRecord(_)
                | ObjectKey::Dataset(_, DatasetFile::Snapshot),
            )) => Self::Guide,
            _ => Self::Derived,
        }
    }
}

fn tombstone(case: &Case) -> ObjectKey {
    ObjectKey::Erasure(case.batch.clone(), case.case.clone())
}

/// An erasure that goes on, with what was found since.
fn taken_up(begun: &Erasure, now: &Erasure) -> Erasure {
    let both = |a: &[Dir], b: &[Dir]| {
        let all: BTreeSet<&Dir> = a.iter().chain(b).collect();
        all.into_iter().cloned().collect()
    };
    let models: BTreeSet<&String> = begun.models.iter().chain(&now.models).collect();
    Erasure {
        datasets: both(&begun.datasets, &now.datasets),
        projects: both(&begun.projects, &now.projects),
        models: models.into_iter().cloned().collect(),
        ..begun.clone()
    }
}

fn keys(found: &[Found]) -> Vec<String> {
    found.iter().map(|it| it.key.clone()).collect()
}
