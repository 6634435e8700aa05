//! Trains a segmenter on pictures with masks three times, each on two thirds of them, and judges it on the third.
//!
//! `cargo run --release -p cellmill-nets --example segment -- --data DIR` reads `DIR/index.csv` (`id`, `kind`),
//! `DIR/images/<id>.png` and `DIR/labels/<id>.png`, which has 16 bits and the number of a cell at each pixel. Thirds are
//! by id, within each kind. `--network JSON`, `--loss JSON` and `--options JSON` set `SegmenterNetwork`, `SegmenterLoss`
//! and fields of `DenseOptions`, `--weights FILE` begins with weights from elsewhere, `--folds 0,2` leaves thirds out.
//! Nothing is chosen on the part that judges. Prints a JSON line a third and one over all; `--out DIR` gets the
//! segmenters, the masks that they made and pictures with borders; `--models DIR` judges such segmenters again.
#![expect(clippy::print_stdout, reason = "an example tells what it measured")]

use cellmill_core::detection::instances::{MeanFigures, Overlap};
use cellmill_nets::dense::{DenseOptions, Field, Picture};
use cellmill_nets::detector::Tiles;
use cellmill_nets::segmenter::{
    LabelledCells, Preparation, SegmentOptions, Segmenter, SegmenterLoss, SegmenterNetwork,
    SegmenterTask, SegmenterTrainer,
};
use cellmill_nets::{Augment, Device, Scale, weights};
use cellmill_vision::{
    LabelImage, Limits, RgbImage, decode, decode_labels, encode_labels, encode_png,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const N_FOLDS: usize = 3;

fn main() -> Result<(), Error> {
    let it = Arguments::parse(std::env::args().skip(1))?;
    let slides = slides(&it.data)?;
    let mut judged = Vec::new();
    for fold in it.folds.clone() {
        judged.extend(it.fold(&slides, fold)?);
    }
    println!("{}", figures(&judged));
    Ok(())
}

/// A picture of the data.
struct Slide {
    id: String,
    kind: String,
    fold: usize,
    picture: Picture,
    pixels: Vec<u8>,
    ids: Vec<u16>,
}

/// What was found on a picture that was held out.
struct Judged<'a> {
    slide: &'a Slide,
    overlap: Overlap,
}

fn slides(data: &Path) -> Result<Vec<Slide>, Error> {
    let mut rows = table(&data.join("index.csv"))?;
    rows.sort_by(|a, b| a["id"].cmp(&b["id"]));
    let mut of_kind = BTreeMap::new();
    let slide = |row: &BTreeMap<String, String>| -> Result<Slide, Error> {
        let (id, kind) = (row["id"].clone(), row["kind"].clone());
        let count: &mut usize = of_kind.entry(kind.clone()).or_default();
        *count += 1;
        let bytes = |of: &str| std::fs::read(data.join(of).join(format!("{id}.png")));
        let limits = Limits::default();
        let image = decode(&bytes("images")?, &limits).map_err(|it| format!("{id}: {it}"))?;
        let image = image.image;
        let size = [image.width as usize, image.height as usize];
        Ok(Slide {
            fold: (*count - 1) % N_FOLDS,
            pixels: image.data.clone(),
            picture: Picture::new(size[0], size[1], image.data)?,
            ids: decode_labels(&bytes("labels")?, &limits)?.ids,
            id,
            kind,
        })
    };
    rows.iter().map(slide).collect()
}

