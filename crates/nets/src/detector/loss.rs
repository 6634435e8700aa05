//! The loss of a picture's answers: how sure they are of each class, and how well the boxes fit that should.

use super::assign::Targets;
use super::task::{MAX_EXPONENT, REACHES};

/// Where the squares of a picture lie and what their answers mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) columns: usize,
    pub(super) n_classes: usize,
    /// Side of a square in pixels.
    pub(super) stride: f32,
    /// What a reach of exponent 0 is, in pixels.
    pub(super) reach: f32,
}

/// How much boxes count beside classes.
const BOX_WEIGHT: f64 = 5.0;
/// Reaches are at least this: a square at a cell's very border still has a box.
const MIN_REACH: f32 = 0.5;

impl Grid {
    pub(super) const fn n_outputs(&self) -> usize {
        self.n_classes + REACHES
    }

    pub(super) const fn center(&self, at: usize) -> [f32; 2] {
        let (row, column) = (at / self.columns, at % self.columns);
        [
            (column as f32 + 0.5) * self.stride,
            (row as f32 + 0.5) * self.stride,
        ]
    }

    /// How far the box of an answer reaches from its square's centre: left, up, right, down, in pixels.
    pub(super) fn reaches(&self, answer: &[f32]) -> [f32; 4] {
        let limited = |it: f32| it.clamp(-MAX_EXPONENT, MAX_EXPONENT);
        std::array::from_fn(|at| limited(answer[self.n_classes + at]).exp() * self.reach)
    }

    /// The box of an answer, `[x1, y1, x2, y2]` in pixels.
    pub(super) fn box_of(&self, at: usize, answer: &[f32]) -> [f32; 4] {
        let ([x, y], [left, up, right, down]) = (self.center(at), self.reaches(answer));
        [x - left, y - up, x + right, y + down]
    }

    /// How far a box reaches from a square's centre.
    pub(super) fn reaches_of(&self, at: usize, bbox: &[f32; 4]) -> [f32; 4] {
        let [x, y] = self.center(at);
        let reaches = [x - bbox[0], y - bbox[1], bbox[2] - x, bbox[3] - y];
        reaches.map(|it| it.max(MIN_REACH))
    }
}

/// The part of one picture, times `scale`; `gradient` is set where it is not 0.
pub(super) fn of_picture(
    grid: &Grid,
    answers: &[f32],
    targets: &Targets,
    scale: f64,
    gradient: &mut [f32],
) -> f64 {
    let n = grid.n_outputs();
    let mut value = 0.0;
    let mut targets = targets.0.iter().peekable();
    let rows = answers.chunks_exact(n).zip(gradient.chunks_exact_mut(n));
    for (at, (answer, gradient)) in rows.enumerate() {
        let target = targets.next_if(|it| it.at == at);
        for (class, logit) in answer[..grid.n_classes].iter().enumerate() {
            let wanted = target.filter(|it| it.class == class);
            let wanted = wanted.map_or(0.0, |it| f64::from(it.score));
            let (loss, slope) = binary_cross_entropy(f64::from(*logit), wanted);
            value += loss * scale;
            gradient[class] = (slope * scale) as f32;
        }
        let Some(target) = target else { continue };
        let reaches = grid.reaches(answer);
        let (loss, slopes) = overlap_loss(&reaches, &target.reaches);
        let weight = BOX_WEIGHT * f64::from(target.score) * scale;
        value += loss * weight;
        for (to, slope) in slopes.into_iter().enumerate() {
            let exponent = answer[grid.n_classes + to];
            // A limited exponent moves nothing; it is let back in, never further out.
            let is_free = exponent.abs() < MAX_EXPONENT || slope * f64::from(exponent) > 0.0;
            let slope = if is_free {
                slope * f64::from(reaches[to])
            } else {
                0.0
            };
            gradient[grid.n_classes + to] = (slope * weight) as f32;
        }
    }
    value
}

/// Of a logit against a probability, and its slope.
fn binary_cross_entropy(logit: f64, wanted: f64) -> (f64, f64) {
    let value = logit.max(0.0) - logit * wanted + (-logit.abs()).exp().ln_1p();
    (value, 1.0 / (1.0 + (-logit).exp()) - wanted)
}

/// 1 - the generalised overlap (<https://arxiv.org/abs/1902.09630>) of two boxes given by their reaches from a common
/// point inside of both, and its slope in each reach of the first.
fn overlap_loss(found: &[f32; 4], truth: &[f32; 4]) -> (f64, [f64; 4]) {
    let (a, b) = (found.map(f64::from), truth.map(f64::from));
    let size = |it: [f64; 4]| [it[0] + it[2], it[1] + it[3]];
    let (of_a, of_b) = (size(a), size(b));
    let both = size(std::array::from_fn(|at| a[at].min(b[at])));
    let around = size(std::array::from_fn(|at| a[at].max(b[at])));
    let area = |it: [f64; 2]| it[0] * it[1];
    let (inner, outer) = (area(both), area(around));
    let union = area(of_a) + area(of_b) - inner;
    let value = 2.0 - inner / union - union / outer;
    let slopes = std::array::from_fn(|to| {
        // The other side of the box: a wider one grows by its height.
        let across = 1 - to % 2;
        let is_inside = a[to] < b[to];
        let of_inner = if is_inside { both[across] } else { 0.0 };
        let of_outer = if is_inside { 0.0 } else { around[across] };
        let of_union = of_a[across] - of_inner;
        let overlap = (of_inner * union - inner * of_union) / (union * union);
        let filled = (of_union * outer - union * of_outer) / (outer * outer);
        -(overlap + filled)
    });
    (value, slopes)
}

#[cfg(test)]
mod tests {
    use super::super::assign::Target;
    use super::*;

    const GRID: Grid = Grid {
        columns: 2,
        n_classes: 2,
        stride: 4.0,
        reach: 3.0,
    };

    fn targets() -> Targets {
        Targets(vec![
            Target {
                at: 0,
                class: 1,
                score: 0.7,
                reaches: [2.0, 5.0, 3.5, 1.0],
            },
            Target {
                at: 3,
                class: 0,
                score: 0.4,
                reaches: [4.0, 2.0, 2.5, 6.0],
            },
        ])
    }

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let answers: Vec<f32> = (0..24)
            .map(|it| ((it * 7 % 11) as f32 - 5.0) / 4.0)
            .collect();
        let loss = |answers: &[f32]| {
            let mut gradient = vec![0.0; answers.len()];
            let value = of_picture(&GRID, answers, &targets(), 0.5, &mut gradient);
            (value, gradient)
        };
        let (_, gradient) = loss(&answers);
        for at in 0..answers.len() {
            let moved = |by: f32| {
                let mut answers = answers.clone();
                answers[at] += by;
                loss(&answers).0
            };
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            let found = f64::from(gradient[at]);
            assert!((found - slope).abs() < 2e-3, "{at}: {found} {slope}");
        }
    }

    #[test]
    fn a_perfect_box_costs_nothing_and_a_worse_one_more() {
        let truth = [2.0, 3.0, 4.0, 5.0];
        let (perfect, _) = overlap_loss(&truth, &truth);
        assert!(perfect.abs() < 1e-12);
        let (near, _) = overlap_loss(&[2.2, 3.0, 4.0, 5.0], &truth);
        let (far, _) = overlap_loss(&[9.0, 3.0, 4.0, 5.0], &truth);
        assert!(0.0 < near && near < far && far < 2.0);
    }
}
