//! The one unit of a detector's training.

use cellmill_core::document::Stamp;
use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{ModelKind, ObjectKey};
use cellmill_core::model::{Detected, EpochFigures, ModelCard, ModelState, TrainReport};
use cellmill_core::split::Part;
use cellmill_core::training::{DetectorSettings, TrainParameters};
use cellmill_vision::encode_png;
use cellmill_vision::plot::{self, CurvePoint};
use cellmill_worker::{Context, Failure, Outcome, Unit};

use super::super::algorithm::failed;
use super::super::catalogue::Catalogue;
use super::super::parts::deal_out;
use super::super::weights::Given;
use super::super::{learn, memory, report};
use super::fields::{self, Labelled, Shelf};
use super::verdict;
use crate::algorithms::refuse;
use crate::bench::Bench;
use crate::cells::known_classes;
use crate::detector::{DetectorPlan, DetectorTraining};

/// Fewer images can't be dealt out into three parts.
const MIN_IMAGES: usize = 3;

/// Trains a detector.
pub(in super::super) async fn run(
    bench: &Bench,
    unit: &Unit,
    parameters: &TrainParameters,
    settings: &DetectorSettings,
    context: &mut Context,
) -> Result<Outcome, Failure> {
    // Before anything is read: weights that are none.
    let given = Given::read(parameters, context).await?;
    let weights = given.as_ref().map(|it| &it.weights);
    let classes = report::classes(parameters, &known_classes(context.store()).await?);
    let catalogue = Catalogue::read(context, &unit.key.dir, parameters).await?;
    let n_classes = parameters.types.len();
    let split = deal_out(
        &catalogue.members(),
        &parameters.split,
        n_classes,
        parameters.seed,
    );
    let split = split.map_err(|error| refuse(error.to_string()))?;
    let images = fields::labelled(&catalogue, &split.parts);
    check_images(&images)?;
    for note in &split.notes {
        context.info(note);
    }
    let zoom = settings.zoom.unwrap_or_else(|| fields::zoom(&images));
    context.info(&format!(
        "{} images with {} cells, {zoom} pixels are seen for one",
        images.len(),
        catalogue.cells.len()
    ));

    // From here on there are pixels in memory.
    let turn = bench.compute.turn(context).await?;
    let split_csv = split_table(&images);
    let [train, validation, test] = fields::read(bench, images, zoom, context).await?;
    let plan = DetectorPlan::new(parameters, settings, &train.fields, zoom)?;
    if bench.compute.is_processor() {
        let need = bench.compute.run(|| plan.need()).map_err(failed)?;
        memory::check(&need)?;
    }
    let (compute, device) = (&bench.compute, bench.compute.device());
    let begin = || {
        let fields = (&train.fields, &validation.fields);
        DetectorTraining::begin(&plan, fields.0, fields.1, device, weights)
    };
    let training = learn::begin_or_resume(compute, context, begin, |bytes| begin()?.resumed(bytes));
    let training = training.await.map_err(|error| match &given {
        Some(given) => given.unfit_or(error),
        None => error,
    })?;
    let (training, broken_off) = learn::learn(compute, training, parameters.time, context).await?;
    context.report(learn::END, "judges the detector");
    let stop = context.stop_signal();
    let mut finder = training.finder().map_err(failed)?;
    let types = &parameters.types;
    let verdict =
        compute.run(|| verdict::judge(&mut finder, [&validation, &test], types, &stop))?;
    context.check_stop()?;
    drop(turn);

    let epochs = training.epochs();
    let file = finder.file().map_err(failed)?;
    let shape = finder.shape();
    let mut facts = report::facts(
        unit,
        parameters,
        &split,
        [&train, &validation, &test].map(Shelf::n_cells),
        &report::Run {
            epochs: epochs.len() as u32,
            best_epoch: epochs.len() as u32,
            ended_early: broken_off,
        },
        compute,
    );
    if let Some(given) = &given {
        facts.weights = Some(given.facts(training.fit(&given.weights).map_err(failed)?));
    }
    let n_drawn = catalogue.n_drawn();
    // A drawn box may be as large as a crop by chance.
    if n_drawn < catalogue.cells.len() / 20 * 19 {
        facts.notes.push(format!(
            "{} of {} boxes are squares around points: nobody drew them",
            catalogue.cells.len() - n_drawn,
            catalogue.cells.len()
        ));
    }
    let card = ModelCard {
        stamp: Stamp::default(),
        description: unit.job.description.clone(),
        kind: ModelKind::Detector,
        state: ModelState::Ready,
        classes,
        input: shape.input,
        family: shape.family,
        scale: shape.scale,
        features: shape.width,
        unit_class: unit.job.class.as_str().to_owned(),
        training: Some(facts),
        detector: Some(verdict.facts),
        ..ModelCard::of_file(
            parameters.mid,
            ObjectKey::Model(parameters.model_key()).to_path(),
            file.len() as u64,
            sha256_hex(&file),
        )
    };
    let curves = curves(&epochs);
    let report = TrainReport {
        v: 1,
        epochs,
        card,
        rival: None,
        candidates: Vec::new(),
        profile: None,
    };
    say(context, &report);
    let report =
        serde_json::to_vec_pretty(&report).expect("a report holds nothing that JSON can't");
    let outputs = [
        ("model", "model.safetensors", file),
        ("report", "report.json", report),
        ("split", "split.csv", split_csv),
        ("curves", "curves.png", curves),
        ("detections", "detections.json", verdict.detections),
    ];
    let mut written = Vec::with_capacity(outputs.len());
    for (name, file, bytes) in outputs {
        written.push(context.write_output(name, file, bytes).await?);
    }
    Ok(Outcome { outputs: written })
}

