//! What is done to a picture before the network sees it, in training and after.

use crate::dense::Picture;
use crate::samples::grey;
use serde::{Deserialize, Serialize};

/// How pictures are evened out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preparation {
    /// As they are.
    None,
    /// The darkest pixels of a picture become black and the brightest white, whatever the exposure was; on a dark ground
    /// dim cells are lifted by a root, and of a bright ground the negative is taken: cells are always the bright ones.
    #[default]
    Stretch,
}

/// So many of a thousand values lie beyond black, and as many beyond white: dust and broken pixels decide nothing.
const BEYOND: u64 = 2;
/// A picture with less between its darkest and brightest pixels shows nothing; stretched, its noise would.
const MIN_SPAN: u8 = 8;

/// What becomes of the pixels of one picture, whichever part of it they are of.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    gray: bool,
    values: [u8; 256],
}

impl Preparation {
    pub(super) fn of(self, picture: &Picture, gray: bool) -> Prepared {
        let values = match self {
            Self::None => std::array::from_fn(|it| it as u8),
            Self::Stretch => stretch(picture, gray),
        };
        Prepared { gray, values }
    }
}

impl Prepared {
    pub(super) fn apply(&self, pixels: &mut [u8]) {
        if self.gray {
            grey(pixels);
        }
        for value in pixels {
            *value = self.values[usize::from(*value)];
        }
    }
}

fn stretch(picture: &Picture, gray: bool) -> [u8; 256] {
    let mut counts = [0_u64; 256];
    for pixel in picture.pixels.as_chunks::<3>().0 {
        let mut pixel = *pixel;
        if gray {
            grey(&mut pixel);
        }
        for value in pixel {
            counts[usize::from(value)] += 1;
        }
    }
    let beyond = picture.pixels.len() as u64 * BEYOND / 1000;
    let black = end(&counts, beyond, 0..=255).unwrap_or(0);
    let white = end(&counts, beyond, (0..=255).rev()).unwrap_or(255);
    let middle = end(&counts, picture.pixels.len() as u64 / 2, 0..=255).unwrap_or(0);
    let span = white.saturating_sub(black).max(MIN_SPAN);
    let part = |it: u8| ((f64::from(it) - f64::from(black)) / f64::from(span)).clamp(0.0, 1.0);
    let is_bright = part(middle) > 0.5;
    std::array::from_fn(|it| {
        let part = part(it as u8);
        let seen = if is_bright { 1.0 - part } else { part.sqrt() };
        (seen * 255.0).round() as u8
    })
}

/// The first of the values that has more than `beyond` before and at it.
fn end(counts: &[u64; 256], beyond: u64, mut values: impl Iterator<Item = u8>) -> Option<u8> {
    let mut passed = 0;
    values.find(|it| {
        passed += counts[usize::from(*it)];
        passed > beyond
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(it: Preparation, pixels: &[u8], gray: bool) -> Vec<u8> {
        let mut picture = Picture::new(100, 10, pixels.to_vec()).unwrap();
        it.of(&picture, gray).apply(&mut picture.pixels);
        picture.pixels
    }

    #[test]
    fn exposure_makes_no_difference() {
        let bright: Vec<u8> = (0..3000)
            .map(|it| (it % 200 * (it % 3) / 2 + 20) as u8)
            .collect();
        let dark: Vec<u8> = bright.iter().map(|it| it / 4).collect();
        let stretched = |it: &[u8]| prepared(Preparation::Stretch, it, false);
        let pairs = stretched(&bright).into_iter().zip(stretched(&dark));
        assert!({ pairs }.all(|(a, b)| a.abs_diff(b) <= 36));
        assert_eq!(stretched(&bright).iter().max(), Some(&255));
        assert_eq!(stretched(&[77; 3000]), [0; 3000]);
        let negative: Vec<u8> = bright.iter().map(|it| 255 - it).collect();
        let brightest = |it: &[u8]| it.iter().position(|it| *it == 255);
        assert_eq!(
            brightest(&stretched(&negative)),
            brightest(&stretched(&bright))
        );
        assert_eq!(prepared(Preparation::None, &dark, false), dark);
    }

    #[test]
    fn a_picture_in_grey_is_stretched_by_its_greys() {
        // Pure blue is dark: by its values it would be stretched already.
        let blue: Vec<u8> = (0..1000).flat_map(|it| [0, 0, (it % 256) as u8]).collect();
        let it = prepared(Preparation::Stretch, &blue, true);
        assert_eq!(it.iter().max(), Some(&255));
        assert!(
            it.as_chunks::<3>()
                .0
                .iter()
                .all(|it| it[0] == it[1] && it[1] == it[2])
        );
    }
}
