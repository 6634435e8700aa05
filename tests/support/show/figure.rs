//! Figures: what is measured, and whether it is enough.

use serde::Serialize;
use serde_json::{Value, json};

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Line<'a> {
    figure: &'a str,
    value: Value,
    unit: &'a str,
    goal: Value,
    ok: bool,
}

/// Prints figures as they come, and counts those that fall short.
#[derive(Debug, Default)]
pub struct Figures {
    n_short: usize,
}

impl Figures {
    pub fn n_short(&self) -> usize {
        self.n_short
    }

    /// A count that must be exactly this one.
    pub fn exactly(&mut self, figure: &str, value: usize, unit: &str, goal: usize) {
        self.print(figure, json!(value), unit, json!(goal), value == goal);
    }

    pub fn at_least(&mut self, figure: &str, value: f64, unit: &str, goal: f64) {
        let said = json!(format!(">= {}", rounded(goal)));
        self.print(figure, rounded(value), unit, said, value >= goal);
    }

    pub fn at_most(&mut self, figure: &str, value: f64, unit: &str, goal: f64) {
        let said = json!(format!("<= {}", rounded(goal)));
        self.print(figure, rounded(value), unit, said, value <= goal);
    }

    /// More than something else that was measured.
    pub fn above(&mut self, figure: &str, value: f64, unit: &str, other: f64) {
        let said = json!(format!("> {}", rounded(other)));
        self.print(figure, rounded(value), unit, said, value > other);
    }

    /// Neither less nor more than these.
    pub fn within(&mut self, figure: &str, value: f64, unit: &str, [least, most]: [f64; 2]) {
        let said = json!(format!("{} to {}", rounded(least), rounded(most)));
        let is_within = (least..=most).contains(&value);
        self.print(figure, rounded(value), unit, said, is_within);
    }

    /// A figure without a goal.
    pub fn told(&mut self, figure: &str, value: f64, unit: &str) {
        self.print(figure, rounded(value), unit, Value::Null, true);
    }

    /// Something that holds or does not.
    pub fn holds(&mut self, figure: &str, value: bool) {
        self.print(figure, json!(value), "", json!(true), value);
    }

    /// What is so, without a goal: a text, a list, yes or no.
    pub fn said(&mut self, figure: &str, value: Value, unit: &str) {
        self.print(figure, value, unit, Value::Null, true);
    }

    #[expect(clippy::print_stdout, reason = "figures are what a show prints")]
    fn print(&mut self, figure: &str, value: Value, unit: &str, goal: Value, ok: bool) {
        self.n_short += usize::from(!ok);
        let line = Line {
            figure,
            value,
            unit,
            goal,
            ok,
        };
        let line = serde_json::to_string(&line).expect("a figure holds nothing that JSON can't");
        println!("{line}");
    }
}

/// Four digits after the point are more than any of these figures is worth; of very small ones, as many more.
fn rounded(value: f64) -> Value {
    let zeros = if value == 0.0 {
        0.0
    } else {
        -value.abs().log10().floor()
    };
    let factor = 10_f64.powf(4.0 + (zeros - 1.0).max(0.0));
    json!((value * factor).round() / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_figures_keep_digits() {
        let shown = [0.98765, 1234.56789, 0.0, 4.0851e-5].map(rounded);
        assert_eq!(
            shown,
            [0.9877, 1234.5679, 0.0, 4.085e-5].map(|it| json!(it))
        );
        assert!(rounded(f64::NAN).is_null());
    }

    #[test]
    fn a_figure_that_falls_short_is_counted() {
        let mut figures = Figures::default();
        figures.exactly("a", 2, "files", 2);
        figures.at_least("b", 0.7, "", 0.69);
        figures.told("c", f64::NAN, "");
        assert_eq!(figures.n_short(), 0);
        figures.exactly("a", 1, "files", 2);
        figures.at_most("d", f64::NAN, "", 1.0);
        assert_eq!(
            figures.n_short(),
            2,
            "what could not be measured is not enough"
        );
    }
}
