//! What charts are drawn with: areas, smooth lines, dots, text in any size and along a vertical axis.

use crate::font;
use crate::image::RgbImage;

pub(super) type Color = [u8; 3];

pub(super) const WHITE: Color = [255; 3];
pub(super) const INK: Color = [38, 42, 48];
pub(super) const MUTED: Color = [110, 116, 124];
pub(super) const GRID: Color = [228, 231, 235];

/// A picture that is drawn on.
pub(super) struct Canvas {
    pub(super) image: RgbImage,
}

/// Which part of a text lies at the given place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self {
            image: RgbImage::filled(width, height, WHITE),
        }
    }

    /// Fills the area from `x`, `y` on; what lies outside of the picture is left away.
    pub(super) fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, color: Color) {
        for y in y..y + height {
            for x in x..x + width {
                self.set(x, y, color);
            }
        }
    }

    fn set(&mut self, x: i32, y: i32, color: Color) {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) {
            self.image.set_pixel(x, y, color);
        }
    }

    /// Lays a colour over a pixel, as much of it as `cover` (0 to 1) says.
    fn blend(&mut self, x: i32, y: i32, color: Color, cover: f64) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if let Some(below) = self.image.pixel(x, y) {
            self.image.set_pixel(x, y, mixed(below, color, cover));
        }
    }

    /// A line of this width with round ends.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, color: Color) {
        let reach = width / 2.0 + 1.0;
        let (low_x, high_x) = (from.0.min(to.0) - reach, from.0.max(to.0) + reach);
        let (low_y, high_y) = (from.1.min(to.1) - reach, from.1.max(to.1) + reach);
        for y in low_y.floor() as i32..=high_y.ceil() as i32 {
            for x in low_x.floor() as i32..=high_x.ceil() as i32 {
                let away = distance((f64::from(x), f64::from(y)), from, to);
                let cover = (width / 2.0 + 0.5 - away).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, color, cover);
                }
            }
        }
    }

    pub(super) fn dot(&mut self, at: (f64, f64), radius: f64, color: Color) {
        self.line(at, at, radius * 2.0, color);
    }

    /// A vertical line of dashes.
    pub(super) fn dashes(&mut self, x: i32, from: i32, to: i32, color: Color) {
        for y in (from..to).filter(|y| (y - from) % 8 < 5) {
            self.set(x, y, color);
        }
    }

    /// Prints a text whose upper edge lies at `y`; each dot of the font is a square of `scale` pixels.
    pub(super) fn text(
        &mut self,
        (x, y): (i32, i32),
        anchor: Anchor,
        scale: u32,
        text: &str,
        color: Color,
    ) {
        let left = x - shift(anchor, text_width(text, scale));
        self.dots(text, scale, |canvas, dx, dy, size| {
            canvas.fill(left + dx, y + dy, size, size, color);
        });
    }

    /// Prints a text that reads from below to above; its upper edge lies at `x`, and `y` is where it is anchored.
    pub(super) fn text_upwards(
        &mut self,
        (x, y): (i32, i32),
        anchor: Anchor,
        scale: u32,
        text: &str,
        color: Color,
    ) {
        let bottom = y + shift(anchor, text_width(text, scale));
        self.dots(text, scale, |canvas, dx, dy, size| {
            canvas.fill(x + dy, bottom - dx - size, size, size, color);
        });
    }

    fn dots(&mut self, text: &str, scale: u32, mut draw: impl FnMut(&mut Self, i32, i32, i32)) {
        for (column, glyph) in (0..).zip(text.chars().map(font::glyph)) {
            for (dx, dy) in font::dots(glyph) {
                let dx = ((column * font::ADVANCE + dx) * scale) as i32;
                draw(self, dx, (dy * scale) as i32, scale as i32);
            }
        }
    }
}

/// The width of a printed text in pixels.
pub(super) fn text_width(text: &str, scale: u32) -> i32 {
    (font::width(text) * scale) as i32
}

pub(super) const fn text_height(scale: u32) -> i32 {
    (font::HEIGHT * scale) as i32
}

/// `share` (0 to 1) of `over`, the rest `below`.
pub(super) fn mixed(below: Color, over: Color, share: f64) -> Color {
    let channel = |it: usize| {
        let (below, over) = (f64::from(below[it]), f64::from(over[it]));
        (below + (over - below) * share.clamp(0.0, 1.0)).round() as u8
    };
    [channel(0), channel(1), channel(2)]
}

const fn shift(anchor: Anchor, width: i32) -> i32 {
    match anchor {
        Anchor::Start => 0,
        Anchor::Middle => width / 2,
        Anchor::End => width,
    }
}

/// From a point to the nearest point of a line between two others.
fn distance(at: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 {
        (((at.0 - from.0) * dx + (at.1 - from.1) * dy) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let (x, y) = (at.0 - from.0 - along * dx, at.1 - from.1 - along * dy);
    (x * x + y * y).sqrt()
}
