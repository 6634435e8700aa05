//! Which boxes are cut, and what they show: points and detections in, cuts out. Pure.

use std::collections::{HashMap, HashSet};

use cellmill_core::boxes::{BBox, DEFAULT_CROP_SIZE, square_crop};
use cellmill_core::job::DataParameters;
use cellmill_core::matching::{Pair, match_boxes, match_points};
use cellmill_core::snapshot::{InputImage, Point};

use super::finder::Found;

/// One row of the list of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The square to cut.
    pub crop: BBox,
    /// The cell itself.
    pub kernel: BBox,
    /// What the cell is.
    pub class: u32,
    /// An earlier cut is the same: this one is a row without a picture of its own (decision 18).
    pub duplicate: bool,
}

/// Type 0: each detection is a cell that nobody named yet, unless the detector did.
pub fn by_detections(image: &InputImage, found: &[Found], size: u32) -> Vec<Cut> {
    marked(
        found
            .iter()
            .map(|it| around_detection(image, it.bbox, it.class, size)),
    )
}

/// Type 1: each point is a cell of its class.
///
/// The kernel is the doctor's box where there is one, else the box of `size` around the point; either as far
/// as it lies in the image. A point of which nothing lies in the image gives no cut.
pub fn by_points(image: &InputImage, size: u32) -> Vec<Cut> {
    let mut firsts = HashMap::new();
    let cuts = image.points.iter().filter_map(|point| {
        let place = (point.x, point.y, point.class);
        match firsts.get(&place) {
            // It repeats an earlier row, whose box counts for both.
            Some(&first) if point.duplicate => Some(first),
            _ => {
                let cut = around_point(image, point, size)?;
                firsts.entry(place).or_insert(cut);
                Some(cut)
            }
        }
    });
    marked(cuts)
}

/// Type 2: detections that a point confirms, with the doctor's class (decision 5). Rows that repeat another
/// take no part, as no two points share a detection.
pub fn by_both(image: &InputImage, found: &[Found], parameters: &DataParameters) -> Vec<Cut> {
    let found: Vec<BBox> = found.iter().map(|it| it.bbox).collect();
    let points: Vec<&Point> = image.points.iter().filter(|it| !it.duplicate).collect();
    let cut = |pair: &Pair| {
        around_detection(
            image,
            found[pair.found],
            points[pair.point].class,
            parameters.size,
        )
    };
    marked(pairs(image, &points, &found, parameters).iter().map(cut))
}

/// Type 3: the whole image, when its label gives it a class.
pub fn by_image(image: &InputImage) -> Option<Cut> {
    let whole = BBox::new(0, 0, image.w, image.h);
    image.image_class.map(|class| Cut {
        crop: whole,
        kernel: whole,
        class,
        duplicate: false,
    })
}

fn pairs(
    image: &InputImage,
    points: &[&Point],
    found: &[BBox],
    parameters: &DataParameters,
) -> Vec<Pair> {
    let Some(iou) = parameters.match_iou else {
        let centers: Vec<(u32, u32)> = points.iter().map(|it| (it.x, it.y)).collect();
        return match_points(&centers, found, parameters.match_radius);
    };
    // A point outside of the image keeps its place in the list as a box that touches nothing.
    let nowhere = BBox::new(0, 0, 0, 0);
    let kernel = |point: &&Point| kernel_of(image, point, parameters.size).unwrap_or(nowhere);
    let truth: Vec<BBox> = points.iter().map(kernel).collect();
    match_boxes(&truth, found, iou)
}

fn around_detection(image: &InputImage, found: BBox, class: u32, size: u32) -> Cut {
    let (x, y) = found.center();
    Cut {
        crop: square_crop(x, y, size, image.w, image.h),
        kernel: found,
        class,
        duplicate: false,
    }
}

fn around_point(image: &InputImage, point: &Point, size: u32) -> Option<Cut> {
    Some(Cut {
        crop: square_crop(
            f64::from(point.x),
            f64::from(point.y),
            size,
            image.w,
            image.h,
        ),
        kernel: kernel_of(image, point, size)?,
        class: point.class,
        duplicate: false,
    })
}

fn kernel_of(image: &InputImage, point: &Point, size: u32) -> Option<BBox> {
    let clamped = |[x1, y1, x2, y2]: [i64; 4]| BBox::clamped(x1, y1, x2, y2, image.w, image.h);
    let given = point
        .bbox
        .map(|it| [it.x1, it.y1, it.x2, it.y2].map(i64::from));
    let around = given.and_then(clamped).or_else(|| {
        let size = i64::from(if size == 0 { DEFAULT_CROP_SIZE } else { size });
        // As a crop, but not shifted: floor(centre - size / 2), then `size` wide.
        let low = |center: u32| (2 * i64::from(center) - size).div_euclid(2);
        let (x1, y1) = (low(point.x), low(point.y));
        clamped([x1, y1, x1 + size, y1 + size])
    });
    // A box of one pixel at the border may miss the image by half of it: then the pixel of the point.
    let pixel = || clamped([point.x, point.y, point.x + 1, point.y + 1].map(i64::from));
    around.or_else(pixel)
}

/// Marks every cut that has the same boxes and class as an earlier one: it would have the same name.
fn marked(cuts: impl Iterator<Item = Cut>) -> Vec<Cut> {
    let mut seen = HashSet::new();
    cuts.map(|cut| Cut {
        duplicate: !seen.insert(cut),
        ..cut
    })
    .collect()
}
