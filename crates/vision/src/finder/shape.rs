//! Black-and-white shapes: growing, shrinking, filling.

/// A mask of 0 and 1, rows without padding.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

impl Mask {
    /// Grows by one pixel in all eight directions.
    pub(super) fn dilate(&mut self) {
        self.spread(|a, b, c| a | b | c, 0);
    }

    /// Shrinks by one pixel in all eight directions; the outside of the image counts as set,
    /// so that cells cut by the edge stay cut there.
    pub(super) fn erode(&mut self) {
        self.spread(|a, b, c| a & b & c, 1);
    }

    /// Removes what is thinner than `2 * radius + 1` pixels.
    pub(super) fn open(&mut self, radius: u32) {
        for _ in 0..radius {
            self.erode();
        }
        for _ in 0..radius {
            self.dilate();
        }
    }

    fn spread(&mut self, join: impl Fn(u8, u8, u8) -> u8, outside: u8) {
        let width = self.width;
        let mut padded = vec![outside; width + 2];
        for row in self.data.chunks_exact_mut(width) {
            padded[1..=width].copy_from_slice(row);
            for (out, taps) in row.iter_mut().zip(padded.windows(3)) {
                *out = join(taps[0], taps[1], taps[2]);
            }
        }
        let mut above = vec![outside; width];
        let mut here = self.data[..width].to_vec();
        let ground = vec![outside; width];
        for y in 0..self.height {
            let (head, tail) = self.data.split_at_mut((y + 1) * width);
            let below = tail.get(..width).unwrap_or(&ground);
            let out = &mut head[y * width..];
            for (x, out) in out.iter_mut().enumerate() {
                *out = join(above[x], here[x], below[x]);
            }
            std::mem::swap(&mut above, &mut here);
            here.copy_from_slice(below);
        }
    }

    /// Sets every enclosed hole of at most `max_area` pixels. What touches the edge of
    /// the image is no hole.
    pub(super) fn fill_holes(&mut self, max_area: usize) {
        const BLANK: u8 = 0;
        const SEEN: u8 = 2;
        let mut hole = Vec::new();
        for seed in 0..self.data.len() {
            if self.data[seed] != BLANK {
                continue;
            }
            hole.clear();
            hole.push(seed as u32);
            self.data[seed] = SEEN;
            let mut is_enclosed = true;
            let mut done = 0;
            while let Some(&at) = hole.get(done) {
                done += 1;
                let at = at as usize;
                let (x, y) = (at % self.width, at / self.width);
                is_enclosed &= x > 0 && y > 0 && x + 1 < self.width && y + 1 < self.height;
                let neighbours = [
                    (x > 0).then(|| at - 1),
                    (x + 1 < self.width).then(|| at + 1),
                    (y > 0).then(|| at - self.width),
                    (y + 1 < self.height).then(|| at + self.width),
                ];
                for next in neighbours.into_iter().flatten() {
                    if self.data[next] == BLANK {
                        self.data[next] = SEEN;
                        hole.push(next as u32);
                    }
                }
            }
            if is_enclosed && hole.len() <= max_area {
                for &at in &hole {
                    self.data[at as usize] = 1;
                }
            }
        }
        for value in &mut self.data {
            *value &= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let data = rows
            .iter()
            .flat_map(|row| row.bytes().map(|it| u8::from(it == b'#')))
            .collect();
        Mask {
            width: rows[0].len(),
            height: rows.len(),
            data,
        }
    }

    fn text(mask: &Mask) -> Vec<String> {
        mask.data
            .chunks_exact(mask.width)
            .map(|row| {
                row.iter()
                    .map(|it| if *it == 1 { '#' } else { '.' })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn holes_are_filled_and_bays_are_not() {
        let mut ring = mask(&["..###.", ".#..#.", ".#..#.", "..###.", ".#..#.", ".#.##."]);
        ring.fill_holes(10);
        assert_eq!(
            text(&ring),
            ["..###.", ".####.", ".####.", "..###.", ".#..#.", ".#.##."]
        );
        let mut large = mask(&["####", "#..#", "####"]);
        large.fill_holes(1);
        assert_eq!(text(&large), ["####", "#..#", "####"]);
    }

    #[test]
    fn opening_removes_threads_and_keeps_blocks() {
        let mut shape = mask(&[
            ".......", "#######", ".......", ".###...", ".###...", ".###...", ".......",
        ]);
        shape.open(1);
        assert_eq!(
            text(&shape),
            [
                ".......", ".......", ".......", ".###...", ".###...", ".###...", "......."
            ]
        );
    }
}
