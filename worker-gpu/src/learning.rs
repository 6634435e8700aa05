//! How networks learn: from the settings of a job to one training or a search among several.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::model::{Candidate, EpochFigures, Measured};
use cellmill_core::training::{NetworkSettings, TrainParameters};
use cellmill_nets::weights::{self, Foreign};
use cellmill_nets::{
    Augment, ClassWeights, EpochReport, Family, OpenDevice, Outcome, Scale, Search, StepReport,
    Trainer, Trial,
};
use cellmill_worker::{Cause, Failure};

use crate::learner::{Learner, Step, ToldEpoch};
use crate::network::{Network, name_of};

pub(crate) use cellmill_nets::{Profile, ProfilePart as Part, Samples, TraceEvent, TrainOptions};

/// Instead of a family: several are tried.
const AUTO: &str = "auto";
/// What weights from elsewhere learn with, as a part of the rate: they know something already.
pub(crate) const PRETRAINED_BODY_RATE: f64 = 0.3;

/// About how long an epoch takes beside one of the first, at the same scale: for the order in which networks are tried,
/// and for what fits into a time until more was measured.
const fn cost_of(family: Family, scale: Scale) -> f64 {
    let of_scale = match scale {
        Scale::Small => 0.3,
        Scale::Normal => 1.0,
        Scale::Big => 2.1,
    };
    of_scale
        * match family {
            Family::MobileNet => 1.0,
            Family::EfficientNetLite0 => 1.5,
            Family::ResNet18 => 2.0,
            Family::ResNet34 => 3.5,
            Family::Vgg11 => 4.0,
            Family::Vgg16 => 8.0,
        }
}

/// What is to be trained.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// With what an epoch costs. More than one: a search.
    trials: Vec<(TrainOptions, f64)>,
    /// What the weights are to each, where they begin with them.
    fits: Vec<Option<Fit>>,
    weights: Option<Arc<Foreign>>,
}

/// What a step of training takes.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) network: String,
    pub(crate) batch: usize,
    pub(crate) side: usize,
    /// On the processor.
    pub(crate) bytes: u64,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NoPlan {
    Settings(Failure),
    /// The weights fit no network of it.
    Weights(Cause),
}

impl Plan {
    /// All problems of the settings are named at once.
    pub(crate) fn new(
        parameters: &TrainParameters,
        weights: Option<&Weights>,
    ) -> Result<Self, NoPlan> {
        let settings = &parameters.network;
        let first = options(parameters).map_err(NoPlan::Settings)?;
        let mut plan = Self {
            trials: Vec::new(),
            fits: Vec::new(),
            weights: weights.map(|it| Arc::clone(&it.0)),
        };
        if settings.family != AUTO {
            let cost = cost_of(first.family, first.scale);
            match weights {
                None => plan.add(first, cost, None),
                Some(weights) => {
                    let fitted = weights.fitted(first, settings).map_err(NoPlan::Weights)?;
                    plan.add(fitted.0, cost, Some(fitted.1));
                }
            }
            return Ok(plan);
        }
        let mut refusal = None;
        for options in every(&first, settings) {
            let cost = cost_of(options.family, options.scale);
            match weights.map(|it| it.fitted(options.clone(), settings)) {
                Some(Ok((fitted, fit))) => plan.add(fitted, cost, Some(fit)),
                Some(Err(error)) => refusal = Some(error),
                None => {}
            }
            plan.add(options, cost, None);
        }
        match refusal {
            Some(error) if plan.fits.iter().all(Option::is_none) => Err(NoPlan::Weights(error)),
            _ => Ok(plan),
        }
    }

    fn add(&mut self, options: TrainOptions, cost: f64, fit: Option<Fit>) {
        self.trials.push((options, cost));
        self.fits.push(fit);
    }

    /// Of the largest of its networks.
    pub(crate) fn need(&self) -> Result<Need, Cause> {
        let mut largest: Option<Need> = None;
        for (options, _) in &self.trials {
            let bytes = options.step_bytes()?;
            if largest.as_ref().is_none_or(|it| it.bytes < bytes) {
                largest = Some(Need {
                    network: title(options),
                    batch: options.batch,
                    side: options.side,
                    bytes,
                });
            }
        }
        Ok(largest.expect("a plan has a trial"))
    }

    pub(crate) const fn is_search(&self) -> bool {
        self.trials.len() > 1
    }

