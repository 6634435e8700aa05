//! Periodic trainings: a label type's images, learned again when the last training is old enough.
//!
//! Such a training only proposes its model. Collect adopts it when it is not worse than the one in use.

use std::collections::{BTreeMap, BTreeSet};

use cellmill_core::formats::ProjectKeys;
use cellmill_core::ids::{BatchId, Dir, TableName, sha256_hex};
use cellmill_core::job::{DataParameters, DataType, JobParameters};
use cellmill_core::keys::{ImageRoot, JobKind, ModelKey, ModelKind, NumberKind, ObjectKey, Prefix};
use cellmill_core::label::{LabelDocument, LabelType, fold};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::{LabelTypeSettings, Named, PeriodicTraining};
use cellmill_core::split::SplitRule;
use cellmill_core::training::{NetworkSettings, TrainParameters};
use cellmill_queue::hints;
use cellmill_store::accept::{AcceptError, Submission};
use cellmill_store::{Decision, Store, Versioned};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{Action, Error, Janitor, What};

/// Who asks for such trainings.
const BY: &str = "janitor";
/// A whole image is kept in this square, in pixels.
const IMAGE_SIDE: u32 = 128;
/// Side of the network's input.
const NETWORK_SIDE: u32 = 96;
/// Fewer images of a class teach nothing that could be judged.
const MIN_IMAGES_OF_A_CLASS: u64 = 4;
const PARALLEL_READS: usize = 32;

type Settings = Named<LabelTypeSettings>;

/// Label types whose training is due, or was asked for.
pub(crate) async fn plan(store: &Store) -> Result<Vec<Action>, cellmill_store::Error> {
    let listed: Vec<_> = store
        .list(&Prefix::LabelTypes.to_path())
        .try_collect()
        .await?;
    let mut actions = Vec::new();
    for it in listed {
        let Ok(Some(ObjectKey::LabelType(name))) = ObjectKey::parse(&it.key) else {
            continue;
        };
        let Some(settings) = store.read::<Settings>(&it.key).await? else {
            continue;
        };
        if let Some(why) = why_due(&settings.value.value, store.now()) {
            actions.push(Action {
                what: What::Train { label_type: name },
                why,
            });
        }
    }
    Ok(actions)
}

/// Why a training is due; `None`: it isn't.
pub(crate) fn why_due(settings: &LabelTypeSettings, now: DateTime<Utc>) -> Option<String> {
    if !is_of_whole_images(settings) {
        return None;
    }
    if settings.train_now {
        return Some("somebody asked for it".to_owned());
    }
    let days = settings.training_interval_days?;
    match &settings.last_training {
        None => Some("it was never trained".to_owned()),
        Some(last) if now - last.at >= TimeDelta::days(i64::from(days)) => {
            Some(format!("the last training is {days} days old"))
        }
        Some(_) => None,
    }
}

fn is_of_whole_images(settings: &LabelTypeSettings) -> bool {
    matches!(
        LabelType::from_code(settings.algorithm),
        Some(LabelType::Classification | LabelType::TwoClass)
    )
}

/// Submits the data set and the training, then notes that it did. Killed in between it submits them under the same
/// directory again, so there is one of each.
pub(crate) async fn start(janitor: &Janitor, name: &TableName) -> Result<(), Error> {
    let store = &janitor.store;
    let key = ObjectKey::LabelType(name.clone());
    let Some(settings) = store.read::<Settings>(&key).await.map_err(Error::Store)? else {
        return Ok(());
    };
    let now = store.now();
    if why_due(&settings.value.value, now).is_none() {
        return Ok(());
    }
    let labelled = Labelled::read(store, name).await.map_err(Error::Store)?;
    let (dir, outcome) = if let Some(why) = labelled.why_not(&settings.value.value) {
        (None, why)
    } else {
        let dir = dir_of(name, &settings);
        submit(janitor, name, &dir, &labelled).await?;
        (Some(dir), "started".to_owned())
    };
    tracing::info!(label_type = %name, n_labelled = labelled.n(), outcome, "periodic training");
    let rev = settings.value.stamp.rev;
    let note = PeriodicTraining {
        at: now,
        dir,
        n_labelled: labelled.n(),
        outcome,
    };
    store
        .swap::<Settings>(&key, |stored| match stored {
            Some(it) if it.stamp.rev == rev => {
                let mut next = it.clone();
                next.value.train_now = false;
                next.value.last_training = Some(note.clone());
                Decision::Write(next)
            }
            _ => Decision::Keep,
        })
        .await
        .map(drop)
        .map_err(Error::Store)
}

