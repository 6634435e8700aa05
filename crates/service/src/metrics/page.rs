//! The page that figures are written on, and its text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Histogram;
use super::histogram::EDGES_S;

/// What a figure is: whether it may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process. Its name ends with `_total`.
    Counter,
    /// As it is now.
    Gauge,
}

/// Figures by name, each once. A name is written with its unit at the end: `_seconds`, `_bytes`, `_ratio`.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<&'static str, Family>,
}

/// All figures of one name. One set of labels has one figure: a second one takes its place.
#[derive(Debug)]
pub struct Family {
    kind: &'static str,
    help: &'static str,
    /// By their labels as text.
    samples: BTreeMap<String, f64>,
    /// The same of histograms: lines that are ready, as their order counts.
    histograms: BTreeMap<String, String>,
}

impl Page {
    /// The figures of a name, with one sentence for people. The first sentence of a name stays.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Family {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.of_kind(name, kind, help)
    }

    /// One histogram of durations; `name` ends with `_seconds`.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        histogram: &Histogram,
    ) {
        let (up_to, n, sum_s) = histogram.read();
        let mut lines = String::new();
        let mut bucket = |edge: &str, n: u64| {
            let mut labels = labels.to_vec();
            labels.push(("le", edge));
            let labels = labels_text(&labels);
            writeln!(lines, "{name}_bucket{labels} {n}").expect("a string takes all text");
        };
        for (edge, n) in EDGES_S.iter().zip(up_to) {
            bucket(&edge.to_string(), n);
        }
        bucket("+Inf", n);
        let labels = labels_text(labels);
        writeln!(lines, "{name}_sum{labels} {sum_s}").expect("a string takes all text");
        writeln!(lines, "{name}_count{labels} {n}").expect("a string takes all text");
        let family = self.of_kind(name, "histogram", help);
        family.histograms.insert(labels, lines);
    }

    fn of_kind(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
    ) -> &mut Family {
        self.families.entry(name).or_insert_with(|| Family {
            kind,
            help,
            samples: BTreeMap::new(),
            histograms: BTreeMap::new(),
        })
    }

    /// The text, in the order of the names. A name without a figure is left out.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            if family.samples.is_empty() && family.histograms.is_empty() {
                continue;
            }
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            let kind = family.kind;
            write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")
                .expect("a string takes all text");
            for (labels, value) in &family.samples {
                let value = number(*value);
                writeln!(text, "{name}{labels} {value}").expect("a string takes all text");
            }
            family
                .histograms
                .values()
                .for_each(|lines| text.push_str(lines));
        }
        text
    }
}

impl Family {
    /// One figure. `labels` tell it from others of its name; their values come from a small set, never from names that
    /// people make up without end.
    pub fn set(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.samples.insert(labels_text(labels), value);
        self
    }

    /// As [`set`](Self::set), for what is counted.
    pub fn count(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.set(labels, value as f64)
    }
}

/// `{queue="uploads",state="visible"}`, or nothing.
fn labels_text(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    #[test]
    fn the_text_is_what_collectors_read() {
        let mut page = Page::default();
        page.family("x_units", Kind::Gauge, "Units, by class.")
            .count(&[("class", "gpu")], 3)
            .count(&[("class", "a\"b\\c\nd")], 1);
        page.family("x_never_total", Kind::Counter, "Left out.");
        page.family("x_age_seconds", Kind::Gauge, "Age.")
            .set(&[], 0.5);
        page.family("x_units", Kind::Gauge, "Again.")
            .count(&[("class", "gpu")], 4);
        expect![[r#"
            # HELP x_age_seconds Age.
            # TYPE x_age_seconds gauge
            x_age_seconds 0.5
            # HELP x_units Units, by class.
            # TYPE x_units gauge
            x_units{class="a\"b\\c\nd"} 1
            x_units{class="gpu"} 4
        "#]]
        .assert_eq(&page.to_text());
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_all() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_millis(7));
        histogram.add(Duration::from_mins(1));
        let mut page = Page::default();
        page.histogram("x_seconds", "Time.", &[("route", "/a")], &histogram);
        let text = page.to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "# TYPE x_seconds histogram");
        assert_eq!(lines[3], r#"x_seconds_bucket{route="/a",le="0.005"} 0"#);
        assert_eq!(lines[4], r#"x_seconds_bucket{route="/a",le="0.01"} 1"#);
        assert_eq!(
            lines[lines.len() - 3..],
            [
                r#"x_seconds_bucket{route="/a",le="+Inf"} 2"#,
                r#"x_seconds_sum{route="/a"} 60.007"#,
                r#"x_seconds_count{route="/a"} 2"#
            ]
        );
    }
}
