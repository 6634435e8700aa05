//! `eval detect`: detections against boxes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cellmill_core::detection::{
    Best, Figures, Rule, Scene, Settings, average_precision, best_threshold, count,
};
use cellmill_core::matching::Score;
use serde::Serialize;

use crate::cli::{Console, Error, Exit};

use super::detections;
use super::shown;
use super::truth::TruthSet;

const EXAMPLES: &str = "\
Examples:
  cellmill eval detect --truth smears/ --detections found.json
      a folder of the documented layout: the boxes of csv/, classes.json for the names
  cellmill eval detect --truth instances_val.json --detections results.json --max-dets 500
      COCO's own files; fields with more than 100 cells of a class need a higher limit
  cellmill eval detect --truth smears/ --detections found.jsonl --agnostic --score 0.5
      cells of any class, and F1 of what scores 0.5 or more";

/// Measure detections against true boxes: COCO's average precision, and F1
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DetectArgs {
    /// The true boxes: a COCO file, or a folder with csv/<batch>/<date>/<case>/<stem>.csv
    #[arg(long, value_name = "FILE_OR_DIR")]
    truth: PathBuf,
    /// What was found: COCO results, or rows of image, x1, y1, x2, y2, class, score, in a list or one a line
    #[arg(long, value_name = "FILE")]
    detections: PathBuf,
    /// Do not tell classes apart
    #[arg(long)]
    agnostic: bool,
    /// How many detections of an image and class count towards average precision, the surest first
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_dets)]
    max_dets: usize,
    /// Count hits and misses of detections of this score and more [default: the score with the best F1]
    #[arg(long, value_name = "SCORE", value_parser = crate::commands::numbers::finite)]
    score: Option<f64>,
}

/// What `eval detect` answers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Detected {
    pub(super) images: usize,
    pub(super) cells: usize,
    pub(super) found: usize,
    pub(super) max_dets: usize,
    pub(super) agnostic: bool,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// The score from which on F1 is best.
    pub(super) best: Option<At>,
    /// At the score that was asked for.
    pub(super) at_score: Option<At>,
    pub(super) wrong_class: usize,
    pub(super) per_class: Vec<OfClass>,
    /// What a reader should know before trusting the figures.
    pub(super) notes: Vec<String>,
}

/// Hits and misses at an overlap of half and one score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct At {
    pub(super) score: f64,
    pub(super) hits: usize,
    pub(super) false_alarms: usize,
    pub(super) misses: usize,
    /// `None` where nothing was found.
    pub(super) precision: Option<f64>,
    /// `None` where nothing is there.
    pub(super) recall: Option<f64>,
    pub(super) f1: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct OfClass {
    pub(super) class: u32,
    #[serde(skip)]
    pub(super) shown: String,
    pub(super) name: Option<String>,
    pub(super) cells: u64,
    pub(super) found: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// At the score asked for, else at the best.
    pub(super) at: Option<At>,
}

impl At {
    fn of(min_score: f64, counted: &Score) -> Self {
        Self {
            score: min_score,
            hits: counted.tp,
            false_alarms: counted.fp,
            misses: counted.fn_,
            precision: (counted.tp + counted.fp > 0).then(|| counted.precision()),
            recall: (counted.tp + counted.fn_ > 0).then(|| counted.recall()),
            f1: counted.f1(),
        }
    }
}

pub(super) fn run(args: &DetectArgs, console: &mut Console) -> Result<Exit, Error> {
    let truth = TruthSet::read(&args.truth)?;
    if truth.images.iter().all(|it| it.truth.is_none()) {
        return Err(Error::Usage {
            what: format!("`{}` holds no true boxes", args.truth.display()),
            hint: Some("they are in csv/<batch>/<date>/<case>/<stem>.csv, with the columns X,Y,Type,x1,y1,x2,y2".to_owned()),
        });
    }
    let detected = measure(args, &truth, &args.detections)?;
    console.answer(&detected, shown::detected)?;
    Ok(Exit::Ok)
}

fn measure(args: &DetectArgs, truth: &TruthSet, file: &Path) -> Result<Detected, Error> {
    let joined = truth.join(&detections::read(file)?, file, args.agnostic)?;
    let scenes = &joined.scenes;
    let settings = Settings {
        max_dets: args.max_dets,
        is_agnostic: args.agnostic,
    };
    let rule = Rule {
        is_agnostic: args.agnostic,
        ..Rule::default()
    };
    let evaluation = average_precision(scenes, &settings);
    let best = best_threshold(scenes, &rule);
    let score = args.score.or(best.map(|it| it.min_score));
    let counts = score.map(|min_score| count(scenes, &Rule { min_score, ..rule }));

    let per_class = evaluation.per_class.iter().map(|it| OfClass {
        class: it.class,
        shown: truth.shown(it.class),
        name: truth.classes.get(&it.class).cloned(),
        cells: it.n_truth,
        found: it.n_found,
        figures: it.figures,
        at: score.zip(counts.as_ref()).map(|(score, counts)| {
            let counted = counts.per_class.get(&it.class).copied();
            At::of(score, &counted.unwrap_or_default())
        }),
    });
    Ok(Detected {
        images: scenes.len(),
        cells: cells(scenes),
        found: scenes.iter().map(|it| it.found.len()).sum(),
        max_dets: args.max_dets,
        agnostic: args.agnostic,
        figures: evaluation.overall,
        best: best.map(|Best { min_score, score }| At::of(min_score, &score)),
        at_score: args
            .score
            .zip(counts.as_ref())
            .map(|(score, counts)| At::of(score, &counts.overall)),
        wrong_class: counts.as_ref().map_or(0, |it| it.wrong_class),
        per_class: per_class.collect(),
        notes: notes(truth, scenes, joined.n_unjudged, &settings),
    })
}

fn cells(scenes: &[Scene]) -> usize {
    let truths = scenes.iter().flat_map(|it| &it.truth);
    truths.filter(|it| !it.crowd).count()
}

fn notes(
    truth: &TruthSet,
    scenes: &[Scene],
    n_unjudged: usize,
    settings: &Settings,
) -> Vec<String> {
    let mut notes = Vec::new();
    let n_over: usize = scenes.iter().map(|it| n_over(it, settings)).sum();
    if n_over > 0 {
        notes.push(format!(
            "beyond the {} detections of an image and class that count towards average precision: {n_over}; see --max-dets",
            settings.max_dets
        ));
    }
    if n_unjudged > 0 {
        notes.push(format!(
            "left out, on images without a CSV: {n_unjudged} detections"
        ));
    }
    if truth.n_bad_rows > 0 {
        notes.push(format!(
            "left out, as an import does: {} bad rows of CSVs",
            truth.n_bad_rows
        ));
    }
    notes
}

fn n_over(scene: &Scene, settings: &Settings) -> usize {
    let mut n_of_class: HashMap<u32, usize> = HashMap::new();
    for it in &scene.found {
        let class = if settings.is_agnostic { 0 } else { it.class };
        *n_of_class.entry(class).or_default() += 1;
    }
    let over = n_of_class.values();
    over.map(|it| it.saturating_sub(settings.max_dets)).sum()
}