    /// Most epochs of a network.
    pub(crate) fn epochs(&self) -> u32 {
        self.trials[0].0.epochs
    }
}

/// The networks of a search, the cheapest first: all families at all scales up to that of the settings.
fn every(first: &TrainOptions, settings: &NetworkSettings) -> Vec<TrainOptions> {
    let largest = cost_of(Family::ALL[0], first.scale);
    let scales = [Scale::Small, Scale::Normal, Scale::Big];
    let scales = scales
        .into_iter()
        .filter(|it| cost_of(Family::ALL[0], *it) <= largest);
    let mut all: Vec<TrainOptions> = scales
        .flat_map(|scale| Family::ALL.map(|family| (family, scale)))
        .map(|(family, scale)| TrainOptions {
            family,
            scale,
            learning_rate: settings.learning_rate.unwrap_or(family.learning_rate()),
            ..first.clone()
        })
        .collect();
    let cost = |it: &TrainOptions| cost_of(it.family, it.scale);
    all.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    all
}

/// The settings of a training in the network's own words; all problems are named at once. Of a search: those of its
/// first network.
fn options(parameters: &TrainParameters) -> Result<TrainOptions, Failure> {
    let settings = &parameters.network;
    let mut problems = Vec::new();
    let known = Family::ALL.map(Family::name).join(", ");
    let family = match settings.family.as_str() {
        AUTO => Some(Family::ALL[0]),
        name => named::<Family>("family", name, &known, &mut problems),
    };
    let rate = family.unwrap_or_default().learning_rate();
    let scale = named::<Scale>(
        "scale",
        &settings.scale,
        "small, normal, big",
        &mut problems,
    );
    let weights = "none, balanced, square_root";
    let class_weights = named::<ClassWeights>(
        "class_weights",
        &settings.class_weights,
        weights,
        &mut problems,
    );
    let augment = if settings.augment {
        Augment::default()
    } else {
        Augment::NONE
    };
    let options = TrainOptions {
        family: family.unwrap_or_default(),
        scale: scale.unwrap_or_default(),
        side: parameters.resize as usize,
        n_classes: parameters.types.len(),
        features: settings.features as usize,
        epochs: settings.epochs,
        batch: settings.batch as usize,
        learning_rate: settings.learning_rate.unwrap_or(rate),
        weight_decay: settings.weight_decay,
        // A warm-up longer than the training would never end.
        warm_up_epochs: (settings.warm_up_epochs.round() as u32).min(settings.epochs),
        label_smoothing: settings.label_smoothing,
        class_weights: class_weights.unwrap_or_default(),
        augment,
        dropout: settings.dropout,
        seed: parameters.seed,
        patience: settings.patience,
        gray: settings.gray,
        ema: settings.ema,
        mixup: settings.mixup,
        ..TrainOptions::default()
    };
    problems.extend(options.problems());
    if problems.is_empty() {
        return Ok(options);
    }
    Err(Failure::Permanent {
        what: format!("the training's settings can't be: {}", problems.join("; ")),
        source: None,
    })
}

pub(crate) fn named<T: serde::de::DeserializeOwned>(
    name: &str,
    value: &str,
    known: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    let parsed = serde_json::from_value(serde_json::Value::String(value.to_owned()));
    if parsed.is_err() {
        problems.push(format!("{name} is `{value}`, it is one of {known}"));
    }
    parsed.ok()
}

/// Weights from elsewhere.
#[derive(Debug)]
pub(crate) struct Weights(Arc<Foreign>);

impl Weights {
    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self, Cause> {
        Ok(Self(Arc::new(weights::read(bytes)?)))
    }

    pub(crate) fn foreign(&self) -> &Foreign {
        &self.0
    }

    pub(crate) fn fit_of(&self, report: &weights::Report) -> Fit {
        Fit {
            source: format!("{}, {}", report.source, self.0.format()),
            n_values: report.loaded.len() as u64,
        }
    }

    /// The options of a training that begins with them, and how many values of its network they set.
    fn fitted(
        &self,
        options: TrainOptions,
        settings: &NetworkSettings,
    ) -> Result<(TrainOptions, Fit), Cause> {
        let options = TrainOptions {
            body_rate: settings.body_rate.unwrap_or(PRETRAINED_BODY_RATE),
            // A fresh head would teach the body nonsense at first.
            head_epochs: u32::from(options.epochs > 1),
            ..options
        };
        let fit = self.fit_of(&options.fit(&self.0)?);
        Ok((options.with_weights(&self.0)?, fit))
    }
}

