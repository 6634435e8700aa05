//! The loop over epochs and steps.

use super::TrainError;
use super::average::Average;
use super::feed::{Feed, n_steps};
use super::profile::{Clock, Part, Profile, TraceEvent};
use super::step::Stepper;
use crate::classifier::{Classifier, ModelSpec, SPEC_VERSION, argmax};
use crate::device::OpenDevice;
use crate::layers::Pass;
use crate::layers::values::{fill, read};
use crate::loss::log_softmax;
use crate::models::Network;
use crate::optimiser::{AdamW, learning_rate};
use crate::options::TrainOptions;
use crate::samples::{Normalisation, Samples};
use crate::state::{self, Named};
use crate::weights::{self, Foreign};
use candle_core::Tensor;
use cellmill_core::metrics::Confusion;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One step of an epoch, told while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub epoch: u32,
    /// From 1.
    pub step: usize,
    /// Steps of the epoch.
    pub n_steps: usize,
    /// Of this step's pictures.
    pub loss: f64,
    pub learning_rate: f64,
}

/// One epoch that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    /// Of the last step.
    pub learning_rate: f64,
    /// Mean over the pictures, as they were changed and while the weights moved.
    pub train_loss: f64,
    pub train_accuracy: f64,
    /// Plain cross-entropy: without class weights and smoothing. None without a validation part.
    pub validation_loss: Option<f64>,
    /// Of the validation part.
    pub confusion: Confusion,
    /// Whether it is the best so far: highest macro-F1, then lowest loss.
    pub is_best: bool,
}

/// How good an epoch was, and its weights.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub epoch: u32,
    pub macro_f1: f64,
    pub loss: f64,
    pub values: Named,
}

/// A training between two epochs.
///
/// Everything random is drawn from the seed of the settings, so two trainings of the same settings, samples
/// and processor give the same bits, on any number of threads.
#[derive(Debug)]
pub struct Trainer {
    pub(super) options: TrainOptions,
    pub(super) device: OpenDevice,
    pub(super) network: Network,
    pass: Pass,
    pub(super) optimiser: AdamW,
    pub(super) train: Arc<Samples>,
    pub(super) validation: Arc<Samples>,
    normalisation: Normalisation,
    class_weights: Vec<f32>,
    /// Epochs done.
    pub(super) epoch: u32,
    pub(super) best: Option<Best>,
    pub(super) reports: Vec<EpochReport>,
    pub(super) spent: Duration,
    pub(super) clock: Clock,
    /// Where it was asked for.
    pub(super) average: Option<Average>,
}

impl Trainer {
    /// Checks everything and makes a network with fresh weights.
    pub fn new(
        options: TrainOptions,
        train: impl Into<Arc<Samples>>,
        validation: impl Into<Arc<Samples>>,
        device: &OpenDevice,
    ) -> Result<Self, TrainError> {
        if options.pretrained.is_some() {
            return Err(TrainError::OtherWeights);
        }
        Self::start(options, train.into(), validation.into(), device)
    }

    /// Begins with the weights that the settings name: those of [`TrainOptions::with_weights`].
    pub fn with_weights(
        options: TrainOptions,
        train: impl Into<Arc<Samples>>,
        validation: impl Into<Arc<Samples>>,
        device: &OpenDevice,
        foreign: &Foreign,
    ) -> Result<Self, TrainError> {
        if options.pretrained.as_deref() != Some(foreign.fingerprint()) {
            return Err(TrainError::OtherWeights);
        }
        let family = options.family;
        let mut it = Self::start(options, train.into(), validation.into(), device)?;
        weights::load_into(&mut it.network, foreign, family).map_err(TrainError::Weights)?;
        it.average = average_of(&it.options, &mut it.network).map_err(TrainError::Network)?;
        Ok(it)
    }

    pub(super) fn start(
        options: TrainOptions,
        train: Arc<Samples>,
        validation: Arc<Samples>,
        device: &OpenDevice,
    ) -> Result<Self, TrainError> {
        options.check()?;
        check_part("training", &train, &options)?;
        check_part("validation", &validation, &options)?;
        if train.len() < 2 {
            return Err(TrainError::TooFew { count: train.len() });
        }
        let label = train.labels()[0];
        if train.labels().iter().all(|it| *it == label) {
            return Err(TrainError::OneClass { label });
        }
        let (train, validation) = if options.gray {
            (train.to_grey().into(), validation.to_grey().into())
        } else {
            (train, validation)
        };
        let candle = device.candle();
        let architecture = options.architecture();
        let network = architecture.build(options.dropout, options.seed, candle);
        let mut network = network.map_err(TrainError::Network)?;
        let average = average_of(&options, &mut network).map_err(TrainError::Network)?;
        Ok(Self {
            average,
            network,
            device: device.clone(),
            pass: device.pass(options.seed),
            optimiser: AdamW::new(options.weight_decay),
            normalisation: options
                .normalisation
                .unwrap_or_else(|| train.normalisation()),
            class_weights: options.class_weights.of(&train.counts(options.n_classes)),
            epoch: 0,
            best: None,
            reports: Vec::new(),
            spent: Duration::ZERO,
            clock: Clock::new(),
            options,
            train,
            validation,
        })
    }

