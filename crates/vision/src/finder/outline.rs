//! The outline around a centre: the closed way across 48 rays that has the steepest edges
//! into the cell and the fewest bends.

use super::canny::Edges;
use super::plane::Plane;

const RAYS_PER_OCTANT: u32 = 6;
pub(super) const N_RAYS: usize = 8 * RAYS_PER_OCTANT as usize;
/// An edge weaker than this share of Canny's high threshold is no outline.
const MIN_EDGE: f64 = 0.5;
const MIN_RAYS: usize = 8;
/// Rays begin and end at these shares of the expected radius.
const INNER: f64 = 0.4;
const OUTER: f64 = 1.75;
/// Steps to the expected radius: finer ones move no box.
const GRAIN: f64 = 30.0;
/// Steps that the outline may move from ray to ray, 37 degrees of slant.
const MAX_JUMP: usize = 3;
/// What a step costs, where an edge at Canny's threshold earns [`FULL_GAIN`].
const BEND_COST: i32 = 20;
/// The share of the wanted score that the first look has to have.
const MIN_FIRST: f64 = 0.75;
/// Gains are whole numbers, so that every machine finds the same way.
const FULL_GAIN: f64 = 256.0;

/// An outline in working pixels.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    pub(super) x1: f64,
    pub(super) y1: f64,
    pub(super) x2: f64,
    pub(super) y2: f64,
    /// 0 to 1: how much of the way around is an edge.
    pub(super) score: f64,
    /// The edges that it was found by; none where it was found by its area.
    pub(super) hits: Vec<Hit>,
}

/// Where a ray meets the edge, inside of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) at: usize,
    /// 0 to 1, which is Canny's high threshold.
    pub(super) strength: f64,
}

impl Outline {
    fn area(&self) -> f64 {
        (self.x2 - self.x1) * (self.y2 - self.y1)
    }

    fn shared_area(&self, other: &Self) -> f64 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        width.max(0.0) * height.max(0.0)
    }

    /// The share of this box that lies in the other.
    pub(super) fn share_inside(&self, other: &Self) -> f64 {
        self.shared_area(other) / self.area().max(1.0)
    }

    /// Intersection over union of the boxes.
    pub(super) fn iou(&self, other: &Self) -> f64 {
        let shared = self.shared_area(other);
        shared / (self.area() + other.area() - shared).max(1.0)
    }
}

/// Unit vectors all around, without sine and cosine, whose last digits differ from
/// machine to machine: the rational points of the circle, mirrored into eight octants.
pub(super) fn directions() -> [(f64, f64); N_RAYS] {
    // tan(45 / 2 degrees): an octant ends where x equals y.
    let octant_end = std::f64::consts::SQRT_2 - 1.0;
    let mut rays = [(0.0, 0.0); N_RAYS];
    for idx in 0..RAYS_PER_OCTANT as usize {
        let t = octant_end * (idx as f64 + 0.5) / f64::from(RAYS_PER_OCTANT);
        let (x, y) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let last = RAYS_PER_OCTANT as usize * 2 - 1;
        // One quadrant from the octant and its mirror, then turned three times.
        for (place, (x, y)) in [(idx, (x, y)), (last - idx, (y, x))] {
            let quarter = RAYS_PER_OCTANT as usize * 2;
            rays[place] = (x, y);
            rays[place + quarter] = (-y, x);
            rays[place + 2 * quarter] = (-x, -y);
            rays[place + 3 * quarter] = (y, -x);
        }
    }
    rays
}

/// The outline around a centre, or `None` where too little of the way around is an edge.
pub(super) fn outline(
    plane: &Plane,
    edges: &Edges,
    rays: &[(f64, f64); N_RAYS],
    center: (f64, f64),
    typical: f64,
    min_score: f64,
) -> Option<Outline> {
    // The first look leans on the typical radius and on where the votes fell, the second
    // on what the first found.
    let first = trace(plane, edges, rays, center, (typical, typical * 1.25))?;
    if first.score(edges) < min_score * MIN_FIRST {
        return None;
    }
    let second = trace(
        plane,
        edges,
        rays,
        first.middle(rays),
        (first.median, first.median),
    )?;
    Some(second.describe(plane, edges, rays))
}

