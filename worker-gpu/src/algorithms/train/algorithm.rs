//! The one unit of a training.

use async_trait::async_trait;
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{JobKind, ProjectFolder};
use cellmill_core::model::{ModelClass, TrainProfile, TrainReport};
use cellmill_core::split::Part;
use cellmill_worker::{Algorithm, Cause, Context, Failure, Outcome, Unit};

use super::catalogue::Catalogue;
use super::cells::{Loading, Shelves};
use super::parts::{Split, deal_out};
use super::tables::{labels_table, split_table};
use super::weights::Given;
use super::{detector, learn, memory, profile, report, rival};
use crate::algorithms::refuse;
use crate::bench::Bench;
use crate::cells::known_classes;
use crate::learning::{NoPlan, Plan, Training};

/// Trains classifiers. One for a process: its units take turns on the device.
#[derive(Clone, Debug)]
pub struct TrainAlgorithm {
    bench: Bench,
}

impl TrainAlgorithm {
    pub fn new(bench: Bench) -> Self {
        Self { bench }
    }
}

#[async_trait]
impl Algorithm for TrainAlgorithm {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Train]
    }

    fn needs_device(&self) -> bool {
        true
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        let JobParameters::Train(parameters) = &unit.job.parameters else {
            return Err(refuse(format!("job `{}` is no training", unit.job.dir)));
        };
        if let Some(settings) = &parameters.detector {
            return detector::run(&self.bench, unit, parameters, settings, context).await;
        }
        // Before anything is read: settings that can't be are told at once.
        let given = Given::read(parameters, context).await?;
        let weights = given.as_ref().map(|it| &it.weights);
        let plan = Plan::new(parameters, weights).map_err(|error| match (error, &given) {
            (NoPlan::Settings(failure), _) => failure,
            (NoPlan::Weights(error), Some(given)) => given.unfit(error.as_ref()),
            (NoPlan::Weights(error), None) => failed(error),
        })?;
        let classes = report::classes(parameters, &known_classes(context.store()).await?);
        let catalogue = Catalogue::read(context, &unit.key.dir, parameters).await?;
        let labels: Vec<usize> = catalogue.cells.iter().map(|it| it.class).collect();
        check_classes(&labels, &classes, "the data set has")?;
        let split = deal_out(
            &catalogue.members(),
            &parameters.split,
            parameters.types.len(),
            parameters.seed,
        )
        .map_err(|error| refuse(error.to_string()))?;
        tell(context, &split);

        // From here on there are pixels in memory.
        let turn = self.bench.compute.turn(context).await?;
        let loading = Loading {
            bench: &self.bench,
            dir: &unit.key.dir,
            catalogue: &catalogue,
            parts: &split.parts,
            types: &parameters.types,
            side: parameters.resize,
        };
        let shelves = loading.run(context).await?;
        check_classes(
            shelves.train.samples.labels(),
            &classes,
            "the part to learn from has",
        )?;
        context.info(&format!(
            "{} cells: {} train, {} validation, {} test",
            labels.len(),
            shelves.train.cells.len(),
            shelves.validation.cells.len(),
            shelves.test.cells.len()
        ));
        if plan.is_search() && shelves.validation.cells.is_empty() {
            return Err(refuse(
                "networks are compared on a validation part, and there is none\nhint: choose more cases, another split, or one network",
            ));
        }
        if self.bench.compute.is_processor() {
            let need = self.bench.compute.run(|| plan.need()).map_err(failed)?;
            memory::check(&need)?;
        }
        let mut training = self.begin_or_resume(&plan, &shelves, context).await?;
        if parameters.profile {
            training.keep_trace();
        }
        let ended = learn::learn(&self.bench.compute, training, parameters.time, context);
        let (training, broken_off) = ended.await?;
        let mut learned = training.finish(broken_off).map_err(failed)?;
        context.report(learn::END, "judges the model");
        let (n_cells, stop) = (catalogue.cells.len(), context.stop_signal());
        let verdict = self
            .bench
            .compute
            .run(|| report::judge(&mut learned, &shelves, n_cells, parameters, &stop))?;
        context.check_stop()?;
        let rival = rival::judge(&loading, parameters, &shelves.test, context).await?;
        let mut facts = report::facts(
            unit,
            parameters,
            &split,
            Part::ALL.map(|it| shelves.of(it).cells.len() as u64),
            &report::Run {
                epochs: learned.epochs.len() as u32,
                best_epoch: learned.best_epoch,
                ended_early: learned.ended_early,
            },
            &self.bench.compute,
        );
        facts.weights = match (&given, learned.fit.take()) {
            (Some(given), Some(fit)) => Some(given.facts(fit)),
            _ => None,
        };
        let profile = profile::figures(&learned.profile, shelves.times);
        drop(turn);
        drop(shelves);

        let rival = match rival {
            Some(Ok(rival)) => Some(rival),
            Some(Err(note)) => {
                facts.notes.push(note);
                None
            }
            None => None,
        };
        let mut card = verdict.card;
        card.description.clone_from(&unit.job.description);
        card.unit_class = unit.job.class.as_str().to_owned();
        card.classes.clone_from(&classes);
        card.training = Some(facts);
        let curves = report::curves(&learned.epochs);
        let confusion = report::confusion(&classes, verdict.shown.0, &verdict.shown.1);
        let train_report = TrainReport {
            v: 1,
            epochs: learned.epochs,
            card,
            rival,
            candidates: learned.candidates,
            // Times differ from run to run: only who asks for them gets a report that is no function of its input.
            profile: parameters.profile.then(|| profile.clone()),
        };
        say(context, &train_report);
        say_speed(context, &profile);
        let (parts, types) = (&split.parts, &parameters.types);
        let labels = |folder| labels_table(&catalogue, parts, &verdict.answers, types, folder);
        let report = serde_json::to_vec_pretty(&train_report)
            .expect("a report holds nothing that JSON can't");
        let mut outputs = vec![
            ("model", "model.safetensors", verdict.file),
            ("report", "report.json", report),
            (
                "split",
                "split.csv",
                split_table(&catalogue, parts, &verdict.answers, types),
            ),
            (
                "train_labels",
                "train_labels.csv",
                labels(ProjectFolder::Train),
            ),
            (
                "test_labels",
                "test_labels.csv",
                labels(ProjectFolder::Test),
            ),
            ("curves", "curves.png", curves),
            ("confusion", "confusion.png", confusion),
        ];
        if parameters.profile {
            outputs.push(("trace", "trace.json", profile::trace(&learned.trace)));
        }
        let mut written = Vec::with_capacity(outputs.len());
        for (name, file, bytes) in outputs {
            written.push(context.write_output(name, file, bytes).await?);
        }
        Ok(Outcome { outputs: written })
    }
}

