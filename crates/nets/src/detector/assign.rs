//! Which squares of a picture answer for which cell: those inside of its box that already say the most fitting things
//! (task-aligned assignment, <https://arxiv.org/abs/2108.07755>).

use super::boxes::iou;
use super::loss::Grid;
use super::task::LabelledBox;

/// How many squares answer for a cell.
const PER_CELL: usize = 10;
/// How much more a fitting box counts than a sure class: the power of the overlap.
const OVERLAP_POWER: i32 = 6;

/// What a square is to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    /// Number of the square, row after row.
    pub(super) at: usize,
    pub(super) class: usize,
    /// How sure it should be: as sure as its box is good.
    pub(super) score: f32,
    /// From its centre to the cell's borders: left, up, right, down, in pixels.
    pub(super) reaches: [f32; 4],
}

/// The squares of a picture that answer for cells, in their order. All others are to say that there is none.
#[derive(Debug, Default)]
pub(super) struct Targets(pub(super) Vec<Target>);

impl Targets {
    pub(super) fn total(&self) -> f64 {
        self.0.iter().map(|it| f64::from(it.score)).sum()
    }
}

/// A square's claim to a cell.
#[derive(Clone, Copy)]
struct Claim {
    at: usize,
    cell: usize,
    overlap: f32,
    fit: f32,
}

pub(super) fn assign(grid: &Grid, answers: &[f32], cells: &[LabelledBox]) -> Targets {
    let mut claims: Vec<Claim> = Vec::new();
    for (cell, it) in cells.iter().enumerate() {
        let mut of_cell: Vec<Claim> = squares(grid, answers, it)
            .into_iter()
            .map(|at| claim(grid, answers, at, cell, it))
            .collect();
        of_cell.sort_by(|a, b| b.fit.total_cmp(&a.fit).then(a.at.cmp(&b.at)));
        of_cell.truncate(PER_CELL);
        claims.extend(of_cell);
    }
    // A square between two cells answers for the one that its box fits better.
    claims.sort_by(|a, b| {
        let by_overlap = b.overlap.total_cmp(&a.overlap);
        a.at.cmp(&b.at).then(by_overlap).then(a.cell.cmp(&b.cell))
    });
    claims.dedup_by_key(|it| it.at);
    let mut best = vec![(0.0_f32, 0.0_f32); cells.len()];
    for it in &claims {
        let (fit, overlap) = &mut best[it.cell];
        *fit = fit.max(it.fit);
        *overlap = overlap.max(it.overlap);
    }
    let target = |it: &Claim| {
        let (fit, overlap) = best[it.cell];
        let cell = &cells[it.cell];
        Target {
            at: it.at,
            class: cell.class,
            score: if fit > 0.0 {
                it.fit / fit * overlap
            } else {
                0.0
            },
            reaches: grid.reaches_of(it.at, &cell.bbox),
        }
    };
    Targets(claims.iter().map(target).collect())
}

/// The squares whose centres lie in the cell's box; the one at its centre if there is none.
fn squares(grid: &Grid, answers: &[f32], cell: &LabelledBox) -> Vec<usize> {
    let [x1, y1, x2, y2] = cell.bbox;
    let rows = answers.len() / grid.n_outputs() / grid.columns;
    let range = |low: f32, high: f32, n: usize| {
        let begin = (low / grid.stride - 0.5).ceil().max(0.0) as usize;
        let end = ((high / grid.stride - 0.5).ceil().max(0.0) as usize).min(n);
        if begin < end {
            return begin..end;
        }
        let middle = (f32::midpoint(low, high) / grid.stride) as usize;
        let middle = middle.min(n - 1);
        middle..middle + 1
    };
    let across = range(x1, x2, grid.columns);
    range(y1, y2, rows)
        .flat_map(|row| across.clone().map(move |column| (row, column)))
        .map(|(row, column)| row * grid.columns + column)
        .collect()
}

fn claim(grid: &Grid, answers: &[f32], at: usize, cell: usize, it: &LabelledBox) -> Claim {
    let answer = &answers[at * grid.n_outputs()..][..grid.n_outputs()];
    let overlap = iou(&grid.box_of(at, answer), &it.bbox);
    let score = 1.0 / (1.0 + (-answer[it.class]).exp());
    Claim {
        at,
        cell,
        overlap,
        fit: score * overlap.powi(OVERLAP_POWER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        columns: 8,
        n_classes: 2,
        stride: 4.0,
        reach: 6.0,
    };

    fn cell(class: usize, bbox: [f32; 4]) -> LabelledBox {
        LabelledBox { class, bbox }
    }

    #[test]
    fn the_squares_of_the_fitting_boxes_answer_and_the_best_is_as_sure_as_its_box_is_good() {
        // Fresh answers: boxes of 12 x 12 around each square's centre, no class surer than another.
        let answers = vec![0.0; 8 * 8 * 6];
        let targets = assign(&GRID, &answers, &[cell(1, [8.0, 8.0, 20.0, 20.0])]);
        // Nine squares have their centres in the box.
        assert_eq!(targets.0.len(), 9);
        let best = targets.0.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        let best = best.unwrap();
        assert_eq!((best.at, best.class), (3 * 8 + 3, 1));
        assert!((best.score - 1.0).abs() < 1e-6);
        assert!(best.reaches.iter().all(|it| (it - 6.0).abs() < 1e-6));
        assert!(targets.0.iter().all(|it| it.score > 0.0));
        assert!(targets.0.is_sorted_by_key(|it| it.at));
    }

    #[test]
    fn no_square_answers_twice_and_a_tiny_cell_has_one() {
        let answers = vec![0.0; 8 * 8 * 6];
        let cells = [
            cell(0, [4.0, 4.0, 20.0, 20.0]),
            cell(1, [6.0, 4.0, 22.0, 20.0]),
            cell(0, [28.2, 28.2, 29.0, 29.0]),
            cell(0, [31.9, 31.9, 32.0, 32.0]),
        ];
        let targets = assign(&GRID, &answers, &cells);
        let mut places: Vec<usize> = targets.0.iter().map(|it| it.at).collect();
        let n = places.len();
        places.dedup();
        assert_eq!(places.len(), n);
        assert_eq!(targets.0.iter().filter(|it| it.at == 63).count(), 1);
        assert!(
            targets
                .0
                .iter()
                .all(|it| it.reaches.iter().all(|it| *it > 0.0))
        );
        assert!(assign(&GRID, &answers, &[]).0.is_empty());
    }
}
