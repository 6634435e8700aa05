//! Which outlines are cells: each edge is the rim of one cell only.

use super::outline::{N_RAYS, Outline};
use super::plane::Plane;

/// Edges this near to a chosen outline, in typical radii, are its own.
const CLAIM: f64 = 0.08;

/// Takes the best outline, then the best by the edges that it has left, and so on, until
/// none has more than `min_score`. Where cells touch, an outline made of the rims of its
/// neighbours comes out last and with little.
pub(super) fn choose(
    plane: &Plane,
    mut open: Vec<Outline>,
    typical: f64,
    min_score: f64,
    max_overlap: f64,
) -> Vec<Outline> {
    let mut claims = Claims {
        width: plane.width,
        height: plane.height,
        reach: (typical * CLAIM).round().max(1.0) as usize,
        claimed: vec![false; plane.data.len()],
    };
    let mut chosen = Vec::new();
    loop {
        open.retain(|it| it.score >= min_score);
        // The first of equal ones: centres come in reading order.
        let best = (0..open.len())
            .rev()
            .max_by(|&a, &b| open[a].score.total_cmp(&open[b].score));
        let Some(best) = best else { break };
        let left = claims.left(&open[best]);
        if left < open[best].score {
            open[best].score = left;
            continue;
        }
        let best = open.remove(best);
        claims.claim(&best);
        open.retain(|it| it.iou(&best) <= max_overlap);
        chosen.push(best);
    }
    chosen
}

struct Claims {
    width: usize,
    height: usize,
    reach: usize,
    claimed: Vec<bool>,
}

impl Claims {
    /// The score by edges that nobody has claimed.
    fn left(&self, outline: &Outline) -> f64 {
        let free = outline.hits.iter().filter(|it| !self.claimed[it.at]);
        free.map(|it| it.strength).sum::<f64>() / N_RAYS as f64
    }

    fn claim(&mut self, outline: &Outline) {
        for hit in &outline.hits {
            let (x, y) = (hit.at % self.width, hit.at / self.width);
            let columns = x.saturating_sub(self.reach)..(x + self.reach + 1).min(self.width);
            for row in y.saturating_sub(self.reach)..(y + self.reach + 1).min(self.height) {
                self.claimed[row * self.width..][columns.clone()].fill(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outline::Hit;
    use super::*;

    const SIDE: usize = 100;

    fn at(x: f64, places: std::ops::Range<usize>, strength: f64) -> Outline {
        let hits = places.map(|at| Hit {
            at: at * 3,
            strength,
        });
        Outline {
            x1: x,
            y1: 0.0,
            x2: x + 20.0,
            y2: 20.0,
            score: strength,
            hits: hits.collect(),
        }
    }

    fn chosen(open: Vec<Outline>) -> Vec<f64> {
        let plane = Plane {
            width: SIDE,
            height: SIDE,
            data: vec![0; SIDE * SIDE],
        };
        let chosen = choose(&plane, open, 5.0, 0.4, 0.4);
        chosen.iter().map(|it| it.x1).collect()
    }

    #[test]
    fn an_outline_of_other_cells_edges_is_not_chosen() {
        let cells = [at(0.0, 0..48, 1.0), at(50.0, 1000..1048, 0.9)];
        let borrowed = Outline {
            hits: [&cells[0].hits[..32], &cells[1].hits[..16]].concat(),
            score: 0.95,
            ..at(25.0, 0..0, 0.0)
        };
        let [first, second] = cells;
        assert_eq!(chosen(vec![borrowed, second, first]), [0.0, 50.0]);
    }

    #[test]
    fn of_overlapping_outlines_the_better_is_chosen() {
        let open = vec![at(2.0, 500..548, 0.7), at(0.0, 0..48, 0.8)];
        assert_eq!(chosen(open), [0.0]);
    }
}
