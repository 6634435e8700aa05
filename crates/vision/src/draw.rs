//! Pictures for people: boxes with labels on an image, sheets of cells.

use cellmill_core::boxes::BBox;

use crate::font;
use crate::image::RgbImage;
use crate::thumbnail::resize_to_fit;

/// Colours that stay apart on pink and violet stains, and for most colour-blind eyes
/// (Okabe and Ito 2008, without its yellow and black).
const PALETTE: [[u8; 3]; 6] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
];

const FRAME: u32 = 2;
const GAP: u32 = 4;
const SHEET_COLOR: [u8; 3] = [32, 32, 32];
const WHITE: [u8; 3] = [255; 3];

/// A box to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub bbox: BBox,
    pub color: [u8; 3],
    /// Printed on a band above the box, or inside where there is no room; may be empty.
    pub label: String,
}

/// The colour of a class, the same in every picture.
pub const fn class_color(class: u32) -> [u8; 3] {
    PALETTE[class as usize % PALETTE.len()]
}

/// Draws frames of two pixels and labels; what reaches out of the image is left away.
pub fn draw_marks(image: &mut RgbImage, marks: &[Mark]) {
    for mark in marks {
        frame(image, mark.bbox, mark.color);
    }
    // Labels last, so that no frame crosses a text.
    for mark in marks.iter().filter(|it| !it.label.is_empty()) {
        label(image, mark);
    }
}

fn frame(image: &mut RgbImage, bbox: BBox, color: [u8; 3]) {
    let BBox { x1, y1, x2, y2 } = bbox;
    let (inner_x, inner_y) = (
        x2.saturating_sub(FRAME).max(x1),
        y2.saturating_sub(FRAME).max(y1),
    );
    fill(image, BBox::new(x1, y1, x2, y2.min(y1 + FRAME)), color);
    fill(image, BBox::new(x1, inner_y, x2, y2), color);
    fill(image, BBox::new(x1, y1, x2.min(x1 + FRAME), y2), color);
    fill(image, BBox::new(inner_x, y1, x2, y2), color);
}

fn label(image: &mut RgbImage, mark: &Mark) {
    let (width, height) = (font::width(&mark.label) + 2, font::HEIGHT + 2);
    let x = mark.bbox.x1.min(image.width.saturating_sub(width));
    let y = mark
        .bbox
        .y1
        .checked_sub(height)
        .unwrap_or(mark.bbox.y1 + FRAME);
    fill(image, BBox::new(x, y, x + width, y + height), mark.color);
    text(image, x + 1, y + 1, &mark.label, WHITE);
}

fn fill(image: &mut RgbImage, area: BBox, color: [u8; 3]) {
    for y in area.y1..area.y2.min(image.height) {
        for x in area.x1..area.x2.min(image.width) {
            image.set_pixel(x, y, color);
        }
    }
}

/// Prints a text with its top left corner at `x`, `y`, seven pixels high. Small letters
/// are printed as capitals; what the font has not is printed as a filled box.
pub fn text(image: &mut RgbImage, x: u32, y: u32, text: &str, color: [u8; 3]) {
    for (column, glyph) in (0..).zip(text.chars().map(font::glyph)) {
        for (dx, dy) in font::dots(glyph) {
            image.set_pixel(x + column * font::ADVANCE + dx, y + dy, color);
        }
    }
}

/// Words with their colours, in a strip below the picture that is as wide as the picture.
///
/// They grow with the picture, so that they can still be read when it is shown smaller, and go on in a new line where
/// one is full.
pub fn with_legend(image: &RgbImage, entries: &[([u8; 3], String)]) -> RgbImage {
    let scale = (image.width / LEGEND_WIDTH).max(1);
    let (line, gap) = (scale * (font::HEIGHT + GAP), scale * GAP);
    let swatch = scale * font::HEIGHT;
    let mut places = Vec::with_capacity(entries.len());
    let (mut x, mut y) = (gap, image.height + gap);
    for (_, words) in entries {
        let width = swatch + gap + scale * font::width(words);
        if x > gap && x + width > image.width {
            (x, y) = (gap, y + line);
        }
        places.push((x, y));
        x += width + 4 * gap;
    }
    let mut out = RgbImage::filled(image.width, y + line, SHEET_COLOR);
    paste(&mut out, image, 0, 0);
    for (&(x, y), (color, words)) in places.iter().zip(entries) {
        // Framed, so that a dark colour is seen on the dark strip.
        let frame = BBox::new(x - scale, y - scale, x + swatch + scale, y + swatch + scale);
        fill(&mut out, frame, WHITE);
        fill(&mut out, BBox::new(x, y, x + swatch, y + swatch), *color);
        scaled_text(&mut out, x + swatch + gap, y, words, scale);
    }
    out
}

/// A legend's letters are as small as can be up to twice this width of a picture.
const LEGEND_WIDTH: u32 = 640;

