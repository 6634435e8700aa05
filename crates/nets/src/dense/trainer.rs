//! The loop over epochs and steps.

use super::crop::Crop;
use super::error::DenseError;
use super::network::DenseNetwork;
use super::options::DenseOptions;
use super::picture::{Field, normalisation};
use super::task::Task;
use crate::augment::Planes;
use crate::device::OpenDevice;
use crate::layers::Chain;
use crate::layers::values::{fill, read};
use crate::optimiser::{AdamW, Pace, learning_rate};
use crate::rng::{Purpose, Rng};
use crate::samples::Normalisation;
use crate::state;
use crate::trainer::Average;
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One step of an epoch, told while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseStep {
    /// From 1.
    pub epoch: u32,
    /// From 1.
    pub step: usize,
    /// Steps of the epoch.
    pub n_steps: usize,
    pub loss: f64,
}

/// One epoch that is done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseEpoch {
    /// From 1.
    pub epoch: u32,
    /// Of the last step.
    pub learning_rate: f64,
    /// Mean over the steps.
    pub train_loss: f64,
    /// What was measured after it, if anything was: see [`DenseTrainer::set_score`].
    pub score: Option<f64>,
}

/// A training on fields between two epochs.
///
/// Everything random is drawn from the seed of the settings, so two trainings of the same settings, fields and
/// processor give the same bits, on any number of threads.
#[derive(Debug)]
pub struct DenseTrainer<T: Task> {
    pub(super) task: T,
    pub(super) options: DenseOptions,
    pub(super) device: OpenDevice,
    pub(super) network: DenseNetwork,
    pub(super) optimiser: AdamW,
    pub(super) average: Average,
    pub(super) fields: Arc<Vec<Field<T::Truth>>>,
    normalisation: Normalisation,
    /// For each crop of an epoch, the field that it is taken of.
    shots: Vec<usize>,
    pub(super) reports: Vec<DenseEpoch>,
    pub(super) spent: Duration,
}

impl<T: Task> DenseTrainer<T> {
    /// Checks everything. `layers`: what [`Task::build`] made, with the weights that the settings name, if they do.
    pub(crate) fn start(
        task: T,
        options: DenseOptions,
        layers: Chain,
        fields: Arc<Vec<Field<T::Truth>>>,
        device: &OpenDevice,
    ) -> Result<Self, DenseError> {
        let mut problems = options.problems();
        problems.extend(task.problems());
        if !problems.is_empty() {
            return Err(DenseError::Options { problems });
        }
        if fields.is_empty() {
            return Err(DenseError::NoFields);
        }
        if fields.iter().all(|it| task.centers(&it.truth).is_empty()) {
            return Err(DenseError::NoCells {
                count: fields.len(),
            });
        }
        let mut network = DenseNetwork::new(layers, options.seed, device);
        let average = Average::new(options.ema, &mut network.layers);
        let normalisation = options
            .normalisation
            .unwrap_or_else(|| normalisation(fields.iter().map(|it| &it.picture)));
        Ok(Self {
            average: average.map_err(DenseError::Network)?,
            network,
            optimiser: AdamW::new(options.weight_decay),
            normalisation,
            shots: shots(&fields, options.side),
            device: device.clone(),
            task,
            options,
            fields,
            reports: Vec::new(),
            spent: Duration::ZERO,
        })
    }

    pub const fn options(&self) -> &DenseOptions {
        &self.options
    }

    pub const fn task(&self) -> &T {
        &self.task
    }

    pub const fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> u32 {
        self.reports.len() as u32
    }

    /// What was told of the epochs that are done, those before a resume too.
    pub fn reports(&self) -> &[DenseEpoch] {
        &self.reports
    }

    /// Notes how good the last epoch was, by whatever measure: checkpoints keep it, and nothing else depends on it.
    pub fn set_score(&mut self, score: f64) {
        if let Some(it) = self.reports.last_mut() {
            it.score = Some(score);
        }
    }

    /// A network of this training's shape with other weights.
    pub fn fresh(&self) -> Result<Chain, DenseError> {
        let layers = self.task.build(0, self.device.candle());
        layers.map_err(DenseError::Network)
    }

    /// Time that the epochs took that are done, those before a resume too.
    pub const fn spent(&self) -> Duration {
        self.spent
    }

    /// Steps of an epoch.
    pub fn n_steps(&self) -> usize {
        self.shots.len().div_ceil(self.options.batch)
    }

