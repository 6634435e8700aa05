//! Parting touching cells at their necks: a watershed of the distance to the background.

use super::shape::Mask;

/// One pixel of distance in the units of [`distances`].
pub(super) const UNIT: u16 = 5;

/// Farther than any pixel can be; twice 11 more still fit.
const FAR: u16 = 32_000;

/// The distance of every pixel of the mask to the background, in fifths of a pixel.
///
/// The 5-7-11 chamfer (Borgefors 1986) is within 2 % of the true distance and whole-numbered.
/// Outside of the image is background.
pub(super) fn distances(mask: &Mask) -> Vec<u16> {
    let (width, height) = (mask.width, mask.height);
    // A border of two pixels of background spares every test for the edge.
    let stride = width + 4;
    let mut field = vec![0_u16; stride * (height + 4)];
    for (y, row) in mask.data.chunks_exact(width).enumerate() {
        let out = &mut field[(y + 2) * stride + 2..][..width];
        for (out, &value) in out.iter_mut().zip(row) {
            *out = if value == 0 { 0 } else { FAR };
        }
    }
    let forward = [
        (1, 5),
        (stride, 5),
        (stride - 1, 7),
        (stride + 1, 7),
        (stride - 2, 11),
        (stride + 2, 11),
        (2 * stride - 1, 11),
        (2 * stride + 1, 11),
    ];
    for y in 0..height {
        for at in (y + 2) * stride + 2..(y + 2) * stride + 2 + width {
            if field[at] != 0 {
                field[at] = forward.iter().fold(field[at], |best, (step, cost)| {
                    best.min(field[at - step] + cost)
                });
            }
        }
    }
    for y in (0..height).rev() {
        for at in ((y + 2) * stride + 2..(y + 2) * stride + 2 + width).rev() {
            if field[at] != 0 {
                field[at] = forward.iter().fold(field[at], |best, (step, cost)| {
                    best.min(field[at + step] + cost)
                });
            }
        }
    }
    let mut out = Vec::with_capacity(width * height);
    for row in field.chunks_exact(stride).skip(2).take(height) {
        out.extend_from_slice(&row[2..][..width]);
    }
    out
}

/// A part of the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) x1: u32,
    pub(super) y1: u32,
    pub(super) x2: u32,
    pub(super) y2: u32,
    pub(super) area: u32,
    /// The largest distance to the background inside, in fifths of a pixel.
    pub(super) peak: u16,
}

impl Region {
    const fn at(x: u32, y: u32, peak: u16) -> Self {
        Self {
            x1: x,
            y1: y,
            x2: x + 1,
            y2: y + 1,
            area: 0,
            peak,
        }
    }

    /// Both as one, with the peak of this one.
    pub(super) fn joined(&self, other: &Self) -> Self {
        Self {
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
            x2: self.x2.max(other.x2),
            y2: self.y2.max(other.y2),
            area: self.area + other.area,
            peak: self.peak,
        }
    }
}

/// The connected parts of the mask in reading order.
pub(super) fn components(mut mask: Mask) -> Vec<Region> {
    let width = mask.width;
    let mut found = Vec::new();
    let mut open = Vec::new();
    for seed in 0..mask.data.len() {
        if mask.data[seed] == 0 {
            continue;
        }
        let mut region = Region::at((seed % width) as u32, (seed / width) as u32, 0);
        mask.data[seed] = 0;
        open.push(seed);
        while let Some(at) = open.pop() {
            let (x, y) = (at % width, at / width);
            let mut pixel = Region::at(x as u32, y as u32, 0);
            pixel.area = 1;
            region = region.joined(&pixel);
            let neighbours = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then(|| at + 1),
                (y > 0).then(|| at - width),
                (y + 1 < mask.height).then(|| at + width),
            ];
            for next in neighbours.into_iter().flatten() {
                if mask.data[next] != 0 {
                    mask.data[next] = 0;
                    open.push(next);
                }
            }
        }
        found.push(region);
    }
    found
}

const NO_REGION: u32 = u32::MAX;

/// Floods the mask from its widest places outwards; where two floods meet, they become one
/// cell unless the neck between them is narrower than the smaller one by `depth` of it.
///
/// Regions come in the order of their widest places: by distance, then row, then column.
pub(super) fn split(mask: &Mask, distances: &[u16], depth: f64) -> Vec<Region> {
    let mut flood = Flood {
        regions: Vec::new(),
        parents: Vec::new(),
        owner: vec![NO_REGION; distances.len()],
    };
    let width = mask.width;
    for at in by_distance(distances) {
        let at = at as usize;
        let (x, y) = (at % width, at / width);
        let neighbours = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then(|| at + 1),
            (y > 0).then(|| at - width),
            (y + 1 < mask.height).then(|| at + width),
        ];
        let level = distances[at];
        let mut mine = NO_REGION;
        for next in neighbours.into_iter().flatten() {
            let other = flood.owner[next];
            if other == NO_REGION {
                continue;
            }
            let other = flood.root(other);
            if mine == NO_REGION {
                mine = other;
            } else if mine != other && flood.is_shallow(mine, other, level, depth) {
                mine = flood.join(mine, other);
            }
        }
        if mine == NO_REGION {
            mine = flood.open(Region::at(x as u32, y as u32, level));
        }
        flood.add(mine, at, x as u32, y as u32);
    }
    flood.finish()
}

