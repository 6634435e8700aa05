//! Pictures of any size.

use crate::detector::Region;
use crate::samples::Normalisation;

/// A picture, RGB, row after row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

/// Pixels that are no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a picture of {width} x {height} pixels has {} bytes of RGB and {given} were given",
    width * height * 3
)]
pub struct PictureError {
    pub width: usize,
    pub height: usize,
    pub given: usize,
}

impl Picture {
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, PictureError> {
        let expected = width.checked_mul(height).and_then(|it| it.checked_mul(3));
        if expected == Some(pixels.len()) {
            return Ok(Self {
                width,
                height,
                pixels,
            });
        }
        Err(PictureError {
            width,
            height,
            given: pixels.len(),
        })
    }

    pub const fn width(&self) -> usize {
        self.width
    }

    pub const fn height(&self) -> usize {
        self.height
    }

    /// The pixels of a part that lies inside.
    pub(crate) fn part(&self, it: Region) -> Vec<u8> {
        let rows = self
            .pixels
            .chunks_exact(self.width * 3)
            .skip(it.y)
            .take(it.height);
        rows.flat_map(|row| &row[it.x * 3..][..it.width * 3])
            .copied()
            .collect()
    }

    pub(crate) fn pixel(&self, x: usize, y: usize) -> [f32; 3] {
        let at = 3 * (y * self.width + x);
        let it = &self.pixels[at..at + 3];
        [f32::from(it[0]), f32::from(it[1]), f32::from(it[2])]
    }
}

/// A picture and what is known of it.
#[derive(Clone, Debug)]
pub struct Field<T> {
    pub picture: Picture,
    pub truth: T,
}

/// Mean and deviation of each channel over all pictures.
pub(super) fn normalisation<'a>(pictures: impl Iterator<Item = &'a Picture>) -> Normalisation {
    let (mut sums, mut squares, mut n) = ([0_u64; 3], [0_u64; 3], 0_u64);
    for picture in pictures {
        for pixel in picture.pixels.as_chunks::<3>().0 {
            for (channel, value) in pixel.iter().enumerate() {
                sums[channel] += u64::from(*value);
                squares[channel] += u64::from(*value) * u64::from(*value);
            }
        }
        n += (picture.width * picture.height) as u64;
    }
    let n = n.max(1) as f64;
    let mean = sums.map(|it| it as f64 / n / 255.0);
    let deviation = std::array::from_fn(|at| {
        let square = squares[at] as f64 / n / (255.0 * 255.0);
        // A channel without any contrast says nothing; dividing by its noise would make it shout.
        (square - mean[at] * mean[at]).max(0.0).sqrt().max(0.02) as f32
    });
    Normalisation {
        mean: mean.map(|it| it as f32),
        deviation,
    }
}
