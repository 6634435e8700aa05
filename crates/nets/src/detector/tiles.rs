//! Large fields in tiles.

use crate::models::MULTIPLE;

/// A part of a field, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// How a field is cut: tiles overlap, and each answers for the cells whose centres lie in its own part, so no cell is
/// cut by a border and none is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Width and height of a tile in pixels.
    pub side: usize,
    /// What neighbours share, in pixels: the largest cell and what surrounds it.
    pub overlap: usize,
}

impl Default for Tiles {
    fn default() -> Self {
        Self {
            side: 1024,
            overlap: 192,
        }
    }
}

/// A tile: what the network sees, and where its own cells lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tile {
    pub(crate) shown: Region,
    /// `[x1, y1, x2, y2]`, the last two exclusive; infinite at the field's border.
    pub(super) own: [f32; 4],
}

impl Tiles {
    /// All tiles of a field, row after row.
    pub(crate) fn of(&self, width: usize, height: usize) -> Vec<Tile> {
        let (columns, rows) = (self.cut(width), self.cut(height));
        let tile = |&(y, own_y): &(Span, [f32; 2]), &(x, own_x): &(Span, [f32; 2])| Tile {
            shown: Region {
                x: x.begin,
                y: y.begin,
                width: x.length,
                height: y.length,
            },
            own: [own_x[0], own_y[0], own_x[1], own_y[1]],
        };
        rows.iter()
            .flat_map(|row| columns.iter().map(move |column| tile(row, column)))
            .collect()
    }

    /// One direction: what each tile shows, and from where to where its own part goes.
    fn cut(&self, length: usize) -> Vec<(Span, [f32; 2])> {
        let side = self.side.max(2 * MULTIPLE);
        let step = side - self.overlap.min(side - MULTIPLE);
        let n = length.saturating_sub(side).div_ceil(step) + 1;
        let begin = |at: usize| {
            if n == 1 {
                0
            } else {
                // Evenly, the last one at the end.
                at * (length - side) / (n - 1)
            }
        };
        // The middle of what two neighbours share.
        let border = |at: usize| (begin(at) + begin(at - 1) + side) as f32 / 2.0;
        (0..n)
            .map(|at| {
                let span = Span {
                    begin: begin(at),
                    length: side.min(length),
                };
                let from = if at == 0 {
                    f32::NEG_INFINITY
                } else {
                    border(at)
                };
                let to = if at + 1 == n {
                    f32::INFINITY
                } else {
                    border(at + 1)
                };
                (span, [from, to])
            })
            .collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    begin: usize,
    length: usize,
}

impl Tile {
    /// Whether a box of the field is this tile's to tell.
    pub(super) fn owns(&self, [x1, y1, x2, y2]: &[f32; 4]) -> bool {
        let (x, y) = (f32::midpoint(*x1, *x2), f32::midpoint(*y1, *y2));
        let [left, top, right, bottom] = self.own;
        (left..right).contains(&x) && (top..bottom).contains(&y)
    }

    /// The pixels of the field whose upper left corners are this tile's to tell.
    pub(crate) fn own_pixels(&self) -> Region {
        let Region {
            x,
            y,
            width,
            height,
        } = self.shown;
        let within = |from: f32, to: f32, begin: usize, length: usize| {
            let place = |it: f32| (it.ceil() as usize).clamp(begin, begin + length);
            let (from, to) = (place(from), place(to));
            (from, to - from)
        };
        let [left, top, right, bottom] = self.own;
        let (x, width) = within(left, right, x, width);
        let (y, height) = within(top, bottom, y, height);
        Region {
            x,
            y,
            width,
            height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_one_owner_that_shows_its_surroundings() {
        let tiles = Tiles {
            side: 128,
            overlap: 40,
        };
        for (width, height) in [(1, 1), (128, 100), (129, 300), (1000, 77), (500, 500)] {
            let all = tiles.of(width, height);
            for x in (0..width).step_by(7) {
                for y in (0..height).step_by(5) {
                    let place = [x as f32, y as f32, x as f32 + 1.0, y as f32 + 1.0];
                    let owners: Vec<&Tile> = all.iter().filter(|it| it.owns(&place)).collect();
                    assert_eq!(owners.len(), 1, "{x} {y} of {width} x {height}");
                    let Region {
                        x: left,
                        y: top,
                        width: w,
                        height: h,
                    } = owners[0].shown;
                    assert!(left + w <= width && top + h <= height);
                    // Half of what is shared lies around, or the field ends.
                    assert!(left == 0 || left + 19 <= x);
                    assert!(left + w == width || x + 18 <= left + w);
                    assert!(top == 0 || top + 19 <= y);
                    assert!(top + h == height || y + 18 <= top + h);
                }
            }
            let mut owners = vec![0; width * height];
            for own in all.iter().map(Tile::own_pixels) {
                for y in own.y..own.y + own.height {
                    let row = &mut owners[y * width + own.x..][..own.width];
                    for it in row {
                        *it += 1;
                    }
                }
            }
            assert!(owners.iter().all(|it| *it == 1));
        }
    }
}
