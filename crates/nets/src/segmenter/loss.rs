//! The loss of a batch's answers: what each pixel is, and how deep in its cell it lies.

use super::sums::{Sums, probabilities};
use super::truth::{SeenCells, UNKNOWN};
use crate::loss::Loss;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What counts how much. 0 switches a part off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmenterLoss {
    /// Cross-entropy, mean over pixels.
    pub cross_entropy: f64,
    /// 1 - the Dice overlap of probabilities and truth over the batch, mean over the classes that it shows.
    pub dice: f64,
    /// Cross-entropy in which sure pixels count little (<https://arxiv.org/abs/1708.02002>).
    pub focal: f64,
    /// How little: the exponent of what is missing to certainty.
    pub focal_gamma: f64,
    /// A factor of the focal part.
    pub focal_alpha: f64,
    /// Smooth L1 of the depth, mean over pixels.
    pub depth: f64,
    /// What a pixel of the background counts there beside one of a cell.
    pub depth_outside: f64,
}

impl Default for SegmenterLoss {
    fn default() -> Self {
        Self {
            cross_entropy: 1.0,
            dice: 1.0,
            focal: 0.0,
            focal_gamma: 2.0,
            focal_alpha: 0.5,
            depth: 5.0,
            depth_outside: 0.2,
        }
    }
}

/// Where smooth L1 turns from a square to a line: a tenth of a cell's depth.
const TURN: f64 = 0.1;
impl SegmenterLoss {
    pub(super) fn problems(&self) -> Vec<String> {
        let parts = [
            ("loss.cross_entropy", self.cross_entropy),
            ("loss.dice", self.dice),
            ("loss.focal", self.focal),
            ("loss.focal_gamma", self.focal_gamma),
            ("loss.focal_alpha", self.focal_alpha),
            ("loss.depth", self.depth),
            ("loss.depth_outside", self.depth_outside),
        ];
        let wrong = parts
            .into_iter()
            .filter(|it| !(0.0..=100.0).contains(&it.1));
        let mut problems: Vec<String> = wrong
            .map(|(name, value)| format!("{name} is {value}, it goes from 0 to 100"))
            .collect();
        if self.cross_entropy + self.dice + self.focal <= 0.0 {
            problems.push("loss asks for no class".to_owned());
        }
        problems
    }

    /// Answers are `n_classes` logits, the background's first, and a depth. Pictures are added up in their order, so
    /// that the sum does not depend on the number of threads.
    pub(super) fn of(&self, answers: &[f32], n_classes: usize, seen: &[SeenCells]) -> Loss {
        let one = answers.len() / seen.len().max(1);
        let pictures = answers.par_chunks(one).zip(seen);
        let sums: Vec<Sums> = pictures
            .map(|(it, seen)| Sums::of(it, n_classes, seen))
            .collect();
        let all = Sums::total(&sums, n_classes);
        let (value, slopes) = all.dice(self.dice);
        let pixels = Pixels {
            loss: self,
            n_classes,
            scale: 1.0 / all.n_known.max(1.0),
            slopes: &slopes,
        };
        let mut gradient = vec![0.0; answers.len()];
        let parts = gradient.par_chunks_mut(one);
        let parts = parts.zip(answers.par_chunks(one)).zip(seen);
        let values: Vec<f64> = parts
            .map(|((out, it), seen)| pixels.of_picture(it, seen, out))
            .collect();
        Loss {
            value: value + values.iter().sum::<f64>(),
            gradient,
        }
    }
}

/// The parts of the loss that are sums over pixels, and the gradient of all.
struct Pixels<'a> {
    loss: &'a SegmenterLoss,
    n_classes: usize,
    scale: f64,
    /// Of the Dice part in a pixel's probability of each class: where it is another class, and what is added where it
    /// is this one.
    slopes: &'a [[f64; 2]],
}

