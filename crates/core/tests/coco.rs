//! Average precision against pycocotools. The numbers and the script that made them: `tests/golden/coco.jsonl`,
//! `tests/peers/coco_golden.py`; what a case looks like stands at the head of `tests/peers/coco_peer.py`.
//!
//! Where `CELLMILL_TEST_PYTHON_COCO` names a Python with pycocotools, it is also asked about scenes drawn here.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use cellmill_core::detection::instances::{
    MaskFound, MaskScene, MaskTruth, Overlap, mask_average_precision,
};
use cellmill_core::detection::{
    Evaluation, Figures, Found, Scene, Settings, Truth, average_precision,
};
use cellmill_core::random::SplitMix;
use serde::{Deserialize, Serialize};

/// Agreement with pycocotools: sums in another order, and nothing else.
const CLOSE: f64 = 1e-12;

#[derive(Debug, Deserialize, Serialize)]
struct Case {
    name: String,
    settings: Vec<Asked>,
    images: Vec<Image>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Asked {
    max_dets: usize,
    agnostic: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Image {
    Masks {
        width: usize,
        truth_runs: Vec<usize>,
        found_runs: Vec<usize>,
        truth: Vec<(u32, u32, u8)>,
        found: Vec<(u32, u32, f64)>,
    },
    Boxes {
        truth: Vec<(u32, f64, f64, f64, f64, u8)>,
        found: Vec<(u32, f64, f64, f64, f64, f64)>,
    },
}

#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    overall: Peer,
    per_class: BTreeMap<u32, Peer>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Peer {
    ap: f64,
    ap50: f64,
    ap75: f64,
    ar: f64,
}

impl Case {
    fn evaluate(&self, asked: Asked) -> Evaluation {
        let settings = Settings {
            max_dets: asked.max_dets,
            is_agnostic: asked.agnostic,
        };
        let masks: Vec<_> = self.images.iter().filter_map(Image::masks).collect();
        if masks.is_empty() {
            let scenes: Vec<_> = self.images.iter().filter_map(Image::scene).collect();
            average_precision(&scenes, &settings)
        } else {
            mask_average_precision(&masks, &settings)
        }
    }

    fn check(&self, answers: &[Answer]) {
        assert_eq!(answers.len(), self.settings.len(), "{}", self.name);
        for (&asked, answer) in self.settings.iter().zip(answers) {
            let what = format!("{}, {asked:?}", self.name);
            let ours = self.evaluate(asked);
            assert_close(&ours.overall, &answer.overall, &what);
            let classes: Vec<u32> = ours.per_class.iter().map(|it| it.class).collect();
            assert!(classes.iter().eq(answer.per_class.keys()), "{what}");
            for it in &ours.per_class {
                let what = format!("{what}, class {}", it.class);
                assert_close(&it.figures, &answer.per_class[&it.class], &what);
            }
        }
    }
}

fn assert_close(ours: &Figures, peer: &Peer, what: &str) {
    for (figure, ours, peer) in [
        ("ap", ours.ap, peer.ap),
        ("ap50", ours.ap50, peer.ap50),
        ("ap75", ours.ap75, peer.ap75),
        ("ar", ours.ar, peer.ar),
    ] {
        let ours = ours.unwrap_or(-1.0);
        assert!(
            (ours - peer).abs() < CLOSE,
            "{what}: {figure} is {ours}, pycocotools says {peer}"
        );
    }
}

impl Image {
    fn scene(&self) -> Option<Scene> {
        let Self::Boxes { truth, found } = self else {
            return None;
        };
        let truth = truth.iter().map(|&(class, x1, y1, x2, y2, crowd)| Truth {
            class,
            bbox: [x1, y1, x2, y2],
            crowd: crowd != 0,
        });
        let found = found.iter().map(|&(class, x1, y1, x2, y2, score)| Found {
            class,
            bbox: [x1, y1, x2, y2],
            score,
        });
        Some(Scene {
            truth: truth.collect(),
            found: found.collect(),
        })
    }

    fn masks(&self) -> Option<MaskScene> {
        let Self::Masks {
            truth_runs,
            found_runs,
            truth,
            found,
            ..
        } = self
        else {
            return None;
        };
        let truth = truth.iter().map(|&(id, class, crowd)| MaskTruth {
            id,
            class,
            crowd: crowd != 0,
        });
        let found = found
            .iter()
            .map(|&(id, class, score)| MaskFound { id, class, score });
        Some(MaskScene {
            overlap: Overlap::between(&pixels(truth_runs), &pixels(found_runs)).unwrap(),
            truth: truth.collect(),
            found: found.collect(),
        })
    }
}

fn pixels(runs: &[usize]) -> Vec<u32> {
    let (runs, _) = runs.as_chunks::<2>();
    runs.iter()
        .flat_map(|&[id, n]| std::iter::repeat_n(id as u32, n))
        .collect()
}

#[test]
fn figures_are_those_of_pycocotools() {
    let lines = include_str!("golden/coco.jsonl").lines();
    let cases: Vec<Case> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(cases.len() > 10);
    for case in &cases {
        case.check(&case.answers);
    }
}

/// Boxes on quarters of pixels: what is computed of them is exact, so no threshold is a matter of rounding.
fn drawn(seed: u64) -> Case {
    let mut draw = SplitMix::new(seed);
    let n_images = 1 + draw.below(8);
    let n_classes = 1 + draw.below(4);
    let levels = [3, 20, 10_000][draw.below(3) as usize];
    let n_cells = [4, 30, 150][draw.below(3) as usize];
    let side = [200, 2_000, 4_000][draw.below(3) as usize];
    let images = (0..n_images).map(|_| {
        let (mut truth, mut found) = (Vec::new(), Vec::new());
        for _ in 0..draw.below(n_cells) {
            let mut number = |from: u64, to: u64| from + draw.below(to - from);
            let class = number(0, n_classes);
            let (x, y, w, h) = (
                number(0, side),
                number(0, side),
                number(20, 160),
                number(20, 160),
            );
            let quarters = |it: u64| it as f64 / 4.0;
            let is_crowd = number(0, 12) == 0;
            let is_true = number(0, 6) != 0;
            if is_true {
                let [x1, y1, x2, y2] = [x, y, x + w, y + h].map(quarters);
                truth.push((class as u32, x1, y1, x2, y2, u8::from(is_crowd)));
            }
            for _ in 0..number(0, 3) {
                let (x, y) = (x + number(0, 16), y + number(0, 16));
                let (w, h) = (w + number(0, 12), h - number(0, 12));
                let class = if number(0, 8) == 0 {
                    number(0, n_classes)
                } else {
                    class
                };
                let [x1, y1, x2, y2] = [x, y, x + w, y + h].map(quarters);
                let score = number(0, levels) as f64 / levels as f64;
                found.push((class as u32, x1, y1, x2, y2, score));
            }
        }
        Image::Boxes { truth, found }
    });
    let images = images.collect();
    let asked = |max_dets, agnostic| Asked { max_dets, agnostic };
    Case {
        name: format!("seed {seed}"),
        settings: vec![
            asked(100, false),
            asked(7, false),
            asked(500, false),
            asked(100, true),
        ],
        images,
        answers: Vec::new(),
    }
}

/// Asks the peer itself, where there is one.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether there is a peer is for the test to ask, not for the crate"
)]
fn pycocotools_itself_gives_the_same() {
    let Ok(python) = std::env::var("CELLMILL_TEST_PYTHON_COCO") else {
        println!("not compared: CELLMILL_TEST_PYTHON_COCO names no Python with pycocotools");
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/peers/coco_peer.py"
    );
    let cases: Vec<Case> = (0..40).map(drawn).collect();
    let lines: Vec<String> = cases
        .iter()
        .map(|it| serde_json::to_string(it).unwrap())
        .collect();
    let mut peer = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = peer.stdin.take().unwrap();
    // Beside the reading of the answers: a pipe holds less than either side writes.
    let asking = std::thread::spawn(move || stdin.write_all(lines.join("\n").as_bytes()));
    let output = peer.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    assert!(output.status.success(), "the peer failed");
    let answers: Vec<Vec<Answer>> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len());
    for (case, answers) in cases.iter().zip(&answers) {
        case.check(answers);
    }
}
