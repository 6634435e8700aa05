//! White cells and platelets by their nuclear stain, which is blue or violet where red
//! cells and cytoplasm are red or orange. A lobed nucleus would cast votes for many small
//! centres, and a platelet is too small to cast any.

use super::otsu;
use super::outline::Outline;
use super::plane::{Plane, histogram};
use super::shape::Mask;
use super::split::{Region, components};

/// Nuclear stain above the ground: less is a rim of colour.
const MIN_STAIN: usize = 20;
/// Where more than this share of what is stained is blue, blue tells no cells apart.
const MAX_SHARE: f64 = 0.5;
/// Lobes this near, in typical radii, are one nucleus.
const LOBE_GAP: f64 = 0.35;
/// Areas as shares of the typical cell's.
const MIN_LOBE: f64 = 0.02;
const MIN_NUCLEUS: f64 = 0.25;
const MIN_PLATELET: f64 = 0.04;
const MAX_PLATELET: f64 = 0.3;
/// A platelet stains this much of a nucleus' depth, in percent.
const PLATELET_STAIN: usize = 45;
/// Threads and crescents are no platelets: how much of its box one fills, and how long it is.
const MIN_PLATELET_FILL: f64 = 0.5;
const MAX_PLATELET_ASPECT: f64 = 2.2;
/// How much wider a cell is than what of it is stained.
const CELL_TO_NUCLEUS: f64 = 1.2;
const PLATELET_TO_CORE: f64 = 1.5;
/// What the colour alone says about a white cell and a platelet.
const CELL_SCORE: f64 = 0.9;
const PLATELET_SCORE: f64 = 0.7;
/// A box with more than this share in a white cell is a part of it.
const MAX_SHARED: f64 = 0.6;
const MAX_PLATELET_SHARED: f64 = 0.3;

/// White cells and platelets of a field.
#[derive(Debug, Default)]
pub(super) struct Nucleated {
    pub(super) cells: Vec<Outline>,
    pub(super) platelets: Vec<Outline>,
}

impl Nucleated {
    /// Is this a lobe of a white cell?
    pub(super) fn contains(&self, outline: &Outline) -> bool {
        let is_part = |cell| outline.share_inside(cell) >= MAX_SHARED;
        self.cells.iter().any(is_part)
    }
}

/// `n_stained` says how many pixels of the field are stained at all.
pub(super) fn nucleated(blue: &Plane, n_stained: usize, typical: f64) -> Nucleated {
    let histogram = histogram(&blue.data);
    let Some(level) = otsu::threshold(&histogram) else {
        return Nucleated::default();
    };
    let ground = (0..256).rev().max_by_key(|it| histogram[*it]).unwrap_or(0);
    let level = level.max(ground + MIN_STAIN);
    let n_blue: u64 = histogram.iter().skip(level + 1).sum();
    if n_blue as f64 > n_stained as f64 * MAX_SHARE {
        return Nucleated::default();
    }
    let circle = std::f64::consts::PI * typical * typical;
    let nuclei = joined(&regions(blue, level), typical * LOBE_GAP, circle);
    let cells: Vec<Outline> = nuclei
        .iter()
        .filter(|it| f64::from(it.area) >= circle * MIN_NUCLEUS)
        .map(|it| grown(it, CELL_TO_NUCLEUS, CELL_SCORE))
        .collect();
    let low = ground + (level - ground) * PLATELET_STAIN / 100;
    let platelets = regions(blue, low)
        .iter()
        .filter(|it| is_platelet(it, circle))
        .map(|it| grown(it, PLATELET_TO_CORE, PLATELET_SCORE))
        .filter(|it| {
            let is_part = |cell| it.share_inside(cell) > MAX_PLATELET_SHARED;
            !cells.iter().any(is_part)
        })
        .collect();
    Nucleated { cells, platelets }
}

fn regions(blue: &Plane, level: usize) -> Vec<Region> {
    let is_above = |it: &u8| u8::from(usize::from(*it) > level);
    let mut mask = Mask {
        width: blue.width,
        height: blue.height,
        data: blue.data.iter().map(is_above).collect(),
    };
    mask.open(1);
    components(mask)
}

fn is_platelet(region: &Region, circle: f64) -> bool {
    let width = f64::from(region.x2 - region.x1);
    let height = f64::from(region.y2 - region.y1);
    let area = f64::from(region.area);
    (circle * MIN_PLATELET..=circle * MAX_PLATELET).contains(&area)
        && area >= width * height * MIN_PLATELET_FILL
        && width.max(height) <= width.min(height) * MAX_PLATELET_ASPECT
}

/// Lobes no farther apart than `gap` as one nucleus.
fn joined(lobes: &[Region], gap: f64, circle: f64) -> Vec<Region> {
    let gap = gap as u32;
    let mut nuclei: Vec<Region> = Vec::new();
    let lobes = lobes
        .iter()
        .filter(|it| f64::from(it.area) >= circle * MIN_LOBE);
    for lobe in lobes {
        let mut nucleus = *lobe;
        // A nucleus that grew may now be near to one that it was far from.
        let is_near = |it: &Region, nucleus: &Region| {
            nucleus.x1 <= it.x2 + gap
                && it.x1 <= nucleus.x2 + gap
                && nucleus.y1 <= it.y2 + gap
                && it.y1 <= nucleus.y2 + gap
        };
        while let Some(other) = nuclei.iter().position(|it| is_near(it, &nucleus)) {
            nucleus = nucleus.joined(&nuclei.swap_remove(other));
        }
        nuclei.push(nucleus);
    }
    nuclei
}

/// The box `factor` times as wide and high around the same centre.
fn grown(region: &Region, factor: f64, score: f64) -> Outline {
    let [x1, y1, x2, y2] = [region.x1, region.y1, region.x2, region.y2].map(f64::from);
    let dx = (x2 - x1) * (factor - 1.0) / 2.0;
    let dy = (y2 - y1) * (factor - 1.0) / 2.0;
    Outline {
        x1: x1 - dx,
        y1: y1 - dy,
        x2: x2 + dx,
        y2: y2 + dy,
        score,
        hits: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(discs: &[(i32, i32, i32)]) -> Plane {
        let is_blue = |x: i32, y: i32| {
            let inside =
                |it: &(i32, i32, i32)| (x - it.0).pow(2) + (y - it.1).pow(2) <= it.2.pow(2);
            discs.iter().any(inside)
        };
        let pixel = |at: i32| if is_blue(at % 200, at / 200) { 100 } else { 3 };
        Plane {
            width: 200,
            height: 200,
            data: (0..200 * 200).map(pixel).collect(),
        }
    }

    #[test]
    fn lobes_are_one_cell_and_a_small_disc_is_a_platelet() {
        let field = plane(&[(60, 60, 11), (80, 75, 11), (150, 150, 8), (20, 180, 2)]);
        let got = nucleated(&field, 10_000, 25.0);
        assert_eq!((got.cells.len(), got.platelets.len()), (1, 1), "{got:?}");
        assert!(got.cells[0].x1 < 50.0 && got.cells[0].y2 > 85.0, "{got:?}");
        assert!(got.platelets[0].x1 > 130.0, "{got:?}");
    }

    #[test]
    fn where_all_is_blue_nothing_is_told_apart() {
        let field = plane(&[(60, 60, 11), (80, 75, 11)]);
        assert!(nucleated(&field, 1000, 25.0).cells.is_empty());
        assert!(nucleated(&plane(&[]), 1000, 25.0).cells.is_empty());
    }
}
