//! How strongly pictures are changed, and what is drawn for each.

use super::pixels::{Place, Planes};
use crate::rng::{Purpose, Rng};
use crate::samples::{Normalisation, Samples};
use crate::view::View;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How strongly pictures are changed. 0 or `false` switches a change off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirror, with probability 1/2.
    pub flips: bool,
    /// Turn by 0, 90, 180 or 270 degrees.
    pub quarter_turns: bool,
    /// Move by up to this part of the side, both ways; the edge is repeated.
    pub shift: f64,
    /// Times 1 - this to 1 + this.
    pub brightness: f64,
    /// Distance to the mean grey, times 1 - this to 1 + this.
    pub contrast: f64,
    /// Distance to each pixel's grey, times 1 - this to 1 + this.
    pub saturation: f64,
    /// Probability of a blur, of a strength drawn anew.
    pub blur: f64,
    /// Probability of the negative: dark cells on bright ground for bright ones on dark.
    #[serde(skip_serializing_if = "is_off")]
    pub invert: f64,
}

/// Settings without it are written as they were before there was one.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands on a reference"
)]
fn is_off(invert: &f64) -> bool {
    *invert <= 0.0
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flips: true,
            quarter_turns: true,
            shift: 0.06,
            brightness: 0.1,
            contrast: 0.1,
            saturation: 0.1,
            blur: 0.1,
            invert: 0.0,
        }
    }
}

impl Augment {
    /// Pictures as they are.
    pub const NONE: Self = Self {
        flips: false,
        quarter_turns: false,
        shift: 0.0,
        brightness: 0.0,
        contrast: 0.0,
        saturation: 0.0,
        blur: 0.0,
        invert: 0.0,
    };

    /// Everything that is wrong with it, a line each.
    pub fn problems(&self) -> Vec<String> {
        let parts = [
            ("augment.shift", self.shift, 0.5),
            ("augment.brightness", self.brightness, 0.9),
            ("augment.contrast", self.contrast, 0.9),
            ("augment.saturation", self.saturation, 1.0),
            ("augment.blur", self.blur, 1.0),
            ("augment.invert", self.invert, 1.0),
        ];
        parts
            .into_iter()
            .filter(|(_, value, high)| !(0.0..=*high).contains(value))
            .map(|(name, value, high)| format!("{name} is {value}, it goes from 0 to {high}"))
            .collect()
    }

    /// Fills `out` with the samples of these numbers, each changed by the draws of (seed, epoch, number).
    pub fn batch(
        &self,
        samples: &Samples,
        indices: &[usize],
        normalisation: &Normalisation,
        [seed, epoch]: [u64; 2],
        out: &mut [f32],
    ) {
        let side = samples.side();
        let pictures = out.par_chunks_mut(side * side * 3).zip(indices);
        pictures.for_each_init(
            || Planes::new(side),
            |planes, (out, at)| {
                let mut rng = Rng::new(seed, Purpose::Augment, [epoch, *at as u64]);
                self.change(samples.picture(*at), planes, &mut rng);
                planes.normalised(normalisation, out);
            },
        );
    }

    /// Fills `out` with a changed picture, values from 0 to 1.
    pub fn picture(&self, pixels: &[u8], side: usize, rng: &mut Rng, out: &mut [f32]) {
        let mut planes = Planes::new(side);
        self.change(pixels, &mut planes, rng);
        planes.plain(out);
    }

    /// Takes a picture in and changes it. The number of draws does not depend on the settings, so that switching
    /// one change off moves no other.
    fn change(&self, pixels: &[u8], planes: &mut Planes, rng: &mut Rng) {
        let place = self.place(planes.side(), rng);
        planes.place(pixels, place);
        self.recolour(planes, rng);
    }

