//! Trains a detector on fields with boxes, and judges it on cases that were held out.
//!
//! `cargo run --release -p cellmill-nets --example detect -- --data DIR` reads `DIR/index.csv` (`batch`, `case`, `img`,
//! `csv`, `split`) and the CSVs of boxes it names (`x1`, `y1`, `x2`, `y2`, `Label`). `--weights FILE` begins with
//! weights from elsewhere, `--agnostic true` takes all classes as one, `--scale` says how large the network sees the
//! fields, `--network JSON` and `--options JSON` set fields of `Pyramid` and `DenseOptions`. Nothing is chosen on the
//! part that judges. Prints a JSON line every `--every` epochs; `--out FILE` gets the detector.
#![expect(clippy::print_stdout, reason = "an example tells what it measured")]

use cellmill_nets::dense::{DenseOptions, Field, Picture};
use cellmill_nets::detector::{
    CellBox, DetectorTask, DetectorTrainer, FindOptions, LabelledBox, Tiles,
};
use cellmill_nets::models::Pyramid;
use cellmill_nets::{Device, Family, Scale, weights};
use cellmill_vision::{Limits, decode, resize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let it = Arguments::parse(std::env::args().skip(1))?;
    let (train, judged, classes) = it.fields()?;
    let device = Device::Cpu.open()?;
    let bytes = it.weights.as_ref().map(std::fs::read).transpose()?;
    let foreign = bytes.as_deref().map(weights::read).transpose()?;
    let mut reaches: Vec<f32> = train
        .iter()
        .flat_map(|it| &it.truth)
        .map(|it| (it.bbox[2] - it.bbox[0] + it.bbox[3] - it.bbox[1]) / 4.0)
        .collect();
    reaches.sort_by(f32::total_cmp);
    let task = DetectorTask {
        network: Pyramid {
            n_outputs: classes.len() + 4,
            ..it.network
        },
        reach: reaches[reaches.len() / 2],
    };
    let begun = Instant::now();
    let mut trainer = DetectorTrainer::new(
        task,
        it.options.clone(),
        Arc::new(train),
        &device,
        foreign.as_ref(),
    )?;
    while !trainer.is_finished() {
        let report = trainer.epoch(&mut |_| ControlFlow::Continue(()))?;
        let report = report.expect("nobody broke it off");
        if report.epoch % it.every != 0 && !trainer.is_finished() {
            continue;
        }
        let trained = begun.elapsed().as_secs_f64();
        let mut detector = trainer.detector(it.scale)?;
        let options = FindOptions {
            min_score: 0.01,
            max_overlap: it.max_overlap,
            any_class: false,
        };
        let found: Result<Vec<_>, _> = judged
            .iter()
            .map(|field| detector.find(&field.picture, &Tiles::default(), &options))
            .collect();
        let found = found?;
        let precision: Vec<f64> = (0..classes.len())
            .map(|class| average_precision(class, &found, &judged))
            .collect();
        let mean = precision.iter().sum::<f64>() / precision.len() as f64;
        let line = serde_json::json!({
            "epoch": report.epoch,
            "loss": report.train_loss,
            "map50": mean,
            "ap50": classes.iter().zip(&precision).collect::<BTreeMap<_, _>>(),
            "train_s": trained,
        });
        println!("{line}");
        if let Some(out) = &it.out {
            std::fs::write(out, detector.to_bytes()?)?;
        }
    }
    Ok(())
}