/// Distance and slope of the edge on each ray from a centre.
struct Trace {
    center: (f64, f64),
    hits: [(f64, f64); N_RAYS],
    /// The median distance of clear edges.
    median: f64,
}

fn trace(
    plane: &Plane,
    edges: &Edges,
    rays: &[(f64, f64); N_RAYS],
    center: (f64, f64),
    (radius, tolerance): (f64, f64),
) -> Option<Trace> {
    let stride = (radius / GRAIN).max(1.0);
    let n_steps = (radius * (OUTER - INNER) / stride).max(2.0) as usize;
    let distance = |step: usize| radius * INNER + step as f64 * stride;
    // Tukey's biweight, which is 0 beyond the tolerance.
    let weights: Vec<f64> = (0..n_steps)
        .map(|step| {
            let off = (distance(step) - radius) / tolerance;
            let near = (1.0 - off * off).max(0.0);
            near * near
        })
        .collect();
    let high = f64::from(edges.high);
    let mut slopes = Vec::with_capacity(N_RAYS * n_steps);
    let mut gains = Vec::with_capacity(N_RAYS * n_steps);
    for &(ux, uy) in rays {
        for (step, weight) in weights.iter().enumerate() {
            let place = (
                center.0 + ux * distance(step),
                center.1 + uy * distance(step),
            );
            let slope = slope(plane, edges, place, (ux, uy));
            slopes.push(slope);
            gains.push(((slope / high).clamp(0.0, 1.0) * weight * FULL_GAIN) as i32);
        }
    }
    let way = best_way(&gains, n_steps);
    let hits = std::array::from_fn(|ray| (distance(way[ray]), slopes[ray * n_steps + way[ray]]));
    let median = median_radius(&hits, edges.high)?;
    Some(Trace {
        center,
        hits,
        median,
    })
}

/// The step on each ray of the closed way with the highest gain.
fn best_way(gains: &[i32], n_steps: usize) -> [usize; N_RAYS] {
    // Twice around, of which the middle is taken: there both ends are long forgotten.
    let n_rows = 2 * N_RAYS;
    let mut origins = vec![0_u16; n_rows * n_steps];
    let mut best = vec![0_i32; n_steps];
    let mut next = vec![0_i32; n_steps];
    for (row, origins) in origins.chunks_exact_mut(n_steps).enumerate() {
        let gains = &gains[row % N_RAYS * n_steps..][..n_steps];
        for step in 0..n_steps {
            let (mut highest, mut origin) = (best[step], step);
            let reach = step.saturating_sub(MAX_JUMP)..(step + MAX_JUMP + 1).min(n_steps);
            for other in reach {
                let value = best[other] - BEND_COST * step.abs_diff(other) as i32;
                if value > highest {
                    (highest, origin) = (value, other);
                }
            }
            next[step] = highest + gains[step];
            origins[step] = origin as u16;
        }
        std::mem::swap(&mut best, &mut next);
    }
    let mut step = (0..n_steps).rev().max_by_key(|it| best[*it]).unwrap_or(0);
    let mut way = [0; N_RAYS];
    for (row, origins) in origins.chunks_exact(n_steps).enumerate().rev() {
        if (N_RAYS / 2..N_RAYS / 2 + N_RAYS).contains(&row) {
            way[row % N_RAYS] = step;
        }
        step = usize::from(origins[step]);
    }
    way
}

/// How steeply the stain rises towards the centre; 0 outside of the image.
fn slope(plane: &Plane, edges: &Edges, place: (f64, f64), (ux, uy): (f64, f64)) -> f64 {
    pixel(plane, place).map_or(0.0, |at| {
        -(f64::from(edges.dx[at]) * ux + f64::from(edges.dy[at]) * uy)
    })
}