impl TrainAlgorithm {
    /// A new training, or one that goes on from the newest checkpoint that can be used.
    async fn begin_or_resume(
        &self,
        plan: &Plan,
        shelves: &Shelves,
        context: &mut Context,
    ) -> Result<Training, Failure> {
        let (train, validation) = (&shelves.train.samples, &shelves.validation.samples);
        let compute = &self.bench.compute;
        let device = compute.device();
        learn::begin_or_resume(
            compute,
            context,
            || Training::begin(plan, train, validation, device),
            |bytes| Training::resume(plan, train, validation, device, bytes),
        )
        .await
    }
}

pub(super) fn failed(error: Cause) -> Failure {
    Failure::permanent("the training failed", error)
}

/// Cells of at least two classes, and two of them: else there is nothing to learn.
fn check_classes(labels: &[usize], classes: &[ModelClass], who: &str) -> Result<(), Failure> {
    let counts: Vec<usize> = (0..classes.len())
        .map(|class| labels.iter().filter(|it| **it == class).count())
        .collect();
    if counts.iter().filter(|it| **it > 0).count() >= 2 {
        return Ok(());
    }
    let found: Vec<String> = counts
        .iter()
        .zip(classes)
        .filter(|it| *it.0 > 0)
        .map(|(n, class)| format!("{n} of class {} ({})", class.id, class.name))
        .collect();
    let chosen: Vec<String> = classes
        .iter()
        .map(|it| format!("{} ({})", it.id, it.name))
        .collect();
    let found = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    Err(refuse(format!(
        "a training needs cells of at least 2 of the chosen classes {}, {who} {found}\nhint: choose more classes or cases, or split by `image`",
        chosen.join(", ")
    )))
}

fn tell(context: &Context, split: &Split) {
    context.info(&format!("cells are dealt out by {}", split.unit));
    for note in &split.notes {
        context.warn(note);
    }
}

/// The figures, as people look for them in the log.
fn say(context: &Context, report: &TrainReport) {
    let card = &report.card;
    let parts = [
        (Part::Validation.as_str(), card.validation.as_ref()),
        (Part::Test.as_str(), card.test.as_ref()),
        ("baseline", card.baseline.as_ref()),
        ("model in use", report.rival.as_ref().map(|it| &it.test)),
    ];
    for (name, measured) in parts {
        if let Some(it) = measured {
            context.info(&format!(
                "{name}: {} cells, accuracy {:.4}, balanced accuracy {:.4}, macro-F1 {:.4}",
                it.n, it.accuracy, it.balanced_accuracy, it.macro_f1
            ));
        }
    }
    if let Some(it) = card.training.as_ref().and_then(|it| it.weights.as_ref()) {
        context.info(&format!(
            "began with {} values of `{}` ({})",
            it.n_values, it.file, it.source
        ));
    }
    for it in &report.candidates {
        context.info(&format!(
            "{} {}: {} epochs, macro-F1 {:.4}, {}",
            it.family, it.scale, it.epochs, it.macro_f1, it.outcome
        ));
    }
    if let Some(facts) = &card.training {
        for note in &facts.notes {
            context.info(note);
        }
    }
}

fn say_speed(context: &Context, profile: &TrainProfile) {
    let (with_all, alone) = (profile.images_per_s, profile.compute_only_images_per_s);
    context.info(&format!(
        "{with_all:.0} cells/s with reading, decoding and augmentation, the network alone {alone:.0}"
    ));
}
