//! From an image to boxes.

use cellmill_core::boxes::BBox;

use super::canny::{self, Edges};
use super::choice::choose;
use super::nuclei::nucleated;
use super::otsu;
use super::outline::{Outline, directions, outline};
use super::plane::{Plane, Work, histogram, stain};
use super::settings::FinderSettings;
use super::shape::Mask;
use super::split::{Region, distances, split};
use super::votes::{self, EdgePoint};
use crate::image::RgbImage;

/// Two boxes whose centres are this near are one cell (FORMATS A.9).
const SAME_CELL_DISTANCE: u64 = 10;
/// Least difference in stain that counts as a cell: below it are noise and dust.
const MIN_CONTRAST: usize = 12;
/// A filled patch is a cell of its own only when it is this round: a clump is not.
const MIN_PATCH_ROUNDNESS: f64 = 0.6;
/// ... and when it is this much wider than the typical cell: smaller ones vote for themselves.
const MIN_PATCH_WIDTH: f64 = 1.4;
/// ... and when no cell has more than this share in it.
const MAX_CLUMPED: f64 = 0.6;
/// A platelet with this share on a red cell is a mark of that.
const MAX_ON_CELL: f64 = 0.7;
/// No hole of a cell, its pale centre, has more than this share of the typical radius squared.
const MAX_HOLE: f64 = 0.3;

/// A found cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    pub bbox: BBox,
    /// 0 to 1: how strong and round the outline is.
    pub score: f64,
}

/// Finds cells.
///
/// Boxes lie in the image, the best first, equal scores in reading order; no two
/// centres are within ten pixels. A blank image has none.
pub fn find_cells(image: &RgbImage, settings: &FinderSettings) -> Vec<Detection> {
    if image.width == 0 || image.height == 0 {
        return Vec::new();
    }
    let Work {
        mut stain,
        mut blue,
        factor,
    } = stain(image);
    for plane in [Some(&mut stain), blue.as_mut()].into_iter().flatten() {
        for _ in 0..settings.blur_passes {
            plane.blur();
        }
    }
    let (Some(threshold), Some(edges)) = (
        stain_threshold(&stain),
        canny::edges(&stain, settings.low_ratio),
    ) else {
        return Vec::new();
    };
    let field = Field {
        stain,
        blue,
        edges,
        threshold,
    };
    let points = votes::edge_points(&field.stain, &field.edges);
    let found = match votes::typical_radius(&field.stain, &points) {
        Some(typical) => field.cells(&points, typical, settings),
        None => field.patches(None, settings),
    };
    let mut found: Vec<Detection> = found
        .iter()
        .filter_map(|it| detection(it, factor, image))
        .collect();
    found.retain(|it| is_wanted(it, settings));
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| reading_order(&a.bbox).cmp(&reading_order(&b.bbox)))
    });
    drop_doubles(found, settings.max_overlap)
}

/// Otsu's threshold of the stain; `None` for an image without contrast.
fn stain_threshold(stain: &Plane) -> Option<u8> {
    let histogram = histogram(&stain.data);
    let lowest = histogram.iter().position(|it| *it > 0)?;
    let highest = histogram.iter().rposition(|it| *it > 0)?;
    let level = otsu::threshold(&histogram)?;
    (highest - lowest >= MIN_CONTRAST).then_some(level as u8)
}

/// What is known of an image before cells are sought.
struct Field {
    stain: Plane,
    blue: Option<Plane>,
    edges: Edges,
    /// What is above it is stained.
    threshold: u8,
}

impl Field {
    /// Cells about as large as the typical one, what is told apart by its nuclear stain,
    /// and large patches that neither explains.
    fn cells(&self, points: &[EdgePoint], typical: f64, settings: &FinderSettings) -> Vec<Outline> {
        let mut found = self.round_cells(points, typical, settings);
        let mut patches = self.patches(Some(typical), settings);
        // A patch with a cell in it is a clump.
        let is_clump = |it: &Outline| found.iter().any(|cell| cell.share_inside(it) > MAX_CLUMPED);
        patches.retain(|it| !is_clump(it));
        found.extend(patches);
        let Some(blue) = &self.blue else { return found };
        let is_stained = |it: &&u8| **it > self.threshold;
        let n_stained = self.stain.data.iter().filter(is_stained).count();
        let mut nucleated = nucleated(blue, n_stained, typical);
        found.retain(|it| !nucleated.contains(it));
        let is_mark = |it: &Outline| {
            found
                .iter()
                .any(|cell| it.share_inside(cell) >= MAX_ON_CELL)
        };
        nucleated.platelets.retain(|it| !is_mark(it));
        found.extend(nucleated.platelets);
        found.extend(nucleated.cells);
        found
    }

    /// Cells by their outlines, touching and overlapping ones included.
    fn round_cells(
        &self,
        points: &[EdgePoint],
        typical: f64,
        settings: &FinderSettings,
    ) -> Vec<Outline> {
        let rays = directions();
        let (least, overlap) = (settings.min_score, settings.max_overlap);
        let outlines = votes::centers(&self.stain, points, typical)
            .into_iter()
            .filter_map(|it| outline(&self.stain, &self.edges, &rays, it, typical, least))
            .collect();
        choose(&self.stain, outlines, typical, least, overlap)
    }