    pub fn is_finished(&self) -> bool {
        self.epochs_done() >= self.options.epochs
    }

    /// Trains one epoch. `on_step` is told of each step; when it breaks, the epoch is taken back as if it had never
    /// begun, and the answer is `None`. The same holds after an error.
    pub fn epoch(
        &mut self,
        on_step: &mut dyn FnMut(DenseStep) -> ControlFlow<()>,
    ) -> Result<Option<DenseEpoch>, DenseError> {
        if self.is_finished() {
            return Err(DenseError::Finished {
                epochs: self.epochs_done(),
            });
        }
        let begun = Instant::now();
        let values = state::values_of(&mut self.network.layers).map_err(DenseError::Network)?;
        let (optimiser, average) = (self.optimiser.clone(), self.average.clone());
        let trained = self.train_epoch(on_step);
        if !matches!(trained, Ok(Some(_))) {
            self.optimiser = optimiser;
            self.average = average;
            state::restore(&mut self.network.layers, &values).map_err(DenseError::Network)?;
        }
        let trained = trained?;
        self.reports.extend(trained);
        self.spent += begun.elapsed();
        Ok(trained)
    }

    fn train_epoch(
        &mut self,
        on_step: &mut dyn FnMut(DenseStep) -> ControlFlow<()>,
    ) -> Result<Option<DenseEpoch>, DenseError> {
        let (epoch, n_steps) = (self.epochs_done(), self.n_steps());
        let place = [u64::from(epoch), 0];
        let order = Rng::new(self.options.seed, Purpose::Order, place);
        let order = { order }.permutation(self.shots.len());
        let batches: Vec<&[usize]> = order.chunks(self.options.batch).collect();
        let mut next = Some(self.batch(batches[0], epoch)?);
        let mut sum = 0.0;
        let mut rate = 0.0;
        for step in 0..n_steps {
            let batch = next.take().expect("a batch was made for each step");
            rate = self.rate(n_steps);
            let feed = Feed {
                task: &self.task,
                options: &self.options,
                normalisation: &self.normalisation,
                fields: &self.fields,
                shots: &self.shots,
                epoch,
            };
            let mut room = match batches.get(step + 1) {
                Some(it) => {
                    let shape = feed.shape(it.len());
                    let room = self.network.pass.take(&shape);
                    Some(room.map_err(DenseError::Network)?)
                }
                None => None,
            };
            let stepper = Stepper {
                task: &self.task,
                body_rate: self.options.body_rate,
                network: &mut self.network,
                optimiser: &mut self.optimiser,
                average: &mut self.average,
            };
            // The next batch is made beside the step.
            let (loss, seen) = rayon::join(
                || stepper.step(batch, rate),
                || {
                    let room = room.as_mut().zip(batches.get(step + 1));
                    room.map(|(x, it)| feed.fill(it, x)).transpose()
                },
            );
            let loss = loss.map_err(DenseError::Network)?;
            let seen = seen.map_err(DenseError::Network)?;
            next = room.zip(seen).map(|(x, seen)| Batch { x, seen });
            if !loss.is_finite() {
                return Err(DenseError::Diverged {
                    epoch: epoch + 1,
                    step: step + 1,
                    learning_rate: rate,
                });
            }
            sum += loss;
            let report = DenseStep {
                epoch: epoch + 1,
                step: step + 1,
                n_steps,
                loss,
            };
            if on_step(report).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(DenseEpoch {
            epoch: epoch + 1,
            learning_rate: rate,
            train_loss: sum / n_steps as f64,
            score: None,
        }))
    }

    fn batch(&mut self, shots: &[usize], epoch: u32) -> Result<Batch<T::Seen>, DenseError> {
        let feed = Feed {
            task: &self.task,
            options: &self.options,
            normalisation: &self.normalisation,
            fields: &self.fields,
            shots: &self.shots,
            epoch,
        };
        let x = self.network.pass.take(&feed.shape(shots.len()));
        let mut x = x.map_err(DenseError::Network)?;
        let seen = feed.fill(shots, &mut x).map_err(DenseError::Network)?;
        Ok(Batch { x, seen })
    }

    fn rate(&self, n_steps: usize) -> f64 {
        let warm_up = (self.options.warm_up_epochs * n_steps as f64).round() as u64;
        let total = u64::from(self.options.epochs) * n_steps as u64;
        learning_rate(
            self.options.learning_rate,
            self.optimiser.steps,
            warm_up,
            total,
        )
    }