    pub const fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Epochs done.
    pub const fn epochs_done(&self) -> u32 {
        self.epoch
    }

    /// The best epoch so far, from 1.
    pub fn best_epoch(&self) -> Option<u32> {
        self.best.as_ref().map(|it| it.epoch)
    }

    /// What was told of the epochs that are done, those before a resume too.
    pub fn reports(&self) -> &[EpochReport] {
        &self.reports
    }

    /// Time that the epochs took that are done, those before a resume too.
    pub const fn spent(&self) -> Duration {
        self.spent
    }

    /// Where that time went.
    pub const fn profile(&self) -> &Profile {
        &self.clock.profile
    }

    /// From now on single events are kept, for [`trace`](Self::trace).
    pub fn keep_trace(&mut self) {
        let n = self.n_steps() as u64 * u64::from(self.options.epochs);
        self.clock.trace(n);
    }

    /// Events of the first epoch and of some steps of later ones, since [`keep_trace`](Self::keep_trace).
    pub fn trace(&self) -> &[TraceEvent] {
        self.clock.events()
    }

    /// Steps of an epoch.
    pub fn n_steps(&self) -> usize {
        n_steps(self.train.len(), self.options.batch)
    }

    /// Whether all epochs are done, or none was better for as long as the patience lasts.
    pub fn is_finished(&self) -> bool {
        let since = self.epoch - self.best_epoch().unwrap_or(0);
        self.epoch >= self.options.epochs || self.options.patience.is_some_and(|it| since >= it)
    }

