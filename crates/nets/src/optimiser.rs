//! `AdamW` and its learning rate.

use crate::kernels::kernel;
use crate::layers::values::{read, write};
use crate::layers::{Layer, Parameter, Slot};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;
use std::f64::consts::PI;

/// `AdamW` (Loshchilov and Hutter 2019) with `PyTorch`'s defaults for what is not set: betas 0.9 and 0.999,
/// epsilon 1e-8. Weight decay is decoupled, and left out for biases and batch normalisation.
#[derive(Clone, Debug)]
pub struct AdamW {
    pub weight_decay: f64,
    /// Steps done.
    pub(crate) steps: u64,
    /// First and second moments of each parameter, in the order of the network's visit.
    pub(crate) moments: Vec<[Moments; 2]>,
}

/// The moments of a parameter: where the parameter is.
#[derive(Clone, Debug)]
pub(crate) enum Moments {
    Here(Vec<f32>),
    /// Never changed in place, so a clone is a copy.
    OnCard(Tensor),
}

impl Moments {
    fn zeros(parameter: &Parameter) -> Result<Self> {
        let it = &parameter.value;
        Self::of(vec![0.0; it.elem_count()], it.dims(), it.device())
    }

    /// These values for a parameter of this shape on this device.
    pub(crate) fn of(values: Vec<f32>, shape: &[usize], device: &Device) -> Result<Self> {
        if device.is_cpu() {
            return Ok(Self::Here(values));
        }
        Tensor::from_vec(values, shape, device).map(Self::OnCard)
    }

    /// A copy of the values.
    pub(crate) fn values(&self) -> Result<Vec<f32>> {
        match self {
            Self::Here(it) => Ok(it.clone()),
            Self::OnCard(it) => it.flatten_all()?.to_vec1(),
        }
    }
}

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
/// Values of one task.
const CHUNK: usize = 1 << 14;

/// The numbers of one step, the same for all values of a parameter.
#[derive(Clone, Copy)]
struct Step {
    keep: f32,
    rate: f32,
    root: f32,
}

/// How a parameter moves in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub rate: f64,
    /// Steps in which the parameter rested before it began to move.
    pub since: u64,
}

impl AdamW {
    pub const fn new(weight_decay: f64) -> Self {
        Self {
            weight_decay,
            steps: 0,
            moments: Vec::new(),
        }
    }

    /// Moves every parameter against its gradient.
    pub fn step(&mut self, network: &mut dyn Layer, learning_rate: f64) -> Result<()> {
        let pace = Pace {
            rate: learning_rate,
            since: 0,
        };
        self.step_by(network, &|_| Some(pace))
    }

    /// Moves each parameter as told by its name; those without a pace rest.
    pub fn step_by(
        &mut self,
        network: &mut dyn Layer,
        pace: &dyn Fn(&str) -> Option<Pace>,
    ) -> Result<()> {
        self.steps += 1;
        let mut at = 0;
        network.visit("", &mut |name, slot| {
            let Slot::Parameter(parameter) = slot else {
                return Ok(());
            };
            if at == self.moments.len() {
                let zeros = Moments::zeros(parameter)?;
                self.moments.push([zeros.clone(), zeros]);
            }
            at += 1;
            match pace(name) {
                Some(pace) => self.update(at - 1, parameter, pace),
                None => Ok(()),
            }
        })
    }

    fn update(&mut self, at: usize, parameter: &mut Parameter, pace: Pace) -> Result<()> {
        let decay = if parameter.decay {
            self.weight_decay
        } else {
            0.0
        };
        let learning_rate = pace.rate;
        let correction = |beta: f64| 1.0 - beta.powf((self.steps - pace.since) as f64);
        let step = Step {
            keep: (1.0 - learning_rate * decay) as f32,
            rate: (learning_rate / correction(BETAS[0])) as f32,
            root: correction(BETAS[1]).sqrt() as f32,
        };
        let (first, second) = match &mut self.moments[at] {
            [Moments::Here(first), Moments::Here(second)] => (first, second),
            [Moments::OnCard(first), Moments::OnCard(second)] => {
                return move_on_card(step, parameter, first, second);
            }
            _ => unreachable!("both moments are where their parameter is"),
        };
        let gradient = read(&parameter.gradient)?;
        write(&parameter.value, |value| {
            value
                .par_chunks_mut(CHUNK)
                .zip(gradient.par_chunks(CHUNK))
                .zip(
                    first
                        .par_chunks_mut(CHUNK)
                        .zip(second.par_chunks_mut(CHUNK)),
                )
                .for_each(|((value, gradient), (first, second))| {
                    move_values(step, value, gradient, first, second);
                });
        })
    }
}