/// A directory that the same state of the label type always gets.
fn dir_of(name: &TableName, settings: &Versioned<Settings>) -> Dir {
    let text = format!("periodic training {name} {}", settings.value.stamp.rev);
    Dir::parse(&sha256_hex(text.as_bytes())[..8]).expect("hex digits make a directory")
}

/// The images of a label type that have a class.
#[derive(Debug, Default)]
struct Labelled {
    by_class: BTreeMap<u32, u64>,
    batches: BTreeSet<BatchId>,
}

impl Labelled {
    async fn read(store: &Store, name: &TableName) -> Result<Self, cellmill_store::Error> {
        let mut all = Self::default();
        for root in ImageRoot::ALL {
            let mut labels = store
                .list(&Prefix::Labels(root).to_path())
                .map(|listed| async move {
                    let key = listed?.key;
                    store.read::<LabelDocument>(&key).await
                })
                .buffered(PARALLEL_READS);
            while let Some(label) = labels.try_next().await? {
                let Some(label) = label.map(|it| it.value) else {
                    continue;
                };
                if label.label_type != name.as_str() {
                    continue;
                }
                // A model's word teaches nothing: only what a person or a lab's file says.
                if let Some(it) = fold(&label).image_class
                    && !it.source.is_model()
                {
                    *all.by_class.entry(it.class).or_default() += 1;
                    all.batches.insert(label.image.batch.clone());
                }
            }
        }
        Ok(all)
    }

    fn n(&self) -> u64 {
        self.by_class.values().sum()
    }

    /// Classes with enough images.
    fn classes(&self) -> Vec<u32> {
        let enough = self
            .by_class
            .iter()
            .filter(|(_, n)| **n >= MIN_IMAGES_OF_A_CLASS);
        enough.map(|(class, _)| *class).collect()
    }

    /// Why nothing is to be learned; `None`: there is.
    fn why_not(&self, settings: &LabelTypeSettings) -> Option<String> {
        if self.classes().len() < 2 {
            let counts = self.by_class.iter();
            let counts: Vec<String> = counts
                .map(|(class, n)| format!("{n} of class {class}"))
                .collect();
            return Some(format!(
                "not started: it needs {MIN_IMAGES_OF_A_CLASS} labelled images of at least 2 classes, there are {}",
                if counts.is_empty() {
                    "none".to_owned()
                } else {
                    counts.join(", ")
                }
            ));
        }
        let before = settings
            .last_training
            .as_ref()
            .filter(|it| it.dir.is_some());
        match before {
            Some(last) if last.n_labelled == self.n() && !settings.train_now => Some(format!(
                "not started: still the same {} labelled images",
                self.n()
            )),
            _ => None,
        }
    }
}

async fn submit(
    janitor: &Janitor,
    name: &TableName,
    dir: &Dir,
    labelled: &Labelled,
) -> Result<(), Error> {
    let store = &janitor.store;
    let description = format!("periodic training of label type {name}");
    let data = Submission {
        parameters: JobParameters::Data(DataParameters {
            gray: false,
            size: IMAGE_SIDE,
            data_type: DataType::WholeImage,
            cache: false,
            batches: labelled.batches.iter().cloned().collect(),
            label_type: Some(name.clone()),
            ..DataParameters::default()
        }),
        description: description.clone(),
        dir: Some(dir.clone()),
        class: UnitClass::cpu(),
        by: BY.to_owned(),
        project: None,
    };
    accept(janitor, data).await?;
    let is_there = store
        .head(&ObjectKey::job(JobKind::Train, dir))
        .await
        .map_err(Error::Store)?;
    let Some(data) = store
        .read_job(JobKind::Data, dir)
        .await
        .map_err(Error::Store)?
        .filter(|_| is_there.is_none())
    else {
        return Ok(());
    };
    let mid = store
        .take_number(NumberKind::Models, dir.as_str(), &description, BY)
        .await
        .map_err(Error::Store)?;
    let parameters = TrainParameters {
        ddir: dir.clone(),
        did: data.value.number,
        mid,
        types: labelled.classes(),
        merge: Vec::new(),
        resize: NETWORK_SIDE,
        time: 0,
        split: SplitRule::Case,
        seed: 1,
        network: network_for(labelled.n()),
        detector: None,
        propose_for: Some(name.clone()),
        shuffle_labels: false,
        profile: false,
    };
    let model = ModelKey::of_number(ModelKind::Classifier, mid);
    let project = ProjectKeys {
        did: parameters.did,
        ddir: dir.to_string(),
        status: 1,
        project_type: 2,
        types: parameters.types.clone(),
        modpath: ObjectKey::Model(model).to_path(),
        parameter_resize: parameters.resize,
        parameter_mid: mid,
        parameter_type: 1,
        ..ProjectKeys::default()
    };
    accept(
        janitor,
        Submission {
            parameters: JobParameters::Train(parameters),
            description,
            dir: Some(dir.clone()),
            class: UnitClass::cpu(),
            by: BY.to_owned(),
            project: Some(project),
        },
    )
    .await
}

