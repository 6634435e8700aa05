//! A detector learns painted cells: it finds them, whatever the field's size, and the same again.

#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use std::ops::ControlFlow;
use std::sync::Arc;

use cellmill_nets::dense::{DenseError, DenseOptions, Field, Picture};
use cellmill_nets::detector::{
    CellBox, Detector, DetectorTask, DetectorTrainer, FindOptions, LabelledBox, Tiles,
};
use cellmill_nets::models::Pyramid;
use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{Device, Family, OpenDevice, Scale};

type Fields = Arc<Vec<Field<Vec<LabelledBox>>>>;

fn device() -> OpenDevice {
    Device::Cpu.open().unwrap()
}

/// A field with red and blue discs that do not touch.
fn field(width: usize, height: usize, n: usize, seed: u64) -> Field<Vec<LabelledBox>> {
    let mut rng = Rng::new(seed, Purpose::Synthetic, [0, 0]);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for _ in 0..width * height {
        let noise = rng.below(12) as u8;
        pixels.extend([228 + noise, 222 + noise, 226 + noise]);
    }
    let mut truth: Vec<LabelledBox> = Vec::new();
    while truth.len() < n {
        let radius = 6.0 + 5.0 * rng.uniform() as f32;
        let mut place = |length: usize| {
            let room = length as f32 - 2.0 * radius;
            (radius + room * rng.uniform() as f32).round()
        };
        let (x, y) = (place(width), place(height));
        let bbox = [x - radius, y - radius, x + radius, y + radius];
        let apart = |it: &LabelledBox| {
            let [x1, y1, x2, y2] = it.bbox;
            x1 > bbox[2] + 2.0 || x2 + 2.0 < bbox[0] || y1 > bbox[3] + 2.0 || y2 + 2.0 < bbox[1]
        };
        if !truth.iter().all(apart) {
            continue;
        }
        let class = truth.len() % 2;
        truth.push(LabelledBox { class, bbox });
        let colour = [[196, 60, 70], [70, 60, 190]][class];
        for (at, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            let (dx, dy) = ((at % width) as f32 + 0.5 - x, (at / width) as f32 + 0.5 - y);
            if dx * dx + dy * dy <= radius * radius {
                pixel.copy_from_slice(&colour);
            }
        }
    }
    Field {
        picture: Picture::new(width, height, pixels).unwrap(),
        truth,
    }
}

fn fields(n: u64) -> Fields {
    Arc::new((0..n).map(|it| field(96, 80, 5, it)).collect())
}

const TASK: DetectorTask = DetectorTask {
    network: Pyramid {
        family: Family::ResNet18,
        scale: Scale::Small,
        width: 16,
        n_outputs: DetectorTask::n_outputs_for(2),
    },
    reach: 8.0,
};

fn options(epochs: u32) -> DenseOptions {
    DenseOptions {
        epochs,
        batch: 4,
        side: 64,
        ema: 0.9,
        seed: 3,
        ..DenseOptions::default()
    }
}

fn trainer(epochs: u32, fields: &Fields) -> DetectorTrainer {
    DetectorTrainer::new(TASK, options(epochs), Arc::clone(fields), &device(), None).unwrap()
}

fn train(trainer: &mut DetectorTrainer) {
    while !trainer.is_finished() {
        let epoch = trainer.epoch(&mut |_| ControlFlow::Continue(())).unwrap();
        assert!(epoch.is_some());
    }
}

fn is_on(found: &CellBox, truth: &LabelledBox) -> bool {
    let (a, b) = (found.bbox, truth.bbox);
    let side = |at: usize| (a[at + 2].min(b[at + 2]) - a[at].max(b[at])).max(0.0);
    let area = |it: [f32; 4]| (it[2] - it[0]) * (it[3] - it[1]);
    let both = side(0) * side(1);
    found.class == truth.class && both / (area(a) + area(b) - both) > 0.5
}

/// How many cells of the fields are found, and how many boxes are on none.
fn score(detector: &mut Detector, fields: &[Field<Vec<LabelledBox>>], tiles: &Tiles) -> [usize; 2] {
    let (mut hits, mut wrong) = (0, 0);
    for it in fields {
        let found = detector
            .find(&it.picture, tiles, &FindOptions::default())
            .unwrap();
        let is_found = |truth: &&LabelledBox| found.iter().any(|it| is_on(it, truth));
        hits += it.truth.iter().filter(is_found).count();
        let is_wrong = |found: &&CellBox| !it.truth.iter().any(|truth| is_on(found, truth));
        wrong += found.iter().filter(is_wrong).count();
    }
    [hits, wrong]
}

