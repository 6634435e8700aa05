//! What is to be said about a model: its card, the report, the pictures.

use cellmill_core::classes::KnownClasses;
use cellmill_core::document::Stamp;
use cellmill_core::ids::sha256_hex;
use cellmill_core::keys::{ModelKey, ModelKind, ObjectKey};
use cellmill_core::metrics::Confusion;
use cellmill_core::model::{
    EpochFigures, Measured, ModelCard, ModelClass, ModelState, TrainingFacts,
};
use cellmill_core::split::Part;
use cellmill_core::training::TrainParameters;
use cellmill_vision::encode_png;
use cellmill_vision::plot::{self, CurvePoint};
use cellmill_worker::{Cause, Failure, StopSignal, Unit};

use super::cells::Shelves;
use super::parts::Split;
use super::tables::Answer;
use crate::compute::Compute;
use crate::learning::Learned;
use crate::network::{
    baseline, calibration, highest, instruction_set, loss, probabilities, thresholds,
};

/// Cells that are judged before the next look whether to stop: about a second.
const CELLS_AT_ONCE: usize = 1024;

/// The names of a training's classes: merged ones bring their own.
pub(super) fn classes(parameters: &TrainParameters, known: &KnownClasses) -> Vec<ModelClass> {
    let class = |&id: &u32| {
        let merged = parameters.merge.iter().find(|it| it.class == id);
        let name = merged.map(|it| it.name.clone()).filter(|it| !it.is_empty());
        ModelClass {
            id,
            name: name.unwrap_or_else(|| known.name(id)),
        }
    };
    parameters.types.iter().map(class).collect()
}

/// What the network says of all cells, and how good that is.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Of each cell of the catalogue that could be read.
    pub(super) answers: Vec<Option<Answer>>,
    /// With the figures, and everything but names and facts.
    pub(super) card: ModelCard,
    pub(super) file: Vec<u8>,
    /// The part that `confusion.png` shows.
    pub(super) shown: (Part, Confusion),
}

/// Judges a network: temperature and thresholds by the validation part, the figures of the test part once, at the end.
pub(super) fn judge(
    learned: &mut Learned,
    shelves: &Shelves,
    n_cells: usize,
    parameters: &TrainParameters,
    stop: &StopSignal,
) -> Result<Verdict, Failure> {
    let failed = |error: Cause| Failure::permanent("could not judge the model", error);
    let n_classes = parameters.types.len();
    let file = learned.network.file().map_err(failed)?;
    let mut logits = Vec::with_capacity(3);
    for part in Part::ALL {
        let samples = &shelves.of(part).samples;
        let one = 3 * samples.side() * samples.side();
        let mut rows = Vec::with_capacity(samples.len());
        for pixels in samples.pixels().chunks(CELLS_AT_ONCE * one) {
            stop.check()?;
            rows.extend(learned.network.logits(pixels).map_err(failed)?);
        }
        logits.push(rows);
    }
    let validation = &shelves.validation.samples;
    let calibration = calibration(&logits[1], validation.labels());
    let temperature = calibration.map_or(1.0, |it| it.temperature);
    let mut answers = vec![None; n_cells];
    let mut confusions = vec![Confusion::new(n_classes); 3];
    for (part, rows) in Part::ALL.into_iter().zip(&logits) {
        let shelf = shelves.of(part);
        for ((&at, &label), row) in shelf.cells.iter().zip(shelf.samples.labels()).zip(rows) {
            let likely = probabilities(row, temperature);
            // By the logits: a temperature changes no answer, but may round two to equals.
            let class = highest(row);
            let score = likely[class];
            answers[at] = Some(Answer { class, score });
            confusions[part as usize].add(label, class);
        }
    }
    let measured = |part: Part| {
        let labels = shelves.of(part).samples.labels();
        let loss = loss(&logits[part as usize], labels);
        (!labels.is_empty()).then(|| Measured::of(&confusions[part as usize], loss))
    };
    let judges = [Part::Test, Part::Validation, Part::Train]
        .into_iter()
        .find(|it| !shelves.of(*it).cells.is_empty())
        .unwrap_or(Part::Train);
    let baseline = (judges != Part::Train).then(|| {
        let judged = &shelves.of(judges).samples;
        let gray = parameters.network.gray;
        Measured::of(
            &baseline(&shelves.train.samples, judged, n_classes, gray),
            None,
        )
    });
    let shape = learned.network.shape();
    let card = ModelCard {
        stamp: Stamp::default(),
        mid: parameters.mid,
        description: String::new(),
        kind: ModelKind::Classifier,
        file: ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, parameters.mid))
            .to_path(),
        bytes: file.len() as u64,
        sha256: sha256_hex(&file),
        state: if parameters.propose_for.is_some() {
            ModelState::Proposed
        } else {
            ModelState::Ready
        },
        classes: Vec::new(),
        input: shape.input,
        family: shape.family,
        scale: shape.scale,
        features: shape.features,
        unit_class: String::new(),
        mtype: None,
        training: None,
        validation: measured(Part::Validation),
        test: measured(Part::Test),
        baseline,
        calibration,
        thresholds: thresholds(&logits[1], validation.labels(), temperature),
        detector: None,
        lineage: Vec::new(),
        decided: None,
    };
    Ok(Verdict {
        answers,
        card,
        file,
        shown: (judges, confusions.swap_remove(judges as usize)),
    })
}