impl Pixels<'_> {
    fn of_picture(&self, answers: &[f32], seen: &SeenCells, gradient: &mut [f32]) -> f64 {
        let n = self.n_classes;
        let mut parts = vec![0.0; n];
        let mut value = 0.0;
        let pixels = answers
            .chunks_exact(n + 1)
            .zip(gradient.chunks_exact_mut(n + 1));
        let truth = seen.classes.iter().zip(&seen.depths);
        for ((answer, gradient), (class, depth)) in pixels.zip(truth) {
            if *class == UNKNOWN {
                continue;
            }
            probabilities(&answer[..n], &mut parts);
            value += self.class(&parts, *class as usize, &mut gradient[..n]);
            let counts = if *class == 0 {
                self.loss.depth_outside
            } else {
                1.0
            };
            let weight = self.loss.depth * counts * self.scale;
            let (loss, slope) = smooth(f64::from(answer[n]) - f64::from(*depth));
            value += weight * loss;
            gradient[n] = (weight * slope) as f32;
        }
        value
    }

    /// Cross-entropy and the focal part of a pixel; the gradient of these and of the Dice part.
    fn class(&self, parts: &[f64], class: usize, gradient: &mut [f32]) -> f64 {
        let it = self.loss;
        let sure = parts[class].max(1e-12);
        let (missing, entropy) = (1.0 - sure, -sure.ln());
        let focal = it.focal * it.focal_alpha * missing.powf(it.focal_gamma);
        // Slope of all in the logarithm of the class's own probability.
        let easing = if missing > 0.0 && it.focal > 0.0 {
            focal * it.focal_gamma / missing * sure * entropy
        } else {
            0.0
        };
        let of_log = -self.scale * (it.cross_entropy + focal + easing);
        let mut in_part = 0.0;
        for (part, [slope, _]) in parts.iter().zip(self.slopes) {
            in_part += part * slope;
        }
        let own = self.slopes[class];
        in_part += parts[class] * own[1];
        for (at, (out, part)) in gradient.iter_mut().zip(parts).enumerate() {
            let is_own = f64::from(u8::from(at == class));
            let slope = self.slopes[at][0] + is_own * own[1];
            *out = (of_log * (is_own - part) + part * (slope - in_part)) as f32;
        }
        self.scale * (it.cross_entropy + focal) * entropy
    }
}

/// A square near 0 and a line beyond, and its slope.
fn smooth(by: f64) -> (f64, f64) {
    if by.abs() < TURN {
        (by * by / (2.0 * TURN), by / TURN)
    } else {
        (by.abs() - TURN / 2.0, by.signum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_CLASSES: usize = 3;
    const NOTHING: SegmenterLoss = SegmenterLoss {
        cross_entropy: 0.0,
        dice: 0.0,
        focal: 0.0,
        focal_gamma: 2.0,
        focal_alpha: 0.5,
        depth: 0.0,
        depth_outside: 0.3,
    };

    fn seen() -> Vec<SeenCells> {
        let one = |classes: [u32; 4]| SeenCells {
            classes: classes.to_vec(),
            depths: classes.iter().map(|it| (*it % 3) as f32 / 2.0).collect(),
        };
        vec![one([0, 1, 2, UNKNOWN]), one([0, 0, 2, 2])]
    }

    fn answers() -> Vec<f32> {
        let n = seen().len() * 4 * (N_CLASSES + 1);
        (0..n)
            .map(|it| ((it * 7 % 11) as f32 - 5.0) / 4.0)
            .collect()
    }

    #[test]
    fn the_gradient_of_each_part_is_that_of_its_value() {
        let parts = [
            (
                "cross_entropy",
                SegmenterLoss {
                    cross_entropy: 2.0,
                    ..NOTHING
                },
            ),
            (
                "dice",
                SegmenterLoss {
                    dice: 3.0,
                    ..NOTHING
                },
            ),
            (
                "focal",
                SegmenterLoss {
                    focal: 4.0,
                    ..NOTHING
                },
            ),
            (
                "depth",
                SegmenterLoss {
                    depth: 5.0,
                    ..NOTHING
                },
            ),
            (
                "all",
                SegmenterLoss {
                    focal: 1.0,
                    ..SegmenterLoss::default()
                },
            ),
        ];
        for (name, it) in parts {
            let gradient = it.of(&answers(), N_CLASSES, &seen()).gradient;
            assert!(gradient.iter().any(|it| it.abs() > 0.01), "{name}");
            for (at, found) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut answers = answers();
                    answers[at] += by;
                    it.of(&answers, N_CLASSES, &seen()).value
                };
                let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                let off = (f64::from(*found) - slope).abs();
                assert!(off < 2e-3, "{name} {at}: {found} {slope}");
            }
        }
    }

    #[test]
    fn what_is_right_and_sure_costs_next_to_nothing() {
        let mut answers = answers();
        let truth = seen()
            .into_iter()
            .flat_map(|it| it.classes.into_iter().zip(it.depths));
        for (answer, (class, depth)) in answers.chunks_exact_mut(N_CLASSES + 1).zip(truth) {
            answer.fill(-20.0);
            if class != UNKNOWN {
                answer[class as usize] = 20.0;
            }
            answer[N_CLASSES] = depth;
        }
        let it = SegmenterLoss {
            focal: 1.0,
            ..SegmenterLoss::default()
        };
        let loss = it.of(&answers, N_CLASSES, &seen());
        assert!(loss.value < 1e-6, "{}", loss.value);
        assert!(loss.gradient.iter().all(|it| it.abs() < 1e-6));
    }

    #[test]
    fn weights_beyond_their_limits_are_told() {
        assert_eq!(NOTHING.problems(), ["loss asks for no class"]);
        let it = SegmenterLoss {
            dice: f64::NAN,
            focal: -1.0,
            ..SegmenterLoss::default()
        };
        assert_eq!(it.problems().len(), 2);
    }
}
