//! Canny's edges (1986) with Otsu's thresholds.

use super::otsu;
use super::plane::Plane;

/// The edges of a plane and the gradient they were found in.
#[derive(Debug)]
pub(super) struct Edges {
    /// Pixels on edges as 1, others as 0.
    pub(super) mask: Vec<u8>,
    /// Sobel's derivatives, from darker to brighter stain.
    pub(super) dx: Vec<i16>,
    pub(super) dy: Vec<i16>,
    /// The high threshold: a gradient |dx| + |dy| above it surely is an edge. Never 0.
    pub(super) high: u16,
}

/// The high threshold is Otsu's of the gradient magnitude, the low one `low_ratio` of it.
/// `None` for a plane without any gradient.
pub(super) fn edges(plane: &Plane, low_ratio: f64) -> Option<Edges> {
    let gradient = sobel(plane);
    let high = otsu::threshold(&magnitudes(&gradient))?.max(1) as u16;
    let low = (f64::from(high) * low_ratio) as u16;
    let ridges = thin(plane, &gradient, low);
    let mask = follow(plane, &ridges, high);
    Some(Edges {
        mask,
        dx: gradient.dx,
        dy: gradient.dy,
        high,
    })
}

/// Sobel's derivatives and |dx| + |dy|.
struct Gradient {
    dx: Vec<i16>,
    dy: Vec<i16>,
    /// At most 2040: two sums of at most 4 x 255.
    magnitude: Vec<u16>,
}

const ACROSS: u8 = 0;
const DOWN: u8 = 1;
const FALLING: u8 = 2;

/// The frame of one pixel around the image has no gradient.
fn sobel(plane: &Plane) -> Gradient {
    let (width, height) = (plane.width, plane.height);
    let blank = || vec![0_i16; width * height];
    let mut gradient = Gradient {
        dx: blank(),
        dy: blank(),
        magnitude: vec![0; width * height],
    };
    for y in 1..height.saturating_sub(1) {
        let row = |y: usize| &plane.data[y * width..][..width];
        let taps = row(y - 1)
            .windows(3)
            .zip(row(y).windows(3))
            .zip(row(y + 1).windows(3));
        let places = y * width + 1..;
        for (at, ((above, here), below)) in places.zip(taps) {
            let tap = |row: &[u8], x: usize| i16::from(row[x]);
            let across = |row: &[u8]| tap(row, 2) - tap(row, 0);
            let down = |x: usize| tap(below, x) - tap(above, x);
            let dx = across(above) + 2 * across(here) + across(below);
            let dy = down(0) + 2 * down(1) + down(2);
            gradient.dx[at] = dx;
            gradient.dy[at] = dy;
            gradient.magnitude[at] = dx.unsigned_abs() + dy.unsigned_abs();
        }
    }
    gradient
}

/// The nearest of four directions; tan 22.5 degrees is taken as 27146 / 65536.
const fn direction_of(dx: i16, dy: i16) -> u8 {
    let (x, y) = (dx.unsigned_abs() as u32, dy.unsigned_abs() as u32);
    if y << 16 < x * 27_146 {
        ACROSS
    } else if x << 16 < y * 27_146 {
        DOWN
    } else if (dx < 0) == (dy < 0) {
        FALLING
    } else {
        3
    }
}

fn magnitudes(gradient: &Gradient) -> Vec<u64> {
    let mut histogram = vec![0; 2041];
    for &value in &gradient.magnitude {
        histogram[usize::from(value)] += 1;
    }
    histogram
}

/// Keeps what is above `low` and not lower than its two neighbours along the gradient.
fn thin(plane: &Plane, gradient: &Gradient, low: u16) -> Vec<u16> {
    let width = plane.width;
    let mut ridges = vec![0_u16; gradient.magnitude.len()];
    for y in 1..plane.height.saturating_sub(1) {
        let row = &mut ridges[y * width..][..width];
        for (x, ridge) in row.iter_mut().enumerate().take(width - 1).skip(1) {
            let at = y * width + x;
            let value = gradient.magnitude[at];
            if value <= low {
                continue;
            }
            let step = match direction_of(gradient.dx[at], gradient.dy[at]) {
                ACROSS => 1,
                DOWN => width,
                FALLING => width + 1,
                _ => width - 1,
            };
            if value > gradient.magnitude[at - step] && value >= gradient.magnitude[at + step] {
                *ridge = value;
            }
        }
    }
    ridges
}

/// Hysteresis: ridges above `high`, and the ridges connected to them. Ridges never lie
/// on the frame, so all eight neighbours exist.
fn follow(plane: &Plane, ridges: &[u16], high: u16) -> Vec<u8> {
    let width = plane.width;
    let mut edges = vec![0_u8; ridges.len()];
    let mut open = Vec::new();
    for seed in 0..ridges.len() {
        if ridges[seed] <= high || edges[seed] != 0 {
            continue;
        }
        edges[seed] = 1;
        open.push(seed);
        while let Some(at) = open.pop() {
            for row in [at - width, at, at + width] {
                for next in row - 1..=row + 1 {
                    if ridges[next] > 0 && edges[next] == 0 {
                        edges[next] = 1;
                        open.push(next);
                    }
                }
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_a_closed_thin_outline() {
        let mut plane = Plane {
            width: 40,
            height: 40,
            data: vec![10; 1600],
        };
        for y in 10..30 {
            plane.data[y * 40 + 10..y * 40 + 30].fill(200);
        }
        let edges = edges(&plane, 0.5).unwrap().mask;
        let on_row = |y: usize| {
            edges[y * 40..][..40]
                .iter()
                .map(|it| u32::from(*it))
                .sum::<u32>()
        };
        assert_eq!(on_row(20), 2);
        assert!(on_row(10) + on_row(9) >= 18);
        assert_eq!(on_row(5), 0);
    }

    #[test]
    fn flat_and_tiny_planes_have_no_edges() {
        for (width, height) in [(1, 1), (2, 9), (9, 1), (30, 30)] {
            let plane = Plane {
                width,
                height,
                data: vec![128; width * height],
            };
            assert!(edges(&plane, 0.5).is_none());
        }
    }
}