fn scaled_text(image: &mut RgbImage, x: u32, y: u32, text: &str, scale: u32) {
    for (column, glyph) in (0..).zip(text.chars().map(font::glyph)) {
        for (dx, dy) in font::dots(glyph) {
            let (x, y) = (x + (column * font::ADVANCE + dx) * scale, y + dy * scale);
            fill(image, BBox::new(x, y, x + scale, y + scale), WHITE);
        }
    }
}

/// Cells side by side in rows of `columns`, each with its caption below.
///
/// Cells larger than `side` are made smaller, all are centred in their square. The sheet
/// of no cells is one empty square.
pub fn contact_sheet(cells: &[(RgbImage, String)], columns: u32, side: u32) -> RgbImage {
    let (columns, side) = (columns.max(1), side.max(1));
    let columns = columns.min(cells.len().max(1) as u32);
    let rows = (cells.len() as u32).div_ceil(columns).max(1);
    let (step_x, step_y) = (side + GAP, side + font::HEIGHT + 2 + GAP);
    let mut sheet = RgbImage::filled(columns * step_x + GAP, rows * step_y + GAP, SHEET_COLOR);
    for (idx, (cell, caption)) in (0..).zip(cells) {
        let (left, top) = (GAP + idx % columns * step_x, GAP + idx / columns * step_y);
        let cell = resize_to_fit(cell, side);
        paste(
            &mut sheet,
            &cell,
            left + (side - cell.width) / 2,
            top + (side - cell.height) / 2,
        );
        let n_chars = (side / font::ADVANCE) as usize;
        let caption: String = caption.chars().take(n_chars).collect();
        text(&mut sheet, left, top + side + 2, &caption, WHITE);
    }
    sheet
}

/// Copies an image into another; the part that reaches out is left away.
fn paste(target: &mut RgbImage, image: &RgbImage, left: u32, top: u32) {
    let width = image.width.min(target.width.saturating_sub(left)) as usize * 3;
    if width == 0 {
        return;
    }
    let target_row = target.width as usize * 3;
    let rows = target.data.chunks_exact_mut(target_row).skip(top as usize);
    for (to, from) in rows.zip(image.data.chunks_exact(image.width as usize * 3)) {
        to[left as usize * 3..][..width].copy_from_slice(&from[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_two_pixels_wide_inside_its_box() {
        let mut image = RgbImage::new(30, 30);
        let mark = Mark {
            bbox: BBox::new(5, 5, 20, 20),
            color: WHITE,
            label: String::new(),
        };
        draw_marks(&mut image, &[mark]);
        let white = image
            .data
            .as_chunks::<3>()
            .0
            .iter()
            .filter(|it| **it == WHITE)
            .count();
        assert_eq!(white, 15 * 15 - 11 * 11);
        assert_eq!(image.pixel(4, 10), Some([0; 3]));
        assert_eq!(image.pixel(6, 10), Some(WHITE));
        assert_eq!(image.pixel(19, 19), Some(WHITE));
    }

    #[test]
    fn marks_at_the_edge_and_beyond_do_no_harm() {
        let mut image = RgbImage::new(8, 8);
        for bbox in [
            BBox::new(0, 0, 8, 8),
            BBox::new(6, 6, 40, 40),
            BBox::new(90, 90, 99, 99),
            BBox::new(3, 3, 4, 4),
        ] {
            draw_marks(
                &mut image,
                &[Mark {
                    bbox,
                    color: class_color(3),
                    label: "RBC 0.97".to_owned(),
                }],
            );
        }
        assert!(image.is_consistent());
    }

    #[test]
    fn a_legend_stands_below_and_covers_nothing() {
        let image = RgbImage::filled(100, 40, [9; 3]);
        let entry = |words: &str| (class_color(2), words.to_owned());
        let one = with_legend(&image, &[entry("HITS 3")]);
        assert_eq!((one.width, one.height), (100, 40 + 15));
        assert!(one.is_consistent() && one.data[..100 * 40 * 3] == image.data);
        assert_eq!(one.pixel(4, 44), Some(class_color(2)));
        let many = with_legend(&image, &[entry("HITS 3"), entry("FALSE ALARMS")]);
        assert_eq!(many.height, 40 + 15 + 11);
        assert_eq!(
            with_legend(&RgbImage::new(1300, 4), &[entry("A")]).height,
            34
        );
    }

    #[test]
    fn a_sheet_shows_every_cell_once() {
        let cells: Vec<_> = (1..=5)
            .map(|it| (RgbImage::filled(40, 20, [it * 40, 0, 0]), it.to_string()))
            .collect();
        let sheet = contact_sheet(&cells, 3, 20);
        assert_eq!((sheet.width, sheet.height), (3 * 24 + 4, 2 * 33 + 4));
        for (idx, (cell, _)) in (0..).zip(&cells) {
            let (x, y) = (4 + idx % 3 * 24 + 10, 4 + idx / 3 * 33 + 10);
            assert_eq!(sheet.pixel(x, y), cell.pixel(0, 0));
        }
        assert!(contact_sheet(&[], 0, 0).is_consistent());
    }
}
