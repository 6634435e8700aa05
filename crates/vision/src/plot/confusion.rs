//! The confusion matrix as a picture.

use cellmill_core::metrics::Confusion;

use super::canvas::{Anchor, Canvas, Color, INK, MUTED, WHITE, mixed, text_height, text_width};
use crate::image::RgbImage;

const FULL: Color = [0, 92, 158];
const EMPTY: Color = [246, 248, 250];
/// From this share on, white letters are easier to read.
const DARK: f64 = 0.55;
/// A name longer than this is cut.
const MAX_NAME: usize = 22;
/// More classes than this get small cells with small letters, so that the picture stays below 2,000 pixels.
const MANY: usize = 14;
const FEW: usize = 6;
/// Wider cells than this would look empty.
const WIDEST: i32 = 150;
const GAP: i32 = 2;
const MARGIN: i32 = 24;

/// Draws counts and the share of each row; rows are the truth. `names` are those of the classes in their order: what
/// is missing is named by its place.
pub fn confusion(title: &str, names: &[String], counts: &Confusion) -> RgbImage {
    let n = counts.n_classes();
    let names: Vec<String> = (0..n)
        .map(|it| shortened(names.get(it).map_or(it.to_string().as_str(), |it| it)))
        .collect();
    let layout = Layout::of(title, &names, counts);
    let mut canvas = Canvas::new(layout.width as u32, layout.height as u32);
    let start = (MARGIN, MARGIN);
    canvas.text(start, Anchor::Start, 2, title, INK);
    layout.titles(&mut canvas);
    for (at, name) in names.iter().enumerate() {
        layout.names(&mut canvas, at, name);
    }
    for truth in 0..n {
        for predicted in 0..n {
            layout.cell(&mut canvas, counts, truth, predicted);
        }
    }
    canvas.image
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    let kept: String = name.chars().take(MAX_NAME - 2).collect();
    format!("{kept}..")
}

/// Where everything is.
struct Layout {
    width: i32,
    height: i32,
    /// Upper left corner of the cells, and the side of one.
    left: i32,
    top: i32,
    side: i32,
    n: i32,
    /// Size of the letters of counts and names.
    scale: u32,
    /// Names of columns do not fit side by side: they stand upright.
    is_upright: bool,
}

impl Layout {
    fn of(title: &str, names: &[String], counts: &Confusion) -> Self {
        let scale = if names.len() > MANY { 1 } else { 2 };
        let cells = (0..counts.n_classes()).flat_map(|it| counts.row(it));
        let largest = cells.max().map_or(1, |it| it.to_string().len());
        let widest_count = text_width(&"0".repeat(largest), scale);
        let widest_name = names.iter().map(|it| text_width(it, scale)).max();
        let widest_name = widest_name.unwrap_or(0);
        let smallest = if scale == 1 { 44 } else { 84 };
        let side = smallest.max(widest_count + 16);
        // A few classes get cells wide enough for their names.
        let beside = if names.len() <= FEW {
            widest_name + 16
        } else {
            0
        };
        let side = if beside <= WIDEST {
            side.max(beside)
        } else {
            side
        };
        let is_upright = widest_name > side - 8;
        let n = names.len() as i32;
        let left = MARGIN + text_height(2) + 16 + widest_name + 10;
        let top = MARGIN + text_height(2) + 24;
        let below = if is_upright {
            widest_name
        } else {
            text_height(scale)
        };
        let width = (left + n * side).max(MARGIN + text_width(title, 2)) + MARGIN;
        let height = top + n * side + 10 + below + 16 + text_height(2) + MARGIN;
        Self {
            width,
            height,
            left,
            top,
            side,
            n,
            scale,
            is_upright,
        }
    }

    fn titles(&self, canvas: &mut Canvas) {
        let half = self.n * self.side / 2;
        let at = (MARGIN, self.top + half);
        canvas.text_upwards(at, Anchor::Middle, 2, "truth", MUTED);
        let at = (self.left + half, self.height - MARGIN - text_height(2));
        canvas.text(at, Anchor::Middle, 2, "predicted", MUTED);
    }

    fn names(&self, canvas: &mut Canvas, at: usize, name: &str) {
        let middle = at as i32 * self.side + self.side / 2;
        let half = text_height(self.scale) / 2;
        let row = (self.left - 10, self.top + middle - half);
        canvas.text(row, Anchor::End, self.scale, name, INK);
        let below = self.top + self.n * self.side + 10;
        if self.is_upright {
            let column = (self.left + middle - half, below);
            canvas.text_upwards(column, Anchor::End, self.scale, name, INK);
        } else {
            let column = (self.left + middle, below);
            canvas.text(column, Anchor::Middle, self.scale, name, INK);
        }
    }

    fn cell(&self, canvas: &mut Canvas, counts: &Confusion, truth: usize, predicted: usize) {
        let count = counts.get(truth, predicted);
        let total: u64 = counts.row(truth).iter().sum();
        let share = if total == 0 {
            0.0
        } else {
            count as f64 / total as f64
        };
        let (x, y) = (
            self.left + predicted as i32 * self.side,
            self.top + truth as i32 * self.side,
        );
        let side = self.side - GAP;
        let color = if count == 0 {
            EMPTY
        } else {
            // Even a single cell of thousands differs from none.
            mixed([222, 235, 247], FULL, share)
        };
        canvas.fill(x, y, side, side, color);
        let ink = match (count, share > DARK) {
            (0, _) => [170, 176, 184],
            (_, true) => WHITE,
            (_, false) => INK,
        };
        let (line, gap) = (text_height(self.scale), 8);
        let small = text_height(1);
        let top = y + (side - line - gap - small) / 2;
        let middle = x + side / 2;
        let number = count.to_string();
        canvas.text((middle, top), Anchor::Middle, self.scale, &number, ink);
        if total > 0 {
            let percent = format!("{:.1}%", share * 100.0);
            let at = (middle, top + line + gap);
            canvas.text(at, Anchor::Middle, 1, &percent, ink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[&[u64]]) -> Confusion {
        let rows: Vec<Vec<u64>> = rows.iter().map(|it| it.to_vec()).collect();
        Confusion::try_from(rows).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn a_full_row_is_dark_and_an_empty_cell_is_pale() {
        let image = confusion(
            "test: 7 cells",
            &names(&["RBC", "WBC"]),
            &counts(&[&[7, 0], &[0, 0]]),
        );
        let count = |color: Color| image.data.chunks_exact(3).filter(|it| *it == color).count();
        assert!(count(FULL) > 5000 && count(EMPTY) > 15_000);
        let again = confusion(
            "test: 7 cells",
            &names(&["RBC", "WBC"]),
            &counts(&[&[7, 0], &[0, 0]]),
        );
        assert_eq!(image, again);
    }

    #[test]
    fn any_number_of_classes_and_any_name_fit() {
        let long = "a class whose name says far too much about it".to_owned();
        for n in [0, 1, 2, 9, 40] {
            let rows = vec![vec![1_234_567; n]; n];
            let made = Confusion::try_from(rows).unwrap();
            let image = confusion("t", &vec![long.clone(); n], &made);
            assert!(image.is_consistent() && image.width < 4000, "{n}");
        }
        assert!(confusion("t", &[], &counts(&[&[1, 2], &[3, 4]])).is_consistent());
    }
}