/// What weights are to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Whose names they have, and the kind of file: `torchvision, PyTorch`.
    pub(crate) source: String,
    pub(crate) n_values: u64,
}

/// A training, or a search among several, between two epochs.
#[derive(Debug)]
pub(crate) struct Training {
    race: Race,
    plan: Plan,
}

#[derive(Debug)]
enum Race {
    One(Box<Trainer>),
    Many(Box<Search>),
}

/// A training that came to its end.
#[derive(Debug)]
pub(crate) struct Learned {
    /// With the weights of the best epoch.
    pub(crate) network: Network,
    pub(crate) epochs: Vec<EpochFigures>,
    /// From 1.
    pub(crate) best_epoch: u32,
    /// Why not all epochs were run.
    pub(crate) ended_early: Option<&'static str>,
    pub(crate) profile: Profile,
    /// Of single steps, when they were kept.
    pub(crate) trace: Vec<TraceEvent>,
    /// What the weights were that it began with, if it did.
    pub(crate) fit: Option<Fit>,
    /// Of a search: all that were tried, the chosen one first.
    pub(crate) candidates: Vec<Candidate>,
}

impl Training {
    pub(crate) fn begin(
        plan: &Plan,
        train: &Arc<Samples>,
        validation: &Arc<Samples>,
        device: &OpenDevice,
    ) -> Result<Self, Cause> {
        let plan = plan.clone();
        let (train, validation) = (Arc::clone(train), Arc::clone(validation));
        let (trials, weights) = (plan.trials.clone(), plan.weights.clone());
        let race = if plan.is_search() {
            let search = Search::new(trials, train, validation, device, weights);
            Race::Many(Box::new(search))
        } else {
            let (options, _) = trials.into_iter().next().expect("a plan has a trial");
            Race::One(Box::new(match &weights {
                Some(it) => Trainer::with_weights(options, train, validation, device, it)?,
                None => Trainer::new(options, train, validation, device)?,
            }))
        };
        Ok(Self::of(race, plan))
    }

    /// Goes on from a checkpoint of the same training, to the same bits.
    pub(crate) fn resume(
        plan: &Plan,
        train: &Arc<Samples>,
        validation: &Arc<Samples>,
        device: &OpenDevice,
        checkpoint: &[u8],
    ) -> Result<Self, Cause> {
        let plan = plan.clone();
        let (train, validation) = (Arc::clone(train), Arc::clone(validation));
        let (trials, weights) = (plan.trials.clone(), plan.weights.clone());
        let race = if plan.is_search() {
            let search = Search::resume(trials, train, validation, device, weights, checkpoint)?;
            Race::Many(Box::new(search))
        } else {
            let (options, _) = trials.into_iter().next().expect("a plan has a trial");
            let trainer = Trainer::resume(options, train, validation, device, checkpoint)?;
            Race::One(Box::new(trainer))
        };
        Ok(Self::of(race, plan))
    }

    const fn of(race: Race, plan: Plan) -> Self {
        Self { race, plan }
    }

    /// Keeps what each step took, from now on. Of a search: of the network that is chosen, since it was taken up last.
    pub(crate) fn keep_trace(&mut self) {
        match &mut self.race {
            Race::One(it) => it.keep_trace(),
            Race::Many(it) => it.keep_trace(),
        }
    }

    /// What is known of the last epoch of the network whose turn it is.
    fn last_epoch(&self) -> Option<EpochFigures> {
        match &self.race {
            Race::One(it) => it.reports().last().map(figures),
            Race::Many(it) => it.trials()[it.at()?].reports.last().map(figures),
        }
    }

    /// The network of the best epoch. `broken_off`: why, when it was.
    pub(crate) fn finish(self, broken_off: Option<&'static str>) -> Result<Learned, Cause> {
        let is_over = self.is_over();
        let (at, trainer, trials) = match self.race {
            Race::One(trainer) => (0, *trainer, Vec::new()),
            Race::Many(search) => search.finish()?,
        };
        let is_whole = is_over && trainer.epochs_done() == trainer.options().epochs;
        let early = if is_over {
            Some("patience")
        } else {
            broken_off
        };
        Ok(Learned {
            best_epoch: trainer.best_epoch().unwrap_or(0),
            epochs: trainer.reports().iter().map(figures).collect(),
            profile: *trainer.profile(),
            trace: trainer.trace().to_vec(),
            network: Network(trainer.finish()?),
            ended_early: early.filter(|_| !is_whole),
            fit: self.plan.fits[at].clone(),
            candidates: candidates(&trials, at),
        })
    }
}

