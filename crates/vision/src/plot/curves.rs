//! How a training went: loss on the left, accuracy on the right, by epoch.

use super::canvas::{Anchor, Canvas, Color, GRID, INK, MUTED, text_height, text_width};
use crate::image::RgbImage;

const BLUE: Color = [0, 114, 178];
const ORANGE: Color = [213, 94, 0];
const GREEN: Color = [0, 130, 96];
const WIDTH: u32 = 1240;
const HEIGHT: u32 = 470;
/// Size of letters: titles and legends, and numbers at the axes.
const LARGE: u32 = 2;
const SMALL: u32 = 2;

/// One epoch of a training. What was not measured is `None`, such as the figures of a validation part that is empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// From 1.
    pub epoch: u32,
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub balanced_accuracy: Option<f64>,
    /// The epoch whose weights were kept.
    pub is_best: bool,
}

/// Draws both panels, 1240 x 470 pixels. Values that are no numbers leave a gap; of several best epochs the last one is
/// marked.
pub fn curves(points: &[CurvePoint]) -> RgbImage {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let of = |get: fn(&CurvePoint) -> Option<f64>| -> Vec<(u32, f64)> {
        let measured = points.iter().filter_map(|it| Some((it.epoch, get(it)?)));
        measured.filter(|(_, value)| value.is_finite()).collect()
    };
    let losses = [
        Series::new("train", BLUE, of(|it| Some(it.train_loss))),
        Series::new("validation", ORANGE, of(|it| it.validation_loss)),
    ];
    let accuracies = [
        Series::new("train", BLUE, of(|it| Some(it.train_accuracy))),
        Series::new("validation", ORANGE, of(|it| it.validation_accuracy)),
        Series::new("balanced", GREEN, of(|it| it.balanced_accuracy)),
    ];
    let epochs = points.iter().map(|it| it.epoch).max().unwrap_or(1).max(1);
    let best = points.iter().rfind(|it| it.is_best).map(|it| it.epoch);
    let highest = highest(&losses).max(1e-3);
    let lowest = (lowest(&accuracies) * 10.0).floor().clamp(0.0, 9.0) / 10.0;
    let half = WIDTH as i32 / 2;
    let panel = |left, range| Panel {
        left: left + 76,
        right: left + half - 24,
        top: 78,
        bottom: HEIGHT as i32 - 66,
        epochs,
        range,
    };
    panel(0, (0.0, highest * 1.05)).draw(&mut canvas, "Loss", &losses, best);
    panel(half, (lowest, 1.0)).draw(&mut canvas, "Accuracy", &accuracies, best);
    canvas.image
}

struct Series {
    name: &'static str,
    color: Color,
    values: Vec<(u32, f64)>,
}

impl Series {
    const fn new(name: &'static str, color: Color, values: Vec<(u32, f64)>) -> Self {
        Self {
            name,
            color,
            values,
        }
    }
}

fn highest(all: &[Series]) -> f64 {
    let values = all.iter().flat_map(|it| &it.values);
    values.fold(0.0, |highest, it| it.1.max(highest))
}

fn lowest(all: &[Series]) -> f64 {
    let values = all.iter().flat_map(|it| &it.values);
    values.fold(1.0, |lowest, it| it.1.min(lowest))
}

/// The area between two axes.
struct Panel {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    epochs: u32,
    range: (f64, f64),
}

impl Panel {
    fn draw(&self, canvas: &mut Canvas, title: &str, all: &[Series], best: Option<u32>) {
        self.axes(canvas);
        let start = (self.left, 20);
        canvas.text(start, Anchor::Start, LARGE, title, INK);
        self.legend(canvas, all);
        if let Some(best) = best {
            let x = self.x(best).round() as i32;
            canvas.dashes(x, self.top, self.bottom, MUTED);
            let label = format!("best: epoch {best}");
            let half = text_width(&label, SMALL) / 2;
            // Kept within the panel, so that it meets nothing of the other one.
            let middle = x.clamp(self.left + half, (self.right - half).max(self.left + half));
            let at = (middle, self.top - text_height(SMALL) - 8);
            canvas.text(at, Anchor::Middle, SMALL, &label, MUTED);
        }
        for series in all {
            self.curve(canvas, series, best);
        }
    }