    /// Trains one epoch and measures it. `on_step` is told of each step; when it breaks, the epoch is taken
    /// back as if it had never begun, and the answer is `None`. The same holds after an error.
    pub fn epoch(
        &mut self,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Option<EpochReport>, TrainError> {
        if self.is_finished() {
            return Err(TrainError::Finished { epochs: self.epoch });
        }
        let begun = Instant::now();
        let values = state::values_of(&mut self.network).map_err(TrainError::Network)?;
        let (optimiser, profile) = (self.optimiser.clone(), self.clock.profile);
        let average = self.average.clone();
        let trained = self.train_epoch(on_step);
        if !matches!(trained, Ok(Some(_))) {
            self.optimiser = optimiser;
            self.clock.profile = profile;
            self.average = average;
            state::restore(&mut self.network, &values).map_err(TrainError::Network)?;
        }
        let Some(trained) = trained? else {
            return Ok(None);
        };
        self.epoch += 1;
        self.swap_average()?;
        let report = self.measure(trained);
        self.swap_average()?;
        let report = report?;
        self.reports.push(report.clone());
        self.spent += begun.elapsed();
        Ok(Some(report))
    }

    fn train_epoch(
        &mut self,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Option<Trained>, TrainError> {
        let (begun, epoch, n) = (Instant::now(), self.epoch, self.train.len());
        let feed = Feed::new(&self.train, &self.options, &self.normalisation, epoch);
        let n_steps = feed.n_steps();
        let mut sum = Trained::default();
        let mut first = self
            .pass
            .take(&feed.shape(0))
            .map_err(TrainError::Network)?;
        let filled = fill(&mut first, |it| feed.fill(0, it));
        filled.map_err(TrainError::Network)?;
        self.clock.at_step(epoch + 1, self.optimiser.steps);
        self.clock.took(Part::Wait, begun);
        let mut next = Some(first);
        for step in 0..n_steps {
            let x = next.take().expect("a batch was made for each step");
            let steps = self.optimiser.steps;
            self.clock.at_step(epoch + 1, steps);
            let rate = rate_of(&self.options, steps, n_steps);
            if step + 1 < n_steps {
                let room = self.pass.take(&feed.shape(step + 1));
                next = Some(room.map_err(TrainError::Network)?);
            }
            let mut stepper = Stepper {
                options: &self.options,
                head_steps: u64::from(self.options.head_epochs) * n_steps as u64,
                class_weights: &self.class_weights,
                network: &mut self.network,
                pass: &mut self.pass,
                optimiser: &mut self.optimiser,
                average: self.average.as_mut(),
                clock: &mut self.clock,
            };
            let labels = feed.labels(step);
            // The next batch is made beside the step. Both take what threads there are, and the step goes first.
            let ((stepped, stepped_at), filled) = rayon::join(
                || (stepper.step(x, &labels, rate), Instant::now()),
                || {
                    let begun = Instant::now();
                    let filled = next
                        .as_mut()
                        .map(|it| fill(it, |it| feed.fill(step + 1, it)));
                    filled.transpose().map(|_| (begun, begun.elapsed()))
                },
            );
            let (made_at, making) = filled.map_err(TrainError::Network)?;
            if next.is_some() {
                self.clock.add(Part::Augment, made_at, making);
                self.clock.took(Part::Wait, stepped_at);
            }
            let (loss, n_right) = stepped.map_err(TrainError::Network)?;
            if !loss.is_finite() {
                return Err(TrainError::Diverged {
                    epoch: epoch + 1,
                    step: step + 1,
                    learning_rate: rate,
                });
            }
            sum.loss += loss * labels.len() as f64 / n as f64;
            sum.accuracy += n_right as f64 / n as f64;
            sum.learning_rate = rate;
            let report = StepReport {
                epoch: epoch + 1,
                step: step + 1,
                n_steps,
                loss,
                learning_rate: rate,
            };
            if on_step(report).is_break() {
                return Ok(None);
            }
        }
        self.clock.looped(begun.elapsed(), n, n_steps);
        Ok(Some(sum))
    }

    /// Puts the average in the place of the weights, or back.
    fn swap_average(&mut self) -> Result<(), TrainError> {
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        average.swap(&mut self.network).map_err(TrainError::Network)
    }

    /// Measures the validation part, and keeps the weights if they are the best.
    fn measure(&mut self, trained: Trained) -> Result<EpochReport, TrainError> {
        let (confusion, loss) = self.validate().map_err(TrainError::Network)?;
        let macro_f1 = confusion.macro_f1();
        let is_best = self.best.as_ref().is_none_or(|best| {
            let better =
                macro_f1 > best.macro_f1 || (macro_f1 >= best.macro_f1 && loss < best.loss);
            better || self.validation.is_empty()
        });
        if is_best {
            self.best = Some(Best {
                epoch: self.epoch,
                macro_f1,
                loss,
                values: state::values_of(&mut self.network).map_err(TrainError::Network)?,
            });
        }
        Ok(EpochReport {
            epoch: self.epoch,
            learning_rate: trained.learning_rate,
            train_loss: trained.loss,
            train_accuracy: trained.accuracy,
            validation_loss: (!self.validation.is_empty()).then_some(loss),
            confusion,
            is_best,
        })
    }

    fn validate(&mut self) -> Result<(Confusion, f64), candle_core::Error> {
        let begun = self.clock.now();
        let (side, n_classes) = (self.options.side, self.options.n_classes);
        let one = side * side * 3;
        let mut confusion = Confusion::new(n_classes);
        let mut loss = 0.0;
        let pixels = self.validation.pixels().chunks(VALIDATION_BATCH * one);
        let labels = self.validation.labels().chunks(VALIDATION_BATCH);
        for (pixels, labels) in pixels.zip(labels) {
            let mut x: Tensor = self.pass.take(&[labels.len(), side, side, 3])?;
            fill(&mut x, |x| self.normalisation.apply(pixels, x))?;
            let output = self.network.infer(x, &mut self.pass)?;
            {
                let logits = read(&output.logits)?;
                for (row, label) in logits.chunks_exact(n_classes).zip(labels) {
                    confusion.add(*label, argmax(row));
                    loss -= log_softmax(row)[*label] / self.validation.len() as f64;
                }
            }
            self.pass.give(output.logits);
        }
        self.clock.took(Part::Validate, begun);
        Ok((confusion, loss))
    }

    /// The classifier with the weights of the best epoch, or the present ones if no epoch was done.
    pub fn finish(mut self) -> Result<Classifier, TrainError> {
        if let Some(best) = &self.best {
            state::restore(&mut self.network, &best.values).map_err(TrainError::Network)?;
        }
        let spec = ModelSpec {
            v: SPEC_VERSION,
            architecture: self.options.architecture(),
            gray: self.options.gray,
            normalisation: self.normalisation,
            pretrained: self.options.pretrained,
        };
        Ok(Classifier::new(spec, self.network, &self.device))
    }
}

/// Pictures of one inference step in validation.
const VALIDATION_BATCH: usize = 64;

/// The learning rate after so many steps.
fn rate_of(options: &TrainOptions, steps: u64, n_steps: usize) -> f64 {
    let n = n_steps as u64;
    learning_rate(
        options.learning_rate,
        steps,
        n * u64::from(options.warm_up_epochs),
        n * u64::from(options.epochs),
    )
}

/// What an epoch's training gave.
#[derive(Clone, Copy, Default)]
struct Trained {
    loss: f64,
    accuracy: f64,
    learning_rate: f64,
}

/// The running mean that the settings ask for, beginning with the network's values.
fn average_of(
    options: &TrainOptions,
    network: &mut Network,
) -> Result<Option<Average>, candle_core::Error> {
    let average = options.ema.map(|decay| Average::new(decay, network));
    average.transpose()
}

fn check_part(
    part: &'static str,
    samples: &Samples,
    options: &TrainOptions,
) -> Result<(), TrainError> {
    if samples.side() != options.side && !samples.is_empty() {
        return Err(TrainError::Side {
            part,
            expected: options.side,
            given: samples.side(),
        });
    }
    let n_classes = options.n_classes;
    match samples.labels().iter().find(|it| **it >= n_classes) {
        Some(label) => Err(TrainError::Label {
            part,
            label: *label,
            n_classes,
        }),
        None => Ok(()),
    }
}