    /// Cells by their filled area: those much larger than the typical one, which cast no
    /// votes at its radius, or all where no radius is typical.
    fn patches(&self, typical: Option<f64>, settings: &FinderSettings) -> Vec<Outline> {
        let stained = self
            .stain
            .data
            .iter()
            .zip(&self.edges.mask)
            .map(|(it, edge)| u8::from(*it > self.threshold) | edge);
        let mut mask = Mask {
            width: self.stain.width,
            height: self.stain.height,
            data: stained.collect(),
        };
        let max_hole = typical.map_or(0.0, |it| it * it * MAX_HOLE);
        mask.fill_holes(max_hole as usize);
        mask.open(2);
        let min_side = typical.unwrap_or(0.0) * 2.0 * MIN_PATCH_WIDTH;
        let is_cell = |it: &Outline| {
            let area = (it.x2 - it.x1) * (it.y2 - it.y1);
            area >= min_side * min_side && it.score >= MIN_PATCH_ROUNDNESS
        };
        let regions = split(&mask, &distances(&mask), settings.split_depth);
        regions.iter().map(patch).filter(is_cell).collect()
    }
}

/// The share of the ellipse in the box that is filled, less what the box is longer than wide.
fn patch(region: &Region) -> Outline {
    let [x1, y1, x2, y2] = [region.x1, region.y1, region.x2, region.y2].map(f64::from);
    let (width, height) = (x2 - x1, y2 - y1);
    let ellipse = std::f64::consts::FRAC_PI_4 * width * height;
    let fill = (f64::from(region.area) / ellipse).min(1.0);
    Outline {
        x1,
        y1,
        x2,
        y2,
        score: fill * (width.min(height) / width.max(height)),
        hits: Vec::new(),
    }
}

/// The outline as a box of the image; `None` where nothing of it lies inside.
fn detection(outline: &Outline, factor: u32, image: &RgbImage) -> Option<Detection> {
    let scaled = |value: f64| (value * f64::from(factor)).round() as i64;
    let bbox = BBox::clamped(
        scaled(outline.x1),
        scaled(outline.y1),
        scaled(outline.x2),
        scaled(outline.y2),
        image.width,
        image.height,
    )?;
    Some(Detection {
        bbox,
        score: outline.score,
    })
}

fn is_wanted(detection: &Detection, settings: &FinderSettings) -> bool {
    let area = detection.bbox.area();
    detection.score >= settings.min_score
        && area >= u64::from(settings.min_area)
        && (settings.max_area == 0 || area <= u64::from(settings.max_area))
}

const fn reading_order(bbox: &BBox) -> (u32, u32, u32, u32) {
    (bbox.y1, bbox.x1, bbox.y2, bbox.x2)
}

/// Keeps the first of all boxes that overlap or whose whole-numbered centres are within
/// ten pixels.
fn drop_doubles(found: Vec<Detection>, max_overlap: f64) -> Vec<Detection> {
    let center = |it: &Detection| {
        let (x, y) = it.bbox.doubled_center();
        (x / 2, y / 2)
    };
    let mut kept: Vec<Detection> = Vec::with_capacity(found.len());
    for detection in found {
        let (x, y) = center(&detection);
        let is_double = kept.iter().any(|other| {
            let (other_x, other_y) = center(other);
            let (dx, dy) = (x.abs_diff(other_x), y.abs_diff(other_y));
            dx * dx + dy * dy <= SAME_CELL_DISTANCE * SAME_CELL_DISTANCE
                || detection.bbox.iou(&other.bbox) > max_overlap
        });
        if !is_double {
            kept.push(detection);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(width: u32, height: u32, cells: &[(i64, i64, i64)]) -> RgbImage {
        let mut image = RgbImage::filled(width, height, [230, 225, 230]);
        for y in 0..height {
            for x in 0..width {
                let inside = |it: &(i64, i64, i64)| {
                    (i64::from(x) - it.0).pow(2) + (i64::from(y) - it.1).pow(2) <= it.2.pow(2)
                };
                if cells.iter().any(inside) {
                    image.set_pixel(x, y, [190, 110, 130]);
                }
            }
        }
        image
    }

    fn found(image: &RgbImage) -> Vec<BBox> {
        find_cells(image, &FinderSettings::default())
            .iter()
            .map(|it| it.bbox)
            .collect()
    }

    #[test]
    fn single_and_touching_cells_get_their_boxes() {
        let cells = [
            (60, 60, 30),
            (200, 70, 30),
            (255, 70, 30),
            (100, 200, 28),
            (290, 190, 32),
        ];
        let got = found(&field(400, 300, &cells));
        assert_eq!(got.len(), cells.len(), "{got:?}");
        for (x, y, radius) in cells {
            let [x1, y1, x2, y2] =
                [x - radius, y - radius, x + radius + 1, y + radius + 1].map(|it| it as u32);
            let truth = BBox::new(x1, y1, x2, y2);
            assert!(
                got.iter().any(|it| it.iou(&truth) > 0.75),
                "{truth:?} in {got:?}"
            );
        }
    }

    #[test]
    fn blank_images_have_no_cells() {
        for (width, height) in [(1, 1), (3, 2), (1, 500), (640, 480)] {
            assert!(found(&RgbImage::filled(width, height, [220; 3])).is_empty());
            assert!(found(&RgbImage::new(width, height)).is_empty());
        }
    }

    #[test]
    fn noise_and_full_fields_do_no_harm() {
        let mut state = 1_u32;
        let data = (0..300 * 200 * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise = RgbImage {
            width: 300,
            height: 200,
            data: data.collect(),
        };
        assert!(found(&noise).iter().all(|it| it.fits(300, 200)));
        let full = field(300, 200, &[(150, 100, 400)]);
        assert!(found(&full).iter().all(|it| it.fits(300, 200)));
    }

    #[test]
    fn the_same_image_gives_the_same_cells() {
        let image = field(300, 200, &[(60, 60, 30), (150, 90, 25), (240, 130, 28)]);
        let settings = FinderSettings::default();
        assert_eq!(find_cells(&image, &settings), find_cells(&image, &settings));
    }
}