    fn axes(&self, canvas: &mut Canvas) {
        let step = nice_step(self.range.1 - self.range.0, 6);
        let first = (self.range.0 / step - 1e-9).ceil() as i32;
        let last = (self.range.1 / step + 1e-9).floor() as i32;
        let digits = usize::from(step < 1.0) + usize::from(step < 0.1) + usize::from(step < 0.01);
        let half = text_height(SMALL) / 2;
        for tick in first..=last {
            let value = f64::from(tick) * step;
            let y = self.y(value).round() as i32;
            canvas.fill(self.left, y, self.right - self.left, 1, GRID);
            let at = (self.left - 12, y - half);
            canvas.text(at, Anchor::End, SMALL, &format!("{value:.digits$}"), INK);
        }
        let step = nice_step(f64::from(self.epochs), 10).max(1.0) as u32;
        let label_at = self.bottom + 12;
        let ticks = (1..=self.epochs).filter(|it| it % step == 0 || (*it == 1 && step > 2));
        for epoch in ticks {
            let x = self.x(epoch).round() as i32;
            canvas.fill(x, self.bottom, 1, 6, MUTED);
            canvas.text(
                (x, label_at),
                Anchor::Middle,
                SMALL,
                &epoch.to_string(),
                INK,
            );
        }
        canvas.fill(self.left, self.bottom, self.right - self.left + 1, 1, MUTED);
        canvas.fill(self.left, self.top, 1, self.bottom - self.top, MUTED);
        let middle = (i32::midpoint(self.left, self.right), self.bottom + 38);
        canvas.text(middle, Anchor::Middle, SMALL, "epoch", MUTED);
    }

    fn legend(&self, canvas: &mut Canvas, all: &[Series]) {
        let mut right = self.right;
        for series in all.iter().rev().filter(|it| !it.values.is_empty()) {
            canvas.text((right, 20), Anchor::End, LARGE, series.name, INK);
            let end = right - text_width(series.name, LARGE) - 8;
            let y = 20 + text_height(LARGE) / 2;
            canvas.line(
                (f64::from(end - 20), f64::from(y)),
                (f64::from(end), f64::from(y)),
                4.0,
                series.color,
            );
            right = end - 20 - 22;
        }
    }

    fn curve(&self, canvas: &mut Canvas, series: &Series, best: Option<u32>) {
        let places: Vec<(f64, f64)> = series
            .values
            .iter()
            .map(|&(epoch, value)| (self.x(epoch), self.y(value)))
            .collect();
        for pair in places.windows(2) {
            canvas.line(pair[0], pair[1], 2.5, series.color);
        }
        // A single epoch has no line to be seen.
        if let [only] = places[..] {
            canvas.dot(only, 3.0, series.color);
        }
        let at_best = series.values.iter().position(|it| Some(it.0) == best);
        if let Some(at) = at_best {
            canvas.dot(places[at], 5.0, series.color);
            canvas.dot(places[at], 2.0, [255; 3]);
        }
    }

    fn x(&self, epoch: u32) -> f64 {
        let width = f64::from(self.right - self.left);
        // Half a step of air on both sides.
        f64::from(self.left) + width * (f64::from(epoch) - 0.5) / f64::from(self.epochs)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        f64::from(self.bottom) - part * f64::from(self.bottom - self.top)
    }
}

/// The step among 1, 2, 5 and their tenfolds that gives at most `most` steps.
fn nice_step(range: f64, most: u32) -> f64 {
    let wanted = (range / f64::from(most)).max(1e-6);
    let mut unit = 1e-6;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            // The tolerance takes what is one rounding below for what it is.
            if unit * factor >= wanted * (1.0 - 1e-9) {
                return unit * factor;
            }
        }
        unit *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(epochs: u32) -> Vec<CurvePoint> {
        let point = |epoch: u32| {
            let wave = f64::from(epoch * 37 % 11) / 200.0;
            let left = 1.0 / (1.0 + f64::from(epoch) * 0.4);
            CurvePoint {
                epoch,
                train_loss: 0.2 + 1.2 * left,
                train_accuracy: 1.0 - 0.6 * left,
                validation_loss: Some(0.3 + 1.1 * left + wave),
                validation_accuracy: Some(0.97 - 0.6 * left - wave),
                balanced_accuracy: Some(0.93 - 0.7 * left - wave * 2.0),
                is_best: epoch == epochs * 3 / 4,
            }
        };
        (1..=epochs).map(point).collect()
    }

    #[test]
    fn steps_are_round_numbers() {
        let steps = [0.3, 1.0, 1.47, 20.0, 100.0, 1000.0].map(|it| nice_step(it, 6));
        assert_eq!(
            steps.map(|it| format!("{it:.2}")),
            ["0.05", "0.20", "0.50", "5.00", "20.00", "200.00"]
        );
    }

    #[test]
    fn curves_have_the_colours_of_their_legend() {
        let image = curves(&training(20));
        assert_eq!((image.width, image.height), (WIDTH, HEIGHT));
        for color in [BLUE, ORANGE, GREEN] {
            let n = image.data.chunks_exact(3).filter(|it| *it == color);
            assert!(n.count() > 300, "{color:?}");
        }
        assert_eq!(image, curves(&training(20)), "equal numbers, equal pixels");
    }

    #[test]
    fn trainings_without_epochs_or_with_wild_numbers_do_no_harm() {
        let wild = CurvePoint {
            train_loss: f64::NAN,
            train_accuracy: f64::INFINITY,
            validation_loss: None,
            validation_accuracy: None,
            balanced_accuracy: Some(-3.0),
            ..training(1)[0]
        };
        for points in [vec![], vec![wild], training(1), training(1000)] {
            assert!(curves(&points).is_consistent());
        }
    }
}