/// Few images make few steps an epoch: then smaller steps and more epochs, so that there are some hundred in all.
fn network_for(n_images: u64) -> NetworkSettings {
    const STEPS: u64 = 600;
    let defaults = NetworkSettings::default();
    let batch = (n_images / 4).clamp(8, u64::from(defaults.batch)) as u32;
    let steps_an_epoch = (n_images * 7 / 10 / u64::from(batch)).max(1);
    let epochs = (STEPS / steps_an_epoch).clamp(u64::from(defaults.epochs), 200) as u32;
    NetworkSettings {
        batch,
        epochs,
        ..defaults
    }
}

/// Accepts a job and has it assembled. One that was accepted before is left to its course.
async fn accept(janitor: &Janitor, submission: Submission) -> Result<(), Error> {
    match janitor.store.accept_job(submission).await {
        Ok(job) => hints::send_assemble(&*janitor.queue, &job)
            .await
            .map_err(Error::Queue),
        Err(AcceptError::Taken { .. }) => Ok(()),
        Err(AcceptError::Store(error)) => Err(Error::Store(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(algorithm: u32, days: Option<u32>) -> LabelTypeSettings {
        LabelTypeSettings {
            title: "t".to_owned(),
            algorithm,
            labels: Vec::new(),
            detector: None,
            mid: None,
            training_interval_days: days,
            train_now: false,
            last_training: None,
        }
    }

    fn last(at: DateTime<Utc>, n_labelled: u64) -> PeriodicTraining {
        PeriodicTraining {
            at,
            dir: Some(Dir::parse("DkxD9Kjl").unwrap()),
            n_labelled,
            outcome: "started".to_owned(),
        }
    }

    #[test]
    fn a_training_is_due_by_its_interval_or_by_wish() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        let is_due = |it: &LabelTypeSettings| why_due(it, now).is_some();
        assert!(is_due(&settings(1101, Some(30))), "never trained");
        assert!(!is_due(&settings(1101, None)), "nobody wants it");
        assert!(
            !is_due(&settings(0, Some(30))),
            "no class of the whole image"
        );
        let trained = |days| LabelTypeSettings {
            last_training: Some(last(now - TimeDelta::days(days), 1)),
            ..settings(1101, Some(30))
        };
        assert!(is_due(&trained(30)) && !is_due(&trained(29)));
        let wished = LabelTypeSettings {
            train_now: true,
            ..settings(1100, None)
        };
        assert!(is_due(&wished));
    }

    #[test]
    fn few_images_are_learned_from_more_often() {
        let few = network_for(40);
        assert_eq!((few.batch, few.epochs), (10, 200));
        let many = network_for(10_000);
        let defaults = NetworkSettings::default();
        assert_eq!((many.batch, many.epochs), (defaults.batch, defaults.epochs));
    }

    #[test]
    fn too_few_images_or_nothing_new_is_no_training() {
        let labelled = |counts: &[(u32, u64)]| Labelled {
            by_class: counts.iter().copied().collect(),
            ..Labelled::default()
        };
        let plain = settings(1101, Some(30));
        assert!(labelled(&[]).why_not(&plain).is_some());
        assert!(labelled(&[(50, 40), (51, 3)]).why_not(&plain).is_some());
        let enough = labelled(&[(50, 20), (51, 20)]);
        assert_eq!(enough.why_not(&plain), None);
        let trained = LabelTypeSettings {
            last_training: Some(last(DateTime::UNIX_EPOCH, 40)),
            ..plain
        };
        assert!(enough.why_not(&trained).unwrap().contains("the same 40"));
    }
}