/// The same on a card, in candle's operations.
fn move_on_card(
    step: Step,
    it: &mut Parameter,
    first: &mut Tensor,
    second: &mut Tensor,
) -> Result<()> {
    let g = it.gradient.reshape(it.value.shape())?;
    *first = ((&*first * BETAS[0])? + (&g * (1.0 - BETAS[0]))?)?;
    *second = ((&*second * BETAS[1])? + (g.sqr()? * (1.0 - BETAS[1]))?)?;
    let root = ((second.sqrt()? / f64::from(step.root))? + EPSILON)?;
    let moved = ((&*first * f64::from(step.rate))? / root)?;
    it.value = ((&it.value * f64::from(step.keep))? - moved)?;
    Ok(())
}

kernel! {
fn move_values<'a>(
    step: Step, value: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32],
) {
    let [b1, b2] = BETAS.map(|it| it as f32);
    let [c1, c2] = BETAS.map(|it| (1.0 - it) as f32);
    let n = value.len();
    let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
    for at in 0..n {
        let g = gradient[at];
        first[at] = b1 * first[at] + c1 * g;
        second[at] = b2 * second[at] + c2 * g * g;
        let root = second[at].sqrt() / step.root + EPSILON as f32;
        value[at] = value[at] * step.keep - step.rate * first[at] / root;
    }
}
}

/// The learning rate of a step: a linear rise over the warm-up, then half a cosine down to 0.
pub fn learning_rate(peak: f64, step: u64, warm_up: u64, total: u64) -> f64 {
    if step < warm_up {
        return peak * (step + 1) as f64 / warm_up as f64;
    }
    let done = (step - warm_up) as f64 / total.saturating_sub(warm_up).max(1) as f64;
    peak * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_nothing() {
        let rates: Vec<f64> = (0..=10).map(|it| learning_rate(2.0, it, 4, 10)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[7] - 1.0).abs() < 1e-12);
        assert!(rates[4..].windows(2).all(|it| it[1] < it[0]));
        assert!(rates[10].abs() < 1e-12);
        assert!(learning_rate(2.0, 99, 0, 10).abs() < 1e-12);
    }

    /// A case of `tests/peers/torch_golden.py`.
    #[derive(Deserialize)]
    struct Case {
        number: u64,
        count: usize,
        peak: f64,
        decay: f64,
        steps: usize,
        decayed: Vec<f32>,
        plain: Vec<f32>,
    }

    #[test]
    fn steps_are_those_of_pytorch_with_and_without_decay() {
        let all: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/layers.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_value(all["adams"].clone()).unwrap();
        for case in cases {
            for (decays, expected) in [(true, &case.decayed), (false, &case.plain)] {
                let mut state = case.number;
                let mut draw = |_: usize| {
                    state = (1_103_515_245 * state + 12_345) % (1 << 31);
                    (((state >> 16) % 2001) as f64 / 1000.0 - 1.0) as f32
                };
                let mut parameter = Parameter::constant(case.count, 0.0, &Device::Cpu).unwrap();
                parameter.decay = decays;
                let mut fill = |tensor: &Tensor| {
                    let values: Vec<f32> = (0..case.count).map(&mut draw).collect();
                    write(tensor, |it| it.copy_from_slice(&values)).unwrap();
                };
                fill(&parameter.value);
                let mut adam = AdamW::new(case.decay);
                let zeros = Moments::zeros(&parameter).unwrap();
                adam.moments.push([zeros.clone(), zeros]);
                for _ in 0..case.steps {
                    fill(&parameter.gradient);
                    adam.steps += 1;
                    let pace = Pace {
                        rate: case.peak,
                        since: 0,
                    };
                    adam.update(0, &mut parameter, pace).unwrap();
                }
                for (found, expected) in read(&parameter.value).unwrap().iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
                }
            }
        }
    }
}
