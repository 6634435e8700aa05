//! One channel at working size.

use crate::image::RgbImage;

/// The working copy is shrunk by a whole factor until it has no more pixels than this, so
/// that a 48-megapixel field needs no more memory or patience than a usual one.
const MAX_WORK_PIXELS: f64 = 2_000_000.0;

/// A median darker than this is a dark field: fluorescence, bright cells on black.
const DARK_FIELD: usize = 80;

/// Bytes in rows without padding.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

/// The stain, and how many image pixels a side of a working pixel is.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) stain: Plane,
    /// How much bluer than red or green: nuclear stain. `None` in a dark field.
    pub(super) blue: Option<Plane>,
    pub(super) factor: u32,
}

/// How far each pixel is from blank: 255 less its smallest channel, which both shadow and
/// colour lower; in a dark field its largest channel.
pub(super) fn stain(image: &RgbImage) -> Work {
    let pixels = u64::from(image.width) * u64::from(image.height);
    // The root of a u64 below 2^52 is exact enough: one too much or too little is no harm.
    let factor = ((pixels as f64 / MAX_WORK_PIXELS).sqrt().ceil() as usize).max(1);
    let mut stain = shrink(image, factor, |[r, g, b]| 255 - r.min(g).min(b));
    let mut blue = None;
    let brightness = invert_histogram(&histogram(&stain.data));
    if median(&brightness) < DARK_FIELD {
        stain = shrink(image, factor, |[r, g, b]| r.max(g).max(b));
    } else {
        blue = Some(shrink(image, factor, |[r, g, b]| {
            b.saturating_sub(r.min(g))
        }));
    }
    Work {
        stain,
        blue,
        factor: factor as u32,
    }
}

/// Averages squares of `factor` pixels; what is left at the right and lower edge is dropped
/// unless it is all there is.
fn shrink(image: &RgbImage, factor: usize, value: impl Fn([u8; 3]) -> u8) -> Plane {
    let source_width = image.width as usize;
    let (width, height) = (
        (source_width / factor).max(1),
        (image.height as usize / factor).max(1),
    );
    let pixels = image.data.as_chunks::<3>().0;
    if factor == 1 {
        return Plane {
            width,
            height,
            data: pixels.iter().map(|&it| value(it)).collect(),
        };
    }
    let mut data = Vec::with_capacity(width * height);
    let mut sums = vec![0_u32; width];
    for rows in pixels.chunks(source_width * factor).take(height) {
        sums.fill(0);
        for row in rows.chunks_exact(source_width) {
            for (sum, square) in sums.iter_mut().zip(row.chunks(factor)) {
                *sum += square.iter().map(|&it| u32::from(value(it))).sum::<u32>();
            }
        }
        let area = (rows.len() / source_width * factor.min(source_width)) as u32;
        data.extend(sums.iter().map(|sum| (sum / area) as u8));
    }
    Plane {
        width,
        height,
        data,
    }
}

pub(super) fn histogram(data: &[u8]) -> [u64; 256] {
    // Four tables, because equal neighbours would wait for each other's count.
    let mut tables = [[0_u32; 256]; 4];
    let (quads, rest) = data.as_chunks::<4>();
    for quad in quads {
        for (table, &value) in tables.iter_mut().zip(quad) {
            table[usize::from(value)] += 1;
        }
    }
    for &value in rest {
        tables[0][usize::from(value)] += 1;
    }
    std::array::from_fn(|level| tables.iter().map(|it| u64::from(it[level])).sum())
}

fn invert_histogram(histogram: &[u64; 256]) -> [u64; 256] {
    std::array::from_fn(|level| histogram[255 - level])
}

fn median(histogram: &[u64; 256]) -> usize {
    let half = histogram.iter().sum::<u64>() / 2;
    let mut below = 0;
    histogram
        .iter()
        .position(|count| {
            below += count;
            below > half
        })
        .unwrap_or(0)
}

impl Plane {
    /// Smooths with the binomial 1 4 6 4 1 in both directions; edge pixels are repeated outwards.
    pub(super) fn blur(&mut self) {
        let (width, height) = (self.width, self.height);
        let mut padded = vec![0_u8; width + 4];
        for row in self.data.chunks_exact_mut(width) {
            padded[..2].fill(row[0]);
            padded[2..width + 2].copy_from_slice(row);
            padded[width + 2..].fill(row[width - 1]);
            for (out, taps) in row.iter_mut().zip(padded.windows(5)) {
                *out = binomial([taps[0], taps[1], taps[2], taps[3], taps[4]]);
            }
        }
        let source = self.data.clone();
        let row = |y: isize| {
            let y = y.clamp(0, height as isize - 1) as usize;
            &source[y * width..][..width]
        };
        for (y, out) in self.data.chunks_exact_mut(width).enumerate() {
            let y = y as isize;
            let taps = [row(y - 2), row(y - 1), row(y), row(y + 1), row(y + 2)];
            for (x, out) in out.iter_mut().enumerate() {
                *out = binomial(taps.map(|it| it[x]));
            }
        }
    }
}

fn binomial(taps: [u8; 5]) -> u8 {
    let [far_left, left, middle, right, far_right] = taps.map(u16::from);
    ((far_left + far_right + 4 * (left + right) + 6 * middle + 8) >> 4) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_flat_plane_flat() {
        let mut plane = Plane {
            width: 7,
            height: 3,
            data: vec![93; 21],
        };
        plane.blur();
        assert_eq!(plane.data, [93; 21]);
    }

    #[test]
    fn large_images_are_worked_on_smaller() {
        let work = stain(&RgbImage::filled(3000, 2000, [255, 200, 255]));
        assert_eq!(
            (work.factor, work.stain.width, work.stain.height),
            (2, 1500, 1000)
        );
        assert!(work.stain.data.iter().all(|it| *it == 55));
        let thin = stain(&RgbImage::filled(2, 3_000_001, [200; 3]));
        assert_eq!(thin.stain.data.len(), thin.stain.width * thin.stain.height);
    }
}