fn check_images(images: &[Labelled]) -> Result<(), Failure> {
    if images.len() < MIN_IMAGES {
        return Err(refuse(format!(
            "a detector learns from {MIN_IMAGES} images with cells or more, the data set has {}\nhint: label more images, or choose more cases",
            images.len()
        )));
    }
    if images.iter().all(|it| it.part != Part::Train) {
        return Err(refuse(
            "no image is left to learn from\nhint: choose more cases, or another split",
        ));
    }
    Ok(())
}

/// `split.csv`: image, cells, part.
fn split_table(images: &[Labelled]) -> Vec<u8> {
    const TO_MEMORY: &str = "a vector takes any number of rows of three fields";
    let mut out = csv::WriterBuilder::new().from_writer(Vec::new());
    out.write_record(["image", "cells", "part"])
        .expect(TO_MEMORY);
    let mut images: Vec<&Labelled> = images.iter().collect();
    images.sort_by(|a, b| a.image.key.cmp(&b.image.key));
    for it in images {
        let n_cells = it.cells.len().to_string();
        out.write_record([&it.image.key, &n_cells, it.part.as_str()])
            .expect(TO_MEMORY);
    }
    out.into_inner().expect(TO_MEMORY)
}

/// `curves.png`: loss, and average precision where it was measured.
fn curves(epochs: &[EpochFigures]) -> Vec<u8> {
    let point = |it: &EpochFigures| CurvePoint {
        epoch: it.epoch,
        train_loss: it.train_loss,
        train_accuracy: f64::NAN,
        validation_loss: None,
        validation_accuracy: it.ap50,
        balanced_accuracy: None,
        is_best: it.is_best,
    };
    let points: Vec<CurvePoint> = epochs.iter().map(point).collect();
    encode_png(&plot::curves(&points))
}

fn say(context: &mut Context, report: &TrainReport) {
    let Some(facts) = &report.card.detector else {
        return;
    };
    let tell = |part: &str, it: &Option<Detected>| {
        if let Some(it) = it {
            context.info(&format!(
                "{part}: {} cells in {} images, AP50 {:.3}, AP {:.3}; from {:.2} on precision {:.3}, recall {:.3}",
                it.n_cells, it.n_images, it.ap50, it.ap, facts.min_score, it.precision, it.recall
            ));
        }
    };
    tell("validation", &facts.validation);
    tell("test", &facts.test);
}
