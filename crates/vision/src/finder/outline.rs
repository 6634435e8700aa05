//! The outline around a centre: along each of 48 rays the strongest edge into the cell.

use super::canny::Edges;
use super::plane::Plane;
use super::votes::{LARGEST, SMALLEST};

const RAYS_PER_OCTANT: u32 = 6;
const N_RAYS: usize = 8 * RAYS_PER_OCTANT as usize;
/// An edge weaker than this share of Canny's high threshold is no outline.
const MIN_EDGE: f64 = 0.5;
const MIN_RAYS: usize = 8;

/// An outline in working pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) x1: f64,
    pub(super) y1: f64,
    pub(super) x2: f64,
    pub(super) y2: f64,
    /// 0 to 1: how strong the edge is all around, and how round.
    pub(super) score: f64,
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

/// The outline around a centre, or `None` where most rays meet no edge.
pub(super) fn outline(
    plane: &Plane,
    edges: &Edges,
    rays: &[(f64, f64); N_RAYS],
    (x, y): (f64, f64),
    typical: f64,
) -> Option<Outline> {
    let first = typical * SMALLEST * 0.7;
    let n_steps = (typical * (LARGEST * 1.1 - SMALLEST * 0.7)).max(1.0) as usize;
    let slopes: Vec<f64> = rays
        .iter()
        .flat_map(|&(ux, uy)| (0..n_steps).map(move |step| (ux, uy, first + step as f64)))
        .map(|(ux, uy, distance)| {
            slope(
                plane,
                edges,
                (x + ux * distance, y + uy * distance),
                (ux, uy),
            )
        })
        .collect();
    // The first look leans on the typical radius, the second on what the first found.
    let mut radius = typical;
    let mut hits = [(0.0, 0.0); N_RAYS];
    for tolerance in [1.25, 0.75] {
        for (hit, slopes) in hits.iter_mut().zip(slopes.chunks_exact(n_steps)) {
            *hit = strongest(slopes, first, radius, tolerance * radius);
        }
        radius = median_radius(&hits, edges.high)?;
    }
    Some(describe(&hits, edges.high, radius, rays, (x, y)))
}

/// How steeply the stain rises towards the centre; 0 outside of the image.
fn slope(plane: &Plane, edges: &Edges, (x, y): (f64, f64), (ux, uy): (f64, f64)) -> f64 {
    let (x, y) = ((x + 0.5).floor(), (y + 0.5).floor());
    if x < 0.0 || y < 0.0 || x >= plane.width as f64 || y >= plane.height as f64 {
        return 0.0;
    }
    let at = y as usize * plane.width + x as usize;
    -(f64::from(edges.dx[at]) * ux + f64::from(edges.dy[at]) * uy)
}

/// Distance and slope of the best edge on a ray: steep, and near the expected radius by
/// Tukey's biweight, which is 0 beyond `tolerance`.
fn strongest(slopes: &[f64], first: f64, expected: f64, tolerance: f64) -> (f64, f64) {
    let mut best = (expected, 0.0);
    let mut highest = 0.0;
    for (step, &slope) in slopes.iter().enumerate() {
        let distance = first + step as f64;
        let off = (distance - expected) / tolerance;
        let near = (1.0 - off * off).max(0.0);
        let weighted = slope * near * near;
        if weighted > highest {
            highest = weighted;
            best = (distance, slope);
        }
    }
    best
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

fn describe(
    hits: &[(f64, f64); N_RAYS],
    high: u16,
    radius: f64,
    rays: &[(f64, f64); N_RAYS],
    (x, y): (f64, f64),
) -> Outline {
    let radii: Vec<f64> = hits
        .iter()
        .map(|it| if is_hit(it.1, high) { it.0 } else { radius })
        .collect();
    let mut outline = Outline {
        x1: x,
        y1: y,
        x2: x,
        y2: y,
        score: score(hits, high, radius),
    };
    for (idx, (ux, uy)) in rays.iter().enumerate() {
        // The median of five neighbours throws out rays that met another cell.
        let mut near: [f64; 5] =
            std::array::from_fn(|step| radii[(idx + N_RAYS + step - 2) % N_RAYS]);
        near.sort_by(f64::total_cmp);
        let (edge_x, edge_y) = (x + ux * near[2], y + uy * near[2]);
        outline.x1 = outline.x1.min(edge_x);
        outline.y1 = outline.y1.min(edge_y);
        outline.x2 = outline.x2.max(edge_x);
        outline.y2 = outline.y2.max(edge_y);
    }
    outline
}

/// Mean edge strength, up to twice Canny's threshold, times one less the spread of the radii.
fn score(hits: &[(f64, f64); N_RAYS], high: u16, radius: f64) -> f64 {
    let strength = hits
        .iter()
        .map(|it| (it.1 / f64::from(high)).min(2.0) / 2.0)
        .sum::<f64>()
        / N_RAYS as f64;
    let (mut n_hits, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (distance, _) in hits.iter().filter(|it| is_hit(it.1, high)) {
        n_hits += 1.0;
        sum += distance;
        squares += distance * distance;
    }
    let mean = sum / n_hits;
    let spread = (squares / n_hits - mean * mean).max(0.0).sqrt();
    strength * (1.0 - (spread / radius).min(1.0))
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
}