/// Average precision at an overlap of .5, over all recalls.
fn average_precision(
    class: usize,
    found: &[Vec<CellBox>],
    fields: &[Field<Vec<LabelledBox>>],
) -> f64 {
    let truth = |field: usize| {
        fields[field]
            .truth
            .iter()
            .filter(move |it| it.class == class)
    };
    let n: usize = (0..fields.len()).map(|it| truth(it).count()).sum();
    let mut all: Vec<(usize, CellBox)> = found
        .iter()
        .enumerate()
        .flat_map(|(at, it)| it.iter().map(move |it| (at, *it)))
        .filter(|it| it.1.class == class)
        .collect();
    all.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut taken: Vec<Vec<bool>> = (0..fields.len())
        .map(|it| vec![false; truth(it).count()])
        .collect();
    let (mut hits, mut precisions) = (0, Vec::new());
    for (rank, (field, it)) in all.iter().enumerate() {
        let free = truth(*field)
            .enumerate()
            .filter(|(at, _)| !taken[*field][*at]);
        let best = free
            .map(|(at, truth)| (overlap(&it.bbox, &truth.bbox), at))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, at)) = best.filter(|it| it.0 >= 0.5) {
            taken[*field][at] = true;
            hits += 1;
            precisions.push(f64::from(hits) / (rank + 1) as f64);
        }
    }
    for at in (1..precisions.len()).rev() {
        precisions[at - 1] = precisions[at - 1].max(precisions[at]);
    }
    precisions.iter().sum::<f64>() / n as f64
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |at: usize| (a[at + 2].min(b[at + 2]) - a[at].max(b[at])).max(0.0);
    let area = |it: &[f32; 4]| (it[2] - it[0]) * (it[3] - it[1]);
    let both = side(0) * side(1);
    both / (area(a) + area(b) - both)
}

struct Arguments {
    data: PathBuf,
    weights: Option<PathBuf>,
    out: Option<PathBuf>,
    agnostic: bool,
    scale: f64,
    every: u32,
    max_overlap: f32,
    network: Pyramid,
    options: DenseOptions,
}

type Fields = Vec<Field<Vec<LabelledBox>>>;

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            data: PathBuf::new(),
            weights: None,
            out: None,
            agnostic: false,
            scale: 0.5,
            every: 10,
            max_overlap: 0.6,
            network: Pyramid {
                family: Family::EfficientNetLite0,
                scale: Scale::Normal,
                width: 64,
                n_outputs: 5,
            },
            options: DenseOptions::default(),
        };
        while let Some(name) = given.next() {
            let value = given
                .next()
                .ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--data" => it.data = value.into(),
                "--weights" => it.weights = Some(value.into()),
                "--out" => it.out = Some(value.into()),
                "--agnostic" => it.agnostic = value.parse()?,
                "--scale" => it.scale = value.parse()?,
                "--every" => it.every = value.parse()?,
                "--max-overlap" => it.max_overlap = value.parse()?,
                "--network" => it.network = serde_json::from_str(&value)?,
                "--options" => it.options = serde_json::from_str(&value)?,
                _ => return Err(format!("`{name}` is no option of this example").into()),
            }
        }
        Ok(it)
    }

    /// Fields to learn from, fields that judge, and the names of the classes.
    fn fields(&self) -> Result<(Fields, Fields, Vec<String>), Error> {
        let (mut train, mut judged) = (Vec::new(), Vec::new());
        let mut classes: Vec<String> = Vec::new();
        for row in table(&self.data.join("index.csv"))? {
            let decoded = decode(
                &std::fs::read(self.data.join(&row["img"]))?,
                &Limits::default(),
            );
            let image = decoded.map_err(|it| format!("{}: {it}", row["img"]))?.image;
            let seen = |length: u32| (f64::from(length) * self.scale).round() as u32;
            let seen = resize(&image, seen(image.width), seen(image.height));
            let picture = Picture::new(seen.width as usize, seen.height as usize, seen.data)?;
            let mut truth = Vec::new();
            for cell in table(&self.data.join(&row["csv"]))? {
                let name = if self.agnostic {
                    "cell"
                } else {
                    &cell["Label"]
                };
                let class = classes.iter().position(|it| it == name);
                let class = class.unwrap_or_else(|| {
                    classes.push(name.to_owned());
                    classes.len() - 1
                });
                let side =
                    |name: &str| cell[name].parse::<f64>().map(|it| (it * self.scale) as f32);
                let bbox = [side("x1")?, side("y1")?, side("x2")?, side("y2")?];
                truth.push(LabelledBox { class, bbox });
            }
            let field = Field { picture, truth };
            if row["split"] == "train" {
                train.push(field);
            } else {
                judged.push(field);
            }
        }
        Ok((train, judged, classes))
    }
}

/// Rows of a CSV without quotes, by the names of its columns.
fn table(path: &std::path::Path) -> Result<Vec<BTreeMap<String, String>>, Error> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let names: Vec<String> = lines.next().ok_or("the table is empty")?.collect();
    Ok(lines
        .map(|it| names.iter().cloned().zip(it).collect())
        .collect())
}
