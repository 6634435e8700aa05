//! Average precision, number for number as pycocotools computes it (`COCOeval`, area range `all`).
//!
//! Lin et al. 2014, <https://cocodataset.org/#detection-eval>.

use std::collections::{BTreeMap, HashMap};

use super::assign::{Case, surer};
use super::figures::{ClassFigures, Evaluation, Figures};
use super::scene::Scene;

/// How many overlaps are asked for: .50, .55, ... .95.
const N_OVERLAPS: usize = 10;
const AT_50: usize = 0;
const AT_75: usize = 5;
/// Precision is read off at recalls of 0, .01, ... 1.
const N_RECALLS: u32 = 101;

/// What COCO's evaluation can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many found cells of an image and class count, the surest first. COCO's 100 is too few for fields that hold
    /// hundreds of cells.
    pub max_dets: usize,
    /// Do not tell classes apart.
    pub is_agnostic: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_dets: 100,
            is_agnostic: false,
        }
    }
}

/// The figures over all images. The order of images decides between equal scores.
///
/// ```
/// use cellmill_core::detection::{Found, Scene, Settings, Truth, average_precision};
/// let bbox = [0.0, 0.0, 10.0, 10.0];
/// let scene = Scene {
///     truth: vec![Truth { class: 301, bbox, crowd: false }],
///     found: vec![Found { class: 301, bbox: [0.0, 0.0, 10.0, 6.0], score: 0.9 }],
/// };
/// let figures = average_precision(&[scene], &Settings::default()).overall;
/// // It overlaps by .6, which is enough at .50, .55 and .60.
/// assert!(figures.ap50 > Some(0.999) && figures.ap75 < Some(0.001));
/// assert!((figures.ap.unwrap() - 0.3).abs() < 1e-12);
/// ```
pub fn average_precision(scenes: &[Scene], settings: &Settings) -> Evaluation {
    of_cases(scenes.iter().map(Case::of_boxes), settings)
}

pub(super) fn of_cases(cases: impl Iterator<Item = Case>, settings: &Settings) -> Evaluation {
    let mut pools: BTreeMap<u32, Pool> = BTreeMap::new();
    let overlaps = least_overlaps();
    for case in cases {
        add(&mut pools, &case, &overlaps, settings);
    }
    let per_class: Vec<_> = pools
        .into_iter()
        .map(|(class, pool)| pool.figures(class))
        .collect();
    Evaluation {
        overall: Figures::mean_of(&per_class),
        per_class: if settings.is_agnostic {
            Vec::new()
        } else {
            per_class
        },
    }
}

/// What a class has gathered over the images.
#[derive(Debug, Default)]
struct Pool {
    n_truth: u64,
    n_found: u64,
    outcomes: Vec<Outcome>,
}

/// A found cell: the bit of each overlap says what it is there.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    score: f64,
    /// It is a true cell.
    hit: u16,
    /// It lies in a crowd and does not count.
    ignored: u16,
}

fn add(
    pools: &mut BTreeMap<u32, Pool>,
    case: &Case,
    overlaps: &[f64; N_OVERLAPS],
    settings: &Settings,
) {
    let class_of = |class: u32| if settings.is_agnostic { 0 } else { class };
    for truth in &case.truths {
        let pool = pools.entry(class_of(truth.class)).or_default();
        pool.n_truth += u64::from(!truth.crowd);
    }
    for found in &case.founds {
        pools.entry(class_of(found.class)).or_default().n_found += 1;
    }
    let mut order = case.surest_first(settings.is_agnostic);
    let mut n_kept: HashMap<u32, usize> = HashMap::new();
    order.retain(|&it| {
        let n = n_kept.entry(class_of(case.founds[it].class)).or_default();
        *n += 1;
        *n <= settings.max_dets
    });
    let mut outcomes: Vec<Outcome> = order
        .iter()
        .map(|&it| Outcome {
            score: case.founds[it].score,
            hit: 0,
            ignored: 0,
        })
        .collect();
    for (bit, &overlap) in overlaps.iter().enumerate() {
        let assigned = case.assign(&order, settings.is_agnostic, overlap);
        for (outcome, truth) in outcomes.iter_mut().zip(assigned) {
            match truth.map(|it| case.truths[it].crowd) {
                Some(false) => outcome.hit |= 1 << bit,
                Some(true) => outcome.ignored |= 1 << bit,
                None => {}
            }
        }
    }
    for (it, outcome) in order.into_iter().zip(outcomes) {
        let pool = pools.entry(class_of(case.founds[it].class)).or_default();
        pool.outcomes.push(outcome);
    }
}

impl Pool {
    fn figures(mut self, class: u32) -> ClassFigures {
        self.outcomes.sort_by(|a, b| surer(a.score, b.score));
        let figures = if self.n_truth == 0 {
            Figures::default()
        } else {
            let curves: [Curve; N_OVERLAPS] = std::array::from_fn(|bit| self.curve(bit));
            let mean = |of: fn(&Curve) -> f64| {
                Some(curves.iter().map(of).sum::<f64>() / N_OVERLAPS as f64)
            };
            Figures {
                ap: mean(|it| it.precision),
                ap50: Some(curves[AT_50].precision),
                ap75: Some(curves[AT_75].precision),
                ar: mean(|it| it.recall),
            }
        };
        ClassFigures {
            class,
            n_truth: self.n_truth,
            n_found: self.n_found,
            figures,
        }
    }

    fn curve(&self, bit: usize) -> Curve {
        let is_set = |bits: u16| bits >> bit & 1 == 1;
        let (mut n_hits, mut n_false) = (0_u64, 0_u64);
        let mut points = Vec::with_capacity(self.outcomes.len());
        for it in self.outcomes.iter().filter(|it| !is_set(it.ignored)) {
            if is_set(it.hit) {
                n_hits += 1;
            } else {
                n_false += 1;
            }
            let (hits, all) = (n_hits as f64, (n_hits + n_false) as f64);
            // The added epsilon is in pycocotools' figures, too.
            points.push((hits / self.n_truth as f64, hits / (all + f64::EPSILON)));
        }
        Curve::of(&mut points)
    }
}

/// A precision-recall curve, summed up.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// The mean over the recalls.
    precision: f64,
    /// The highest recall.
    recall: f64,
}

impl Curve {
    /// `points`: recall and precision after each found cell.
    fn of(points: &mut [(f64, f64)]) -> Self {
        // Precision at a recall is the best at this or any higher recall.
        let mut best = 0.0_f64;
        for (_, precision) in points.iter_mut().rev() {
            best = best.max(*precision);
            *precision = best;
        }
        let mut at = 0;
        let mut sum = 0.0;
        for step in 0..N_RECALLS {
            let wanted = f64::from(step) * 0.01;
            at += points[at..].partition_point(|it| it.0 < wanted);
            let Some((_, precision)) = points.get(at) else {
                break;
            };
            sum += precision;
        }
        Self {
            precision: sum / f64::from(N_RECALLS),
            recall: points.last().map_or(0.0, |it| it.0),
        }
    }
}

/// The overlaps, to the last bit as `numpy.linspace` gives them: at a threshold that bit decides.
fn least_overlaps() -> [f64; N_OVERLAPS] {
    const STEP: f64 = (0.95 - 0.5) / 9.0;
    std::array::from_fn(|it| {
        if it + 1 == N_OVERLAPS {
            0.95
        } else {
            it as f64 * STEP + 0.5
        }
    })
}