fn pixel(plane: &Plane, (x, y): (f64, f64)) -> Option<usize> {
    let (x, y) = (x + 0.5, y + 0.5);
    let is_inside = x >= 0.0 && y >= 0.0 && x < plane.width as f64 && y < plane.height as f64;
    // Casting rounds down what is not negative.
    is_inside.then(|| y as usize * plane.width + x as usize)
}

fn is_hit(slope: f64, high: u16) -> bool {
    slope > f64::from(high) * MIN_EDGE
}

fn median_radius(hits: &[(f64, f64); N_RAYS], high: u16) -> Option<f64> {
    let mut radii: Vec<f64> = hits
        .iter()
        .filter(|it| is_hit(it.1, high))
        .map(|it| it.0)
        .collect();
    radii.sort_by(f64::total_cmp);
    (radii.len() >= MIN_RAYS).then(|| radii[radii.len() / 2])
}

impl Trace {
    /// The mean strength of the edges all around.
    fn score(&self, edges: &Edges) -> f64 {
        let strength = |slope: f64| (slope / f64::from(edges.high)).clamp(0.0, 1.0);
        self.hits.iter().map(|it| strength(it.1)).sum::<f64>() / N_RAYS as f64
    }

    /// The mean of where the rays end.
    fn middle(&self, rays: &[(f64, f64); N_RAYS]) -> (f64, f64) {
        let (mut x, mut y) = (0.0, 0.0);
        for ((distance, _), (ux, uy)) in self.hits.iter().zip(rays) {
            x += ux * distance;
            y += uy * distance;
        }
        let n_rays = N_RAYS as f64;
        (self.center.0 + x / n_rays, self.center.1 + y / n_rays)
    }

    fn describe(&self, plane: &Plane, edges: &Edges, rays: &[(f64, f64); N_RAYS]) -> Outline {
        let (x, y) = self.center;
        let high = f64::from(edges.high);
        let radii = self.hits.map(|(distance, slope)| {
            if is_hit(slope, edges.high) {
                distance
            } else {
                self.median
            }
        });
        let mut outline = Outline {
            x1: x,
            y1: y,
            x2: x,
            y2: y,
            score: 0.0,
            hits: Vec::with_capacity(N_RAYS),
        };
        for (idx, ((distance, slope), (ux, uy))) in self.hits.iter().zip(rays).enumerate() {
            // The median of five neighbours throws out rays that met another cell.
            let mut near: [f64; 5] =
                std::array::from_fn(|step| radii[(idx + N_RAYS + step - 2) % N_RAYS]);
            near.sort_by(f64::total_cmp);
            let (edge_x, edge_y) = (x + ux * near[2], y + uy * near[2]);
            outline.x1 = outline.x1.min(edge_x);
            outline.y1 = outline.y1.min(edge_y);
            outline.x2 = outline.x2.max(edge_x);
            outline.y2 = outline.y2.max(edge_y);
            if let Some(at) = pixel(plane, (x + ux * distance, y + uy * distance)) {
                let strength = (slope / high).clamp(0.0, 1.0);
                outline.hits.push(Hit { at, strength });
            }
        }
        outline.score = outline.hits.iter().map(|it| it.strength).sum::<f64>() / N_RAYS as f64;
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rays_go_all_around_in_order() {
        let rays = directions();
        for (idx, (x, y)) in rays.iter().enumerate() {
            assert!((x * x + y * y - 1.0).abs() < 1e-12);
            let (next_x, next_y) = rays[(idx + 1) % N_RAYS];
            assert!(x * next_y - y * next_x > 0.1, "ray {idx} and the next");
        }
    }

    #[test]
    fn the_way_follows_the_ring_past_a_stronger_edge_beside_it() {
        let n_steps = 20;
        let mut gains = vec![0; N_RAYS * n_steps];
        for ray in 0..N_RAYS {
            gains[ray * n_steps + 8 + usize::from(ray > 20)] = 100;
        }
        gains[5 * n_steps + 18] = 150;
        let way = best_way(&gains, n_steps);
        for (ray, step) in way.iter().enumerate() {
            assert_eq!(*step, 8 + usize::from(ray > 20), "ray {ray}");
        }
    }
}
