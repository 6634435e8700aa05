//! Segmenters from their training to their cells.

use super::{
    LabelledCells, Preparation, SegmentOptions, Segmentation, Segmenter, SegmenterLoss,
    SegmenterNetwork, SegmenterTask, SegmenterTrainer,
};
use crate::dense::{DenseError, DenseOptions, Field, Picture};
use crate::detector::Tiles;
use crate::device::{Device, OpenDevice};
use crate::models::{Family, Scale};
use crate::rng::{Purpose, Rng};
use crate::state::FileError;
use std::ops::ControlFlow;

fn cpu() -> OpenDevice {
    Device::Cpu.open().unwrap()
}

const TASK: SegmenterTask = SegmenterTask {
    network: SegmenterNetwork::UNet {
        scale: Scale::Small,
        depth: 2,
    },
    n_classes: 2,
    preparation: Preparation::Stretch,
    loss: SegmenterLoss {
        cross_entropy: 1.0,
        dice: 1.0,
        focal: 0.0,
        focal_gamma: 2.0,
        focal_alpha: 0.5,
        depth: 5.0,
        depth_outside: 0.2,
    },
};

fn options(epochs: u32) -> DenseOptions {
    DenseOptions {
        epochs,
        batch: 1,
        side: 64,
        learning_rate: 1e-2,
        warm_up_epochs: 0.0,
        scale_jitter: 0.0,
        ema: 0.9,
        ..DenseOptions::default()
    }
}

/// A disc: its middle, its radius and its class.
type Disc = (f32, f32, f32, usize);

/// Noise with discs, of the first class red, of the second blue. Discs touch, and no line parts them.
fn painted(width: usize, height: usize, discs: &[Disc], seed: u64) -> Field<LabelledCells> {
    let mut rng = Rng::new(seed, Purpose::Synthetic, [0, 0]);
    let (mut pixels, mut ids) = (Vec::new(), Vec::new());
    for at in 0..width * height {
        let (x, y) = ((at % width) as f32, (at / width) as f32);
        let away = |it: &Disc| (x - it.0).hypot(y - it.1) / it.2;
        let nearest = (0..discs.len()).min_by(|a, b| away(&discs[*a]).total_cmp(&away(&discs[*b])));
        let inside = nearest.filter(|it| away(&discs[*it]) < 1.0);
        ids.push(inside.map_or(0, |it| it as u16 + 1));
        let ground = 60 + rng.below(30) as u8;
        let mut pixel = [ground; 3];
        if let Some(it) = inside {
            pixel[2 * discs[it].3] = 200;
        }
        pixels.extend(pixel);
    }
    Field {
        picture: Picture::new(width, height, pixels).unwrap(),
        truth: LabelledCells::new(width, height, ids, |id| discs[usize::from(id) - 1].3).unwrap(),
    }
}

const DISCS: [&[Disc]; 2] = [
    &[
        (20.0, 20.0, 11.0, 0),
        (41.0, 20.0, 11.0, 0),
        (30.0, 50.0, 9.0, 1),
    ],
    &[
        (15.0, 40.0, 10.0, 1),
        (34.0, 40.0, 10.0, 1),
        (50.0, 14.0, 8.0, 0),
    ],
];

fn fields() -> Vec<Field<LabelledCells>> {
    let two = DISCS.iter().zip(0..);
    two.map(|(discs, seed)| painted(64, 64, discs, seed))
        .collect()
}

fn trainer(epochs: u32) -> SegmenterTrainer {
    SegmenterTrainer::new(TASK, options(epochs), fields(), &cpu(), None).unwrap()
}

fn epoch(trainer: &mut SegmenterTrainer) {
    let trained = trainer.epoch(&mut |_| ControlFlow::Continue(()));
    trained.unwrap().unwrap();
}

fn trained(epochs: u32) -> Segmenter {
    let mut trainer = trainer(epochs);
    while !trainer.is_finished() {
        epoch(&mut trainer);
    }
    trainer.segmenter(1.0).unwrap()
}

fn segmented(it: &mut Segmenter, picture: &Picture, tiles: &Tiles) -> Segmentation {
    it.segment(picture, tiles, &SegmentOptions::default())
        .unwrap()
}

#[test]
fn two_pictures_are_learned_and_touching_cells_parted_and_told_apart() {
    let mut segmenter = trained(80);
    for (field, discs) in fields().iter().zip(DISCS) {
        let found = segmented(&mut segmenter, &field.picture, &Tiles::default());
        let at = |it: &Disc| found.labels[it.1 as usize * 64 + it.0 as usize] as usize;
        let mut cells: Vec<usize> = discs.iter().map(at).collect();
        for (cell, disc) in cells.iter().zip(discs) {
            let cell = found.cells[cell - 1];
            let area = std::f32::consts::PI * disc.2 * disc.2;
            assert_eq!(cell.class, disc.3);
            assert!(
                (0.8..1.2).contains(&(cell.area as f32 / area)),
                "{cell:?} {disc:?}"
            );
            assert!(cell.probability > 0.7);
        }
        cells.sort_unstable();
        assert_eq!(cells, [1, 2, 3]);
        assert_eq!(found.cells.len(), 3);
    }
}