    /// The changes that move no pixel.
    pub(crate) fn recolour(&self, planes: &mut Planes, rng: &mut Rng) {
        let strengths = [self.brightness, self.saturation, self.contrast];
        let factors = strengths.map(|it| rng.between(1.0 - it, 1.0 + it) as f32);
        let blurred = rng.chance(self.blur);
        let strength = rng.uniform() as f32;
        let inverted = rng.chance(self.invert);
        // Factors of 1 would still round.
        if factors.map(f32::to_bits) != [1.0_f32.to_bits(); 3] {
            planes.colour(factors);
        }
        if blurred {
            planes.blur(strength);
        }
        if inverted {
            planes.invert();
        }
    }

    fn place(&self, side: usize, rng: &mut Rng) -> Place {
        let (mirror, turns) = (rng.chance(0.5), rng.below(4));
        let reach = self.shift * side as f64;
        let mut shift = || rng.between(-reach, reach).round() as isize;
        Place {
            view: View {
                mirror: self.flips && mirror,
                turns: if self.quarter_turns { turns } else { 0 },
            },
            down: shift(),
            right: shift(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize) -> Vec<u8> {
        (0..side * side * 3)
            .map(|it| (it * 37 % 256) as u8)
            .collect()
    }

    fn changed(it: &Augment, seed: u64) -> Vec<f32> {
        let mut out = vec![0.0; 5 * 5 * 3];
        let mut rng = Rng::new(seed, Purpose::Augment, [0, 0]);
        it.picture(&picture(5), 5, &mut rng, &mut out);
        out
    }

    #[test]
    fn nothing_switched_on_changes_nothing() {
        let plain: Vec<f32> = picture(5).iter().map(|it| f32::from(*it) / 255.0).collect();
        for seed in 0..20 {
            assert_eq!(changed(&Augment::NONE, seed), plain);
        }
    }

    #[test]
    fn flips_and_turns_reach_all_eight_positions_and_lose_no_pixel() {
        let it = Augment {
            flips: true,
            quarter_turns: true,
            ..Augment::NONE
        };
        let mut seen: Vec<Vec<f32>> = (0..200).map(|seed| changed(&it, seed)).collect();
        let sorted = |mut it: Vec<f32>| {
            it.sort_by(f32::total_cmp);
            it
        };
        let plain = sorted(changed(&Augment::NONE, 0));
        for it in &seen {
            assert_eq!(sorted(it.clone()), plain);
        }
        seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
        seen.dedup();
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn a_change_switched_on_leaves_the_draws_of_the_others_alone() {
        let turned = Augment {
            quarter_turns: true,
            ..Augment::NONE
        };
        let both = Augment {
            brightness: 0.01,
            ..turned
        };
        for seed in 0..50 {
            let (a, b) = (changed(&turned, seed), changed(&both, seed));
            assert!(
                a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 0.0101),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn values_stay_between_0_and_1_and_a_blur_lowers_the_contrast() {
        let strong = Augment {
            brightness: 0.9,
            contrast: 0.9,
            saturation: 1.0,
            blur: 1.0,
            shift: 0.5,
            ..Augment::default()
        };
        for seed in 0..50 {
            assert!(
                changed(&strong, seed)
                    .iter()
                    .all(|it| (0.0..=1.0).contains(it))
            );
        }
        let blurred = Augment {
            blur: 1.0,
            ..Augment::NONE
        };
        let inverted = Augment {
            invert: 1.0,
            ..Augment::NONE
        };
        let plain = changed(&Augment::NONE, 1);
        let sums = changed(&inverted, 1)
            .into_iter()
            .zip(plain)
            .map(|(a, b)| a + b);
        assert!({ sums }.all(|it| (it - 1.0).abs() < 1e-6));
        let roughness = |it: &[f32]| it.windows(4).map(|it| (it[3] - it[0]).abs()).sum::<f32>();
        assert!(roughness(&changed(&blurred, 1)) < roughness(&changed(&Augment::NONE, 1)));
        assert_eq!(
            Augment {
                shift: f64::NAN,
                ..strong
            }
            .problems()
            .len(),
            1
        );
    }
}