/// How far a training came.
pub(super) struct Run {
    pub(super) epochs: u32,
    /// From 1.
    pub(super) best_epoch: u32,
    pub(super) ended_early: Option<&'static str>,
}

/// Where the weights come from. `n_cells` of each part.
pub(super) fn facts(
    unit: &Unit,
    parameters: &TrainParameters,
    split: &Split,
    n_cells: [u64; 3],
    run: &Run,
    compute: &Compute,
) -> TrainingFacts {
    let n = |part: Part| n_cells[part as usize];
    let mut notes = split.notes.clone();
    if n(Part::Validation) == 0 {
        notes.push(
            "no validation part: the last epoch counts, and certainty is not calibrated".to_owned(),
        );
    }
    if n(Part::Test) == 0 {
        notes.push("no test part: nothing judges the model on cells that it never saw".to_owned());
    }
    if parameters.shuffle_labels {
        notes.push("labels were shuffled: this model knows nothing".to_owned());
    }
    TrainingFacts {
        project: unit.key.dir.to_string(),
        dataset: parameters.ddir.to_string(),
        snapshot: unit.job.snapshot.clone().unwrap_or_default(),
        split: parameters.split.clone(),
        split_unit: split.unit.to_owned(),
        seed: parameters.seed,
        settings: parameters.network.clone(),
        detector: parameters.detector.clone(),
        weights: None,
        merge: parameters.merge.clone(),
        n_train: n(Part::Train),
        n_validation: n(Part::Validation),
        n_test: n(Part::Test),
        epochs_run: run.epochs,
        best_epoch: run.best_epoch,
        ended_early: run.ended_early.map(str::to_owned),
        instruction_set: instruction_set().to_owned(),
        threads: compute.n_threads() as u32,
        device: compute.device().device().to_string(),
        notes,
    }
}

/// `curves.png`.
pub(super) fn curves(epochs: &[EpochFigures]) -> Vec<u8> {
    let best = epochs.iter().rposition(|it| it.is_best);
    let points: Vec<CurvePoint> = epochs
        .iter()
        .enumerate()
        .map(|(at, it)| {
            let measured = (it.validation.n > 0).then_some(&it.validation);
            CurvePoint {
                epoch: it.epoch,
                train_loss: it.train_loss,
                train_accuracy: it.train_accuracy,
                validation_loss: measured.and_then(|it| it.loss),
                validation_accuracy: measured.map(|it| it.accuracy),
                balanced_accuracy: measured.map(|it| it.balanced_accuracy),
                is_best: Some(at) == best,
            }
        })
        .collect();
    encode_png(&plot::curves(&points))
}

/// `confusion.png`.
pub(super) fn confusion(classes: &[ModelClass], part: Part, counts: &Confusion) -> Vec<u8> {
    // The letters of pictures are few: a name in another script is told by its number.
    let name = |it: &ModelClass| {
        if it.name.is_ascii() {
            it.name.clone()
        } else {
            it.id.to_string()
        }
    };
    let names: Vec<String> = classes.iter().map(name).collect();
    let title = format!(
        "{} part: {} cells, accuracy {:.1}%",
        part.as_str(),
        counts.total(),
        counts.accuracy() * 100.0
    );
    encode_png(&plot::confusion(&title, &names, counts))
}