/// Pixels of the mask from the farthest to the nearest; equal ones in reading order.
fn by_distance(distances: &[u16]) -> Vec<u32> {
    let highest = usize::from(distances.iter().copied().max().unwrap_or(0));
    let mut starts = vec![0_u32; highest + 2];
    for &it in distances {
        starts[highest - usize::from(it) + 1] += 1;
    }
    // The background is the last bucket and is not wanted.
    let n_pixels = distances.len() - starts[highest + 1] as usize;
    for level in 1..starts.len() {
        starts[level] += starts[level - 1];
    }
    let mut order = vec![0_u32; n_pixels];
    for (at, &it) in (0..).zip(distances) {
        if it > 0 {
            let start = &mut starts[highest - usize::from(it)];
            order[*start as usize] = at;
            *start += 1;
        }
    }
    order
}

struct Flood {
    regions: Vec<Region>,
    parents: Vec<u32>,
    owner: Vec<u32>,
}

impl Flood {
    fn open(&mut self, region: Region) -> u32 {
        let id = self.regions.len() as u32;
        self.regions.push(region);
        self.parents.push(id);
        id
    }

    fn root(&mut self, mut id: u32) -> u32 {
        while self.parents[id as usize] != id {
            let parent = self.parents[id as usize];
            self.parents[id as usize] = self.parents[parent as usize];
            id = self.parents[id as usize];
        }
        id
    }

    fn is_shallow(&self, a: u32, b: u32, level: u16, depth: f64) -> bool {
        let smaller = self.regions[a as usize]
            .peak
            .min(self.regions[b as usize].peak);
        // Less than one and a half pixels is the staircase of the raster, not a neck.
        let needed = (f64::from(smaller) * depth).max(f64::from(UNIT) * 1.5);
        f64::from(smaller - level) < needed
    }

    /// The older region, which has the higher peak, keeps its number.
    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (kept, gone) = (a.min(b), a.max(b));
        let other = self.regions[gone as usize];
        self.parents[gone as usize] = kept;
        let region = &mut self.regions[kept as usize];
        *region = region.joined(&other);
        kept
    }

    fn add(&mut self, id: u32, at: usize, x: u32, y: u32) {
        self.owner[at] = id;
        let region = &mut self.regions[id as usize];
        region.x1 = region.x1.min(x);
        region.y1 = region.y1.min(y);
        region.x2 = region.x2.max(x + 1);
        region.y2 = region.y2.max(y + 1);
        region.area += 1;
    }

    fn finish(self) -> Vec<Region> {
        let roots = self
            .parents
            .iter()
            .zip(0_u32..)
            .map(|(parent, id)| *parent == id);
        self.regions
            .into_iter()
            .zip(roots)
            .filter_map(|(region, is_root)| is_root.then_some(region))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discs(centers: &[(i32, i32)], radius: i32) -> Mask {
        let (width, height) = (120, 60);
        let inside = |x: i32, y: i32| {
            centers
                .iter()
                .any(|c| (x - c.0).pow(2) + (y - c.1).pow(2) <= radius * radius)
        };
        let data = (0..height)
            .flat_map(|y| (0..width).map(move |x| u8::from(inside(x, y))))
            .collect();
        Mask {
            width: width as usize,
            height: height as usize,
            data,
        }
    }

    fn regions(mask: &Mask) -> Vec<Region> {
        split(mask, &distances(mask), 0.2)
    }

    #[test]
    fn distances_are_near_the_true_ones() {
        let disc = discs(&[(60, 30)], 20);
        let middle = f64::from(distances(&disc)[30 * 120 + 60]) / f64::from(UNIT);
        assert!((middle - 20.5).abs() < 1.0, "{middle}");
    }

    #[test]
    fn touching_discs_are_parted_and_one_disc_is_not() {
        assert_eq!(regions(&discs(&[(60, 30)], 20)).len(), 1);
        let parted = regions(&discs(&[(40, 30), (75, 30)], 20));
        assert_eq!(parted.len(), 2);
        assert!(
            parted.iter().all(|it| (35..=40).contains(&(it.x2 - it.x1))),
            "{parted:?}"
        );
    }

    #[test]
    fn no_pixel_is_lost_or_counted_twice() {
        let mask = discs(&[(30, 30), (58, 28), (80, 33)], 18);
        let set: u32 = mask.data.iter().map(|it| u32::from(*it)).sum();
        assert_eq!(regions(&mask).iter().map(|it| it.area).sum::<u32>(), set);
    }

    #[test]
    fn components_are_what_hangs_together() {
        let mask = discs(&[(30, 30), (58, 28), (100, 30)], 18);
        let set: u32 = mask.data.iter().map(|it| u32::from(*it)).sum();
        let got = components(mask);
        assert_eq!(got.len(), 2, "{got:?}");
        assert_eq!(got.iter().map(|it| it.area).sum::<u32>(), set);
        let mut sides: Vec<_> = got.iter().map(|it| (it.x1, it.x2)).collect();
        sides.sort_unstable();
        assert_eq!(sides, [(12, 77), (82, 119)]);
    }

    #[test]
    fn an_empty_mask_has_no_regions() {
        assert!(
            regions(&Mask {
                width: 3,
                height: 2,
                data: vec![0; 6]
            })
            .is_empty()
        );
        assert_eq!(
            regions(&Mask {
                width: 1,
                height: 1,
                data: vec![1]
            })
            .len(),
            1
        );
    }
}