/// The figures over all and over each kind.
fn figures(judged: &[Judged<'_>]) -> serde_json::Value {
    let mut kinds: BTreeMap<&str, Vec<&Overlap>> = BTreeMap::new();
    for it in judged {
        kinds.entry("all").or_default().push(&it.overlap);
        kinds.entry(&it.slide.kind).or_default().push(&it.overlap);
    }
    let of = |it: Vec<&Overlap>| serde_json::json!(MeanFigures::of(it));
    kinds
        .into_iter()
        .map(|(kind, it)| (kind.to_owned(), of(it)))
        .collect()
}

struct Arguments {
    data: PathBuf,
    out: Option<PathBuf>,
    models: Option<PathBuf>,
    weights: Option<PathBuf>,
    folds: Vec<usize>,
    preparation: Preparation,
    network: SegmenterNetwork,
    loss: SegmenterLoss,
    options: DenseOptions,
    segment: SegmentOptions,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut it = Self {
            data: PathBuf::new(),
            out: None,
            models: None,
            weights: None,
            folds: (0..N_FOLDS).collect(),
            preparation: Preparation::default(),
            network: SegmenterNetwork::UNet {
                scale: Scale::Small,
                depth: 5,
            },
            loss: SegmenterLoss::default(),
            options: options(),
            segment: SegmentOptions::default(),
        };
        while let Some(name) = given.next() {
            let value = given
                .next()
                .ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--data" => it.data = value.into(),
                "--out" => it.out = Some(value.into()),
                "--models" => it.models = Some(value.into()),
                "--weights" => it.weights = Some(value.into()),
                "--folds" => {
                    let folds: Result<_, _> = value.split(',').map(str::parse).collect();
                    it.folds = folds?;
                }
                "--preparation" => it.preparation = serde_json::from_value(value.into())?,
                "--network" => it.network = serde_json::from_str(&value)?,
                "--loss" => it.loss = serde_json::from_str(&value)?,
                "--options" => it.options = merged(&it.options, &value)?,
                "--min-probability" => it.segment.min_probability = value.parse()?,
                "--min-depth" => it.segment.min_depth = value.parse()?,
                "--min-area" => it.segment.min_area = value.parse()?,
                _ => return Err(format!("`{name}` is no option of this example").into()),
            }
        }
        Ok(it)
    }

    /// A segmenter of all thirds but one, and its last loss.
    fn train(&self, slides: &[Slide], fold: usize) -> Result<(Segmenter, Option<f64>), Error> {
        let field = |it: &Slide| -> Result<_, Error> {
            let (width, height) = (it.picture.width(), it.picture.height());
            Ok(Field {
                picture: it.picture.clone(),
                truth: LabelledCells::new(width, height, it.ids.clone(), |_| 0)?,
            })
        };
        let train: Result<Vec<_>, _> = slides
            .iter()
            .filter(|it| it.fold != fold)
            .map(field)
            .collect();
        let task = SegmenterTask {
            network: self.network,
            n_classes: 1,
            preparation: self.preparation,
            loss: self.loss,
        };
        let device = Device::Cpu.open()?;
        let bytes = self.weights.as_ref().map(std::fs::read).transpose()?;
        let foreign = bytes.as_deref().map(weights::read).transpose()?;
        let options = self.options.clone();
        let mut trainer = SegmenterTrainer::new(task, options, train?, &device, foreign.as_ref())?;
        let mut loss = 0.0;
        while !trainer.is_finished() {
            let report = trainer.epoch(&mut |_| ControlFlow::Continue(()))?;
            loss = report.expect("nobody broke it off").train_loss;
        }
        Ok((trainer.segmenter(1.0)?, Some(loss)))
    }

    /// Trains without a third and judges on it.
    fn fold<'a>(&self, slides: &'a [Slide], fold: usize) -> Result<Vec<Judged<'a>>, Error> {
        let begun = Instant::now();
        let (mut segmenter, loss) = match &self.models {
            Some(models) => {
                let bytes = std::fs::read(models.join(file_name(fold)))?;
                (Segmenter::from_bytes(&bytes, &Device::Cpu.open()?)?, None)
            }
            None => self.train(slides, fold)?,
        };
        let train_s = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let mut judged = Vec::new();
        for slide in slides.iter().filter(|it| it.fold == fold) {
            let found = segmenter.segment(&slide.picture, &Tiles::default(), &self.segment)?;
            let overlap = Overlap::between(&slide.ids, &found.labels)?;
            if let Some(out) = &self.out {
                let of = |what: &str| out.join(format!("{}.{what}.png", slide.id));
                let image = LabelImage {
                    width: found.width as u32,
                    height: found.height as u32,
                    ids: found.labels.iter().map(|it| *it as u16).collect(),
                };
                std::fs::write(of("labels"), encode_labels(&image))?;
                std::fs::write(of("borders"), borders(slide, &found.labels))?;
            }
            judged.push(Judged { slide, overlap });
        }
        if let Some(out) = &self.out {
            std::fs::write(out.join(file_name(fold)), segmenter.to_bytes()?)?;
        }
        let line = serde_json::json!({
            "fold": fold,
            "train_s": train_s,
            "segment_s": begun.elapsed().as_secs_f64(),
            "loss": loss,
            "figures": figures(&judged),
            "f1": judged.iter().map(|it| (&it.slide.id, it.overlap.figures().f1)).collect::<BTreeMap<_, _>>(),
        });
        println!("{line}");
        Ok(judged)
    }
}

fn file_name(fold: usize) -> String {
    format!("fold{fold}.safetensors")
}

/// The picture with the borders of true cells in green and of found ones in red.
fn borders(slide: &Slide, found: &[u32]) -> Vec<u8> {
    let (width, height) = (slide.picture.width(), slide.picture.height());
    let mut data = slide.pixels.clone();
    let truth: Vec<u32> = slide.ids.iter().map(|it| u32::from(*it)).collect();
    for (labels, channel) in [(&truth[..], 1), (found, 0)] {
        for at in 0..labels.len() {
            let is_other = |beside: usize| labels.get(beside).is_some_and(|it| *it != labels[at]);
            if is_other(at + 1) || is_other(at + width) {
                data[3 * at + channel] = 255;
                data[3 * at + 2] = 0;
            }
        }
    }
    let image = RgbImage {
        width: width as u32,
        height: height as u32,
        data,
    };
    encode_png(&image)
}

/// What a short training on few pictures does best with: see `segmenter/design.md`.
fn options() -> DenseOptions {
    let it = DenseOptions::default();
    DenseOptions {
        epochs: 36,
        batch: 4,
        side: 128,
        learning_rate: 3e-3,
        scale_jitter: 0.7,
        ema: 0.995,
        augment: Augment {
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.6,
            ..it.augment
        },
        ..it
    }
}

/// Settings with some of their fields set anew.
fn merged(options: &DenseOptions, given: &str) -> Result<DenseOptions, Error> {
    let mut all = serde_json::to_value(options)?;
    let given: BTreeMap<String, serde_json::Value> = serde_json::from_str(given)?;
    for (name, value) in given {
        all[name.as_str()] = value;
    }
    Ok(serde_json::from_value(all)?)
}

/// Rows of a CSV without quotes, by the names of its columns.
fn table(path: &Path) -> Result<Vec<BTreeMap<String, String>>, Error> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let names: Vec<String> = lines.next().ok_or("the table is empty")?.collect();
    Ok(lines
        .map(|it| names.iter().cloned().zip(it).collect())
        .collect())
}