#[test]
fn painted_cells_are_found_in_fields_of_any_size_whole_and_in_tiles() {
    let mut trainer = trainer(40, &fields(8));
    train(&mut trainer);
    let mut detector = trainer.detector(1.0).unwrap();
    // Never seen, and none of a size that networks like.
    let others = [field(113, 91, 6, 101), field(300, 170, 30, 102)];
    let whole = Tiles::default();
    let [hits, wrong] = score(&mut detector, &others, &whole);
    assert!(hits >= 33 && wrong <= 3, "{hits} of 36, {wrong} wrong");
    let tiles = Tiles {
        side: 128,
        overlap: 64,
    };
    let [hits, wrong] = score(&mut detector, &others, &tiles);
    assert!(
        hits >= 33 && wrong <= 3,
        "in tiles {hits} of 36, {wrong} wrong"
    );

    let bytes = detector.to_bytes().unwrap();
    let mut again = Detector::from_bytes(&bytes, &device()).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes);
    let options = FindOptions::default();
    assert_eq!(
        again.find(&others[1].picture, &whole, &options).unwrap(),
        detector.find(&others[1].picture, &whole, &options).unwrap()
    );
    for (width, height) in [(1, 1), (3, 500), (64, 64)] {
        let blank = Picture::new(width, height, vec![230; width * height * 3]).unwrap();
        assert_eq!(detector.find(&blank, &whole, &options).unwrap(), []);
    }
}

#[test]
fn a_training_that_was_interrupted_ends_with_the_same_bits() {
    let fields = fields(4);
    let mut straight = trainer(4, &fields);
    train(&mut straight);
    let mut first = trainer(4, &fields);
    first.epoch(&mut |_| ControlFlow::Continue(())).unwrap();
    first.set_score(0.25);
    // What is broken off never was.
    let broken = first.epoch(&mut |_| ControlFlow::Break(())).unwrap();
    assert!(broken.is_none());
    let checkpoint = first.checkpoint().unwrap();
    let mut resumed = trainer(4, &fields).resumed(&checkpoint).unwrap();
    assert_eq!(resumed.epochs_done(), 1);
    assert_eq!(resumed.reports()[0].score, Some(0.25));
    train(&mut resumed);
    let bytes = |it: &DetectorTrainer| it.detector(0.5).unwrap().to_bytes().unwrap();
    assert_eq!(bytes(&straight), bytes(&resumed));
    assert!(matches!(
        resumed.epoch(&mut |_| ControlFlow::Continue(())),
        Err(DenseError::Finished { epochs: 4 })
    ));

    let others = Arc::new(vec![field(96, 80, 5, 77)]);
    let other = trainer(4, &others).resumed(&checkpoint).unwrap_err();
    assert!(other.to_string().contains("the fields differ"), "{other}");
    let longer = trainer(5, &fields).resumed(&checkpoint).unwrap_err();
    assert!(
        longer.to_string().contains("the settings differ"),
        "{longer}"
    );
    let cut = trainer(4, &fields).resumed(&checkpoint[..checkpoint.len() / 2]);
    assert!(matches!(cut, Err(DenseError::Checkpoint(_))));
}

#[test]
fn what_can_not_be_trained_is_refused_by_name() {
    let start = |options: DenseOptions, fields: Fields| {
        DetectorTrainer::new(TASK, options, fields, &device(), None)
            .unwrap_err()
            .to_string()
    };
    let bad = DenseOptions {
        side: 100,
        ema: 1.0,
        epochs: 0,
        ..options(1)
    };
    let text = start(bad, fields(1));
    for part in ["side is 100", "ema is 1", "epochs is 0"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(start(options(1), Arc::default()).contains("no field"));
    let empty = Field {
        truth: Vec::new(),
        ..field(64, 64, 1, 1)
    };
    assert!(start(options(1), Arc::new(vec![empty])).contains("none of the 1 fields"));
}

#[test]
fn files_that_are_no_detector_are_refused() {
    let trainer = trainer(1, &fields(1));
    let bytes = trainer.detector(0.5).unwrap().to_bytes().unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        assert!(
            Detector::from_bytes(&bytes[..cut], &device()).is_err(),
            "{cut}"
        );
    }
    // The description says more than a network may have; its length stays.
    let needle = b"\\\"width\\\":16";
    let at = bytes.windows(needle.len()).position(|it| it == needle);
    let mut wide = bytes.clone();
    wide[at.unwrap()..][..needle.len()].copy_from_slice(b"\\\"width\\\":99");
    let refused = Detector::from_bytes(&wide, &device()).unwrap_err();
    assert!(
        refused.to_string().contains("the network needs"),
        "{refused}"
    );
}