#[test]
fn tiles_give_what_the_whole_gives() {
    let mut segmenter = trained(20);
    let discs: Vec<Disc> = (0..24)
        .map(|it| {
            (
                15.0 + (it % 6) as f32 * 26.0,
                15.0 + (it / 6) as f32 * 30.0,
                12.0,
                it % 2,
            )
        })
        .collect();
    let field = painted(192, 128, &discs, 5);
    let whole = segmented(&mut segmenter, &field.picture, &Tiles::default());
    // Tiles begin at multiples of what the network halves, as the whole does.
    let tiles = Tiles {
        side: 128,
        overlap: 64,
    };
    assert_eq!(segmented(&mut segmenter, &field.picture, &tiles), whole);
    assert!(whole.cells.len() > 5);
}

#[test]
fn a_file_comes_back_as_it_went_and_what_cant_be_is_refused() {
    let mut segmenter = trained(2);
    let bytes = segmenter.to_bytes().unwrap();
    let mut again = Segmenter::from_bytes(&bytes, &cpu()).unwrap();
    assert_eq!(again.spec(), segmenter.spec());
    assert_eq!(again.to_bytes().unwrap(), bytes);
    let picture = &fields()[0].picture;
    let tiles = Tiles::default();
    let found = segmented(&mut segmenter, picture, &tiles);
    assert_eq!(segmented(&mut again, picture, &tiles), found);
    let refused = |bytes: &[u8]| Segmenter::from_bytes(bytes, &cpu()).unwrap_err();
    let cut = refused(&bytes[..bytes.len() / 2]);
    assert!(matches!(cut, FileError::Malformed { .. }));
    let other = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "the header's length stays");
        let at = bytes
            .windows(from.len())
            .position(|it| it == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("the file says {from}"));
        let mut bytes = bytes.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        refused(&bytes)
    };
    let version = other(r#"segmenter\":1"#, r#"segmenter\":7"#);
    assert!(version.to_string().contains("version is 7"), "{version}");
    let depth = other(r#"depth\":2"#, r#"depth\":9"#);
    assert!(depth.to_string().contains("depth is 9"), "{depth}");
    let classes = other(r#"n_classes\":2"#, r#"n_classes\":0"#);
    assert!(classes.to_string().contains("n_classes is 0"), "{classes}");
    assert!(matches!(
        other(r#"depth\":2"#, r#"depth\":3"#),
        FileError::Missing { .. }
    ));
    let kind = other("unet", "tree");
    assert!(matches!(kind, FileError::Description { .. }));
}

#[test]
fn a_training_that_went_on_gives_the_bits_of_one_that_never_stopped() {
    let mut whole = trainer(4);
    let mut first = trainer(4);
    for _ in 0..2 {
        epoch(&mut whole);
        epoch(&mut first);
    }
    let mut second = trainer(4).resumed(&first.checkpoint().unwrap()).unwrap();
    for _ in 0..2 {
        epoch(&mut whole);
        epoch(&mut second);
    }
    assert_eq!(
        second.checkpoint().unwrap().len(),
        whole.checkpoint().unwrap().len()
    );
    let bytes = |it: &SegmenterTrainer| it.segmenter(1.0).unwrap().to_bytes().unwrap();
    assert_eq!(bytes(&second), bytes(&whole));
    let others = vec![painted(64, 64, DISCS[0], 9), painted(64, 64, DISCS[1], 9)];
    let other = SegmenterTrainer::new(TASK, options(4), others, &cpu(), None).unwrap();
    let refused = other.resumed(&first.checkpoint().unwrap()).unwrap_err();
    assert!(matches!(refused, DenseError::OtherTraining { .. }));
}

#[test]
fn labels_that_dont_fit_are_told_before_anything_is_computed() {
    let mut wrong = fields();
    wrong[0].truth = LabelledCells::new(2, 2, vec![0; 4], |_| 0).unwrap();
    wrong[1].truth = LabelledCells::new(64, 64, vec![1; 64 * 64], |_| 2).unwrap();
    let refused = SegmenterTrainer::new(TASK, options(1), wrong, &cpu(), None).unwrap_err();
    let DenseError::Options { problems } = refused else {
        panic!("{refused}")
    };
    assert_eq!(problems.len(), 2);
    assert!(problems[1].contains("a cell is of class 2, there are 2"));
}

#[test]
fn a_family_on_the_way_down_learns_as_well() {
    let task = SegmenterTask {
        network: SegmenterNetwork::Family {
            family: Family::Vgg16,
            scale: Scale::Small,
            width: 16,
        },
        ..TASK
    };
    let it = DenseOptions {
        learning_rate: 2e-4,
        ..options(3)
    };
    let mut trainer = SegmenterTrainer::new(task, it, fields(), &cpu(), None).unwrap();
    for _ in 0..3 {
        epoch(&mut trainer);
    }
    let losses: Vec<f64> = trainer.reports().iter().map(|it| it.train_loss).collect();
    assert!(losses[2] < losses[0], "{losses:?}");
    let bytes = trainer.segmenter(0.5).unwrap().to_bytes().unwrap();
    let segmenter = Segmenter::from_bytes(&bytes, &cpu()).unwrap();
    assert_eq!(
        (segmenter.spec().task, segmenter.seen_length(101)),
        (task, 51)
    );
}