impl Learner for Training {
    fn epochs(&self) -> u32 {
        self.plan.epochs()
    }

    fn checkpoint(&mut self) -> Result<Vec<u8>, Cause> {
        Ok(match &mut self.race {
            Race::One(it) => it.checkpoint()?,
            Race::Many(it) => it.checkpoint()?,
        })
    }

    fn epochs_done(&self) -> u32 {
        match &self.race {
            Race::One(it) => it.epochs_done(),
            Race::Many(it) => it.epochs_done(),
        }
    }

    fn done(&self) -> f64 {
        match &self.race {
            Race::One(it) => f64::from(it.epochs_done()) / f64::from(it.options().epochs),
            Race::Many(it) => it.done(0.0),
        }
    }

    fn is_at_its_best(&self) -> bool {
        match &self.race {
            Race::One(it) => it.best_epoch() == Some(it.epochs_done()),
            // What was found before is in every later checkpoint.
            Race::Many(_) => true,
        }
    }

    fn spent(&self) -> Duration {
        match &self.race {
            Race::One(it) => it.spent(),
            Race::Many(it) => it.spent(),
        }
    }

    fn is_over(&self) -> bool {
        match &self.race {
            Race::One(it) => it.is_finished(),
            Race::Many(it) => it.at().is_none(),
        }
    }

    fn fit_into(&mut self, left: Duration) {
        if let Race::Many(it) = &mut self.race {
            it.fit_into(left);
        }
    }

    fn turn(&self) -> String {
        let Race::Many(search) = &self.race else {
            return String::new();
        };
        let Some(at) = search.at() else {
            return String::new();
        };
        let open = search
            .trials()
            .iter()
            .filter(|it| it.outcome == Outcome::Open);
        let before = &search.trials()[..=at];
        let place = before
            .iter()
            .filter(|it| it.outcome == Outcome::Open)
            .count();
        let name = title(&search.trials()[at].options);
        format!("{name} ({place} of {}): ", open.count())
    }

