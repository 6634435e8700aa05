//! What is drawn: a pure function of cells and classes.

use std::collections::BTreeMap;

use cellmill_core::boxes::BBox;
use cellmill_vision::draw::{Mark, class_color};

/// A cell to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    /// A box, or a point without one.
    Labelled {
        x: u32,
        y: u32,
        bbox: Option<BBox>,
        class: u32,
    },
    /// A cell of a data set: what was cut, and the cell in it.
    Cut {
        crop: BBox,
        kernel: Option<BBox>,
        class: u32,
    },
}

/// Names and colours by class id.
pub(super) type Classes = BTreeMap<u32, (String, [u8; 3])>;

/// What was cut is drawn in grey, so that the cell in it stands out.
const CROP_COLOUR: [u8; 3] = [120; 3];
/// Half of the side of the square that marks a point without a box.
const POINT_REACH: u32 = 6;

/// The marks of some cells. Crops come first, so that kernels lie over them.
pub(super) fn marks(cells: &[Drawn], classes: &Classes) -> Vec<Mark> {
    let crops = cells.iter().filter_map(|it| match it {
        Drawn::Cut {
            crop,
            kernel: Some(_),
            ..
        } => Some(Mark {
            bbox: *crop,
            color: CROP_COLOUR,
            label: String::new(),
        }),
        _ => None,
    });
    let cells = cells.iter().map(|it| {
        let (bbox, class) = match *it {
            Drawn::Labelled {
                bbox: Some(bbox),
                class,
                ..
            } => (bbox, class),
            Drawn::Labelled { x, y, class, .. } => (around(x, y), class),
            Drawn::Cut {
                crop,
                kernel,
                class,
            } => (kernel.unwrap_or(crop), class),
        };
        let (label, color) = classes
            .get(&class)
            .cloned()
            .unwrap_or_else(|| (class.to_string(), class_color(class)));
        Mark { bbox, color, label }
    });
    crops.chain(cells).collect()
}

fn around(x: u32, y: u32) -> BBox {
    let low = |v: u32| v.saturating_sub(POINT_REACH);
    BBox::new(low(x), low(y), x + POINT_REACH, y + POINT_REACH)
}

/// `#rrggbb` as bytes.
pub(super) fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|it| it.len() == 6)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    let [_, r, g, b] = number.to_be_bytes();
    Some([r, g, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_cell_has_two_boxes_and_a_point_one() {
        let kernel = BBox::new(10, 10, 20, 20);
        let cut = Drawn::Cut {
            crop: BBox::new(0, 0, 100, 100),
            kernel: Some(kernel),
            class: 7,
        };
        let point = Drawn::Labelled {
            x: 3,
            y: 50,
            bbox: None,
            class: 7,
        };
        let classes = Classes::from([(7, ("ASCUS".to_owned(), [1, 2, 3]))]);
        let drawn = marks(&[cut, point], &classes);
        assert_eq!(drawn.len(), 3);
        assert_eq!((drawn[0].color, drawn[0].label.as_str()), (CROP_COLOUR, ""));
        assert_eq!((drawn[1].bbox, drawn[1].color), (kernel, [1, 2, 3]));
        assert_eq!(drawn[2].bbox, BBox::new(0, 44, 9, 56));
    }

    #[test]
    fn colours_are_read_as_tables_write_them() {
        assert_eq!(colour("#ff8000"), Some([255, 128, 0]));
        for bad in ["", "ff8000", "#ff80", "#gggggg"] {
            assert_eq!(colour(bad), None, "{bad}");
        }
    }
}