    /// A network of the averaged weights: what the training would end with now.
    pub(crate) fn averaged(&self) -> Result<DenseNetwork, DenseError> {
        let mut layers = self.fresh()?;
        state::restore(&mut layers, &self.average.values).map_err(DenseError::Network)?;
        Ok(DenseNetwork::new(layers, 0, &self.device))
    }
}

/// For each crop of an epoch its field: as many as would cover it.
fn shots<T>(fields: &[Field<T>], side: usize) -> Vec<usize> {
    let crops = |it: &Field<T>| {
        let area = (it.picture.width * it.picture.height) as f64 / (side * side) as f64;
        (area.round() as usize).max(1)
    };
    let all = fields.iter().enumerate();
    all.flat_map(|(at, it)| std::iter::repeat_n(at, crops(it)))
        .collect()
}

/// What a step learns from.
struct Batch<S> {
    x: Tensor,
    seen: Vec<S>,
}

/// Makes the batches of one epoch: functions of the settings, the epoch and their crops.
struct Feed<'a, T: Task> {
    task: &'a T,
    options: &'a DenseOptions,
    normalisation: &'a Normalisation,
    fields: &'a [Field<T::Truth>],
    shots: &'a [usize],
    epoch: u32,
}

impl<T: Task> Feed<'_, T> {
    const fn shape(&self, n: usize) -> [usize; 4] {
        [n, self.options.side, self.options.side, 3]
    }

    fn fill(&self, shots: &[usize], x: &mut Tensor) -> candle_core::Result<Vec<T::Seen>> {
        let side = self.options.side;
        let mut seen = Vec::new();
        fill(x, |x| {
            let pictures = x.par_chunks_mut(side * side * 3).zip(shots);
            pictures
                .map_init(
                    || Planes::new(side),
                    |planes, (x, shot)| self.one(*shot, planes, x),
                )
                .collect_into_vec(&mut seen);
        })?;
        Ok(seen)
    }

    fn one(&self, shot: usize, planes: &mut Planes, x: &mut [f32]) -> T::Seen {
        let options = self.options;
        let field = &self.fields[self.shots[shot]];
        let place = [u64::from(self.epoch), shot as u64];
        let crop = Crop::draw(
            &field.picture,
            options.side,
            options.scale_jitter,
            options.augment.quarter_turns,
            &self.task.centers(&field.truth),
            &mut Rng::new(options.seed, Purpose::Crop, place),
        );
        // Outside of the field is what normalisation makes 0 of.
        let outside = self.normalisation.mean.map(|it| it * 255.0);
        planes.begin();
        crop.each_pixel(&field.picture, |it| planes.push(it.unwrap_or(outside)));
        let mut rng = Rng::new(options.seed, Purpose::Augment, place);
        options.augment.recolour(planes, &mut rng);
        planes.normalised(self.normalisation, x);
        self.task.seen(&field.truth, &crop)
    }
}

/// What a step moves.
struct Stepper<'a, T: Task> {
    task: &'a T,
    body_rate: f64,
    network: &'a mut DenseNetwork,
    optimiser: &'a mut AdamW,
    average: &'a mut Average,
}

impl<T: Task> Stepper<'_, T> {
    /// Weights do not move on a loss that is no number.
    fn step(self, batch: Batch<T::Seen>, rate: f64) -> candle_core::Result<f64> {
        self.network.pass.step = self.optimiser.steps;
        let mut y = self.network.forward(batch.x)?;
        let (_, rows, columns, _) = y.dims4()?;
        let loss = self.task.loss(&read(&y)?, [rows, columns], &batch.seen);
        if loss.value.is_finite() {
            fill(&mut y, |it| it.copy_from_slice(&loss.gradient))?;
            self.network.backward(y)?;
            let pace = |name: &str| {
                let part = if self.task.is_head(name) {
                    1.0
                } else {
                    self.body_rate
                };
                let moves = part > 0.0;
                moves.then_some(Pace {
                    rate: rate * part,
                    since: 0,
                })
            };
            let layers = &mut self.network.layers;
            self.optimiser.step_by(layers, &pace)?;
            self.average.update(layers, self.optimiser.steps)?;
        }
        Ok(loss.value)
    }
}