    fn epoch(
        &mut self,
        watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Option<ToldEpoch>, Cause> {
        let before = self.done();
        let whole = match &self.race {
            Race::One(it) => 1.0 / f64::from(it.options().epochs),
            Race::Many(it) => it.done(1.0) - before,
        };
        let mut on_step = |step: StepReport| {
            let of_epoch = step.step as f64 / step.n_steps as f64;
            watch(Step {
                epoch: step.epoch,
                done: before + whole * of_epoch,
                loss: step.loss,
            })
        };
        let report = match &mut self.race {
            Race::One(it) => it.epoch(&mut on_step)?,
            Race::Many(it) => it.epoch(&mut on_step)?.map(|it| it.1),
        };
        Ok(report.as_ref().map(|it| told(&figures(it))))
    }

    fn so_far(&self) -> Option<String> {
        let figures = self.last_epoch()?;
        let validation = figures.validation;
        (validation.n > 0).then(|| format!("balanced accuracy {:.2}", validation.balanced_accuracy))
    }
}

fn told(figures: &EpochFigures) -> ToldEpoch {
    let loss = figures.train_loss;
    let told = if figures.validation.n == 0 {
        let accuracy = figures.train_accuracy;
        format!("loss {loss:.2}, accuracy in training {accuracy:.2}")
    } else {
        let balanced = figures.validation.balanced_accuracy;
        format!("loss {loss:.2}, balanced accuracy {balanced:.2}")
    };
    ToldEpoch {
        epoch: figures.epoch,
        figures: told,
        is_best: figures.is_best,
    }
}

fn title(options: &TrainOptions) -> String {
    let begins = if options.pretrained.is_some() {
        ", with weights"
    } else {
        ""
    };
    format!(
        "{} {}{begins}",
        name_of(options.family),
        name_of(options.scale)
    )
}

/// What the report says of a search: the chosen one first, then those that came far, then those left out.
fn candidates(trials: &[Trial], chosen: usize) -> Vec<Candidate> {
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by_key(|&at| (at != chosen, std::cmp::Reverse(trials[at].reports.len())));
    let candidate = |at: usize| {
        let it = &trials[at];
        let n = it.reports.len();
        let best = it.best();
        Candidate {
            family: name_of(it.options.family),
            scale: name_of(it.options.scale),
            pretrained: it.options.pretrained.is_some(),
            epochs: n as u32,
            best_epoch: best.map_or(0, |it| it.epoch),
            macro_f1: best.map_or(0.0, |it| it.confusion.macro_f1()),
            loss: best.and_then(|it| it.validation_loss),
            outcome: match it.outcome {
                _ if at == chosen => "chosen".to_owned(),
                Outcome::Dropped => format!("not in the better half after {n} epochs"),
                Outcome::TooSlow => "left out: it does not fit into the time".to_owned(),
                Outcome::Open => "not the best when the search was ended".to_owned(),
            },
        }
    };
    order.into_iter().map(candidate).collect()
}

fn figures(report: &EpochReport) -> EpochFigures {
    EpochFigures {
        epoch: report.epoch,
        learning_rate: report.learning_rate,
        train_loss: report.train_loss,
        train_accuracy: report.train_accuracy,
        validation: Measured::of(&report.confusion, report.validation_loss),
        ap50: None,
        is_best: report.is_best,
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::Dir;
    use cellmill_core::metrics::Confusion;
    use cellmill_core::split::SplitRule;

    use super::*;

    #[test]
    fn an_epoch_is_told_in_words() {
        let mut validation = Confusion::new(2);
        validation.add(0, 0);
        let told = told(&EpochFigures {
            epoch: 3,
            learning_rate: 0.1,
            train_loss: 0.409,
            train_accuracy: 0.9,
            validation: Measured::of(&validation, None),
            ap50: None,
            is_best: true,
        });
        assert_eq!(told.figures, "loss 0.41, balanced accuracy 1.00");
    }

    /// The settings that a job record holds and the options that were measured are one.
    #[test]
    fn what_nobody_chose_is_what_was_measured() {
        let parameters = TrainParameters {
            network: NetworkSettings::default(),
            ..crate::tests::training(&[1, 2])
        };
        let defaults = TrainOptions::default();
        let expected = TrainOptions {
            side: parameters.resize as usize,
            seed: parameters.seed,
            ..defaults
        };
        assert_eq!(options(&parameters).unwrap(), expected);
    }

    #[test]
    fn settings_are_translated_and_all_problems_named() {
        let mut parameters = TrainParameters {
            ddir: Dir::parse("DkxD9Kjl").unwrap(),
            did: 1,
            mid: 100,
            types: vec![301, 302, 303],
            merge: Vec::new(),
            resize: 48,
            time: 0,
            split: SplitRule::Case,
            seed: 9,
            network: NetworkSettings::default(),
            detector: None,
            propose_for: None,
            shuffle_labels: false,
            profile: false,
        };
        let made = options(&parameters).unwrap();
        assert_eq!((made.side, made.n_classes, made.seed), (48, 3, 9));
        assert_eq!(name_of(made.scale), parameters.network.scale);
        assert_eq!(name_of(made.class_weights), "square_root");
        parameters.network.scale = "huge".to_owned();
        parameters.network.batch = 0;
        parameters.resize = 4;
        let Err(Failure::Permanent { what, .. }) = options(&parameters) else {
            panic!("settings that can't be");
        };
        for part in ["scale is `huge`", "batch is 0", "side is 4"] {
            assert!(what.contains(part), "{what}");
        }
    }

    #[test]
    fn a_search_tries_all_families_up_to_the_scale_and_the_cheapest_first() {
        let mut parameters = crate::tests::training(&[1, 2]);
        parameters.network.family = "auto".to_owned();
        let small = Plan::new(&parameters, None).unwrap();
        assert!(small.is_search() && small.trials.len() == 6);
        assert!(small.trials.is_sorted_by(|a, b| a.1 <= b.1));
        let rates = small
            .trials
            .iter()
            .map(|it| (it.0.family, it.0.learning_rate));
        for (family, rate) in rates {
            assert_eq!(rate.to_bits(), family.learning_rate().to_bits());
        }
        parameters.network.scale = "normal".to_owned();
        parameters.network.learning_rate = Some(1e-3);
        let normal = Plan::new(&parameters, None).unwrap();
        assert_eq!(normal.trials.len(), 12);
        assert!(
            normal
                .trials
                .iter()
                .all(|it| it.0.learning_rate.to_bits() == 1e-3_f64.to_bits())
        );
        parameters.network.batch = 0;
        assert!(matches!(
            Plan::new(&parameters, None),
            Err(NoPlan::Settings(_))
        ));
    }
}
