//! Painted fields through a whole training, and through what it left.

use std::collections::BTreeMap;

use bytes::Bytes;
use cellmill_core::boxes::BBox;
use cellmill_core::formats::{CellImage, InputCell, InputPack, ProjectInput};
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{DataParameters, JobParameters};
use cellmill_core::keys::ModelKind;
use cellmill_core::model::TrainReport;
use cellmill_core::split::SplitRule;
use cellmill_core::training::{DetectorSettings, TrainParameters};
use cellmill_store::{Put, Store};
use cellmill_vision::{RgbImage, encode_png};
use cellmill_worker::Failure;

use crate::algorithms::data::Finder;
use crate::algorithms::train::TrainAlgorithm;
use crate::compute::Threads;
use crate::models::ModelError;
use crate::tests::{Lab, bench, training};

const SIZE: [u32; 2] = [160, 120];
const RADIUS: u32 = 12;
const N_IMAGES: usize = 9;

/// Four discs in a field, red and blue in turn, where `number` says.
fn field(number: usize) -> (RgbImage, Vec<(u32, BBox)>) {
    let mut image = RgbImage::filled(SIZE[0], SIZE[1], [232, 226, 230]);
    let mut cells = Vec::new();
    for at in 0..4_u32 {
        let shift = |step: usize| ((number * step + 7 * at as usize) % 23) as u32;
        let (cx, cy) = (
            30 + 75 * (at % 2) + shift(5),
            26 + 52 * (at / 2) + shift(3) / 2,
        );
        let class = 301 + at % 2;
        let colour = [[190, 60, 70], [70, 60, 185]][at as usize % 2];
        for (x, y) in (0..SIZE[0]).flat_map(|x| (0..SIZE[1]).map(move |y| (x, y))) {
            if x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) <= RADIUS * RADIUS {
                image.set_pixel(x, y, colour);
            }
        }
        let bbox = BBox::new(cx - RADIUS, cy - RADIUS, cx + RADIUS + 1, cy + RADIUS + 1);
        cells.push((class, bbox));
    }
    (image, cells)
}

/// Fields of three cases; the last one's bytes are others than were frozen.
async fn lab() -> Lab {
    let store = Store::memory();
    let mut piece = ProjectInput {
        v: 1,
        packs: vec![InputPack {
            key: "datasets/DkxD9Kjl/packs/none.zip".to_owned(),
            bytes: 0,
        }],
        ..ProjectInput::default()
    };
    for number in 0..=N_IMAGES {
        let (image, cells) = field(number);
        let bytes = encode_png(&image);
        let case = format!("case{}", number % 3);
        let key = format!("img/batch/{case}/Images/{number}.png");
        let sha256 = if number == N_IMAGES {
            sha256_hex(b"other bytes")
        } else {
            sha256_hex(&bytes)
        };
        store.put_bytes(&key, bytes, Put::Create).await.unwrap();
        piece.images.push(CellImage {
            key,
            imgid: number as u64,
            sha256,
            batch: "batch".to_owned(),
            case,
            part: None,
        });
        for (class, kernel) in cells {
            piece.cells.push(InputCell {
                name: format!("{number}_{class}_{}.png", kernel.x1),
                pack: 0,
                image: number as u32,
                class,
                crop: BBox::new(0, 0, 100, 100),
                kernel: Some(kernel),
            });
        }
    }
    let dir = Dir::parse("ek1roy1R").unwrap();
    let lab = Lab {
        store,
        dir,
        pieces: vec![piece],
    };
    lab.freeze().await;
    lab
}

fn parameters(epochs: u32) -> TrainParameters {
    TrainParameters {
        detector: Some(Box::new(DetectorSettings {
            width: 16,
            zoom: Some(1.0),
            side: 64,
            epochs,
            batch: 4,
            ema: 0.9,
            ..DetectorSettings::default()
        })),
        ..training(&[301, 302])
    }
}

async fn train(
    lab: &Lab,
    parameters: TrainParameters,
) -> (
    Result<BTreeMap<String, Bytes>, Failure>,
    Vec<(String, String)>,
) {
    let unit = lab.unit(JobParameters::Train(parameters), 0, 1);
    lab.try_run(&TrainAlgorithm::new(bench()), &unit).await
}

#[tokio::test]
async fn a_detector_is_trained_judged_and_finds_cells() {
    let lab = lab().await;
    let (files, rejected) = train(&lab, parameters(80)).await;
    let files = files.unwrap();
    let conflict = format!("img/batch/case0/Images/{N_IMAGES}.png");
    assert_eq!(rejected, [(conflict, "conflict".to_owned())]);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["curves", "detections", "model", "report", "split"]);
    let report: TrainReport = serde_json::from_slice(&files["report"]).unwrap();
    let card = &report.card;
    assert_eq!(card.kind, ModelKind::Detector);
    assert_eq!(card.file, "modules/detector/100.safetensors");
    let facts = card.detector.as_ref().unwrap();
    let test = facts.test.as_ref().unwrap();
    assert_eq!((test.n_images, test.n_cells), (3, 12));
    assert!(test.ap50 > 0.8 && test.recall > 0.7, "{test:?}");
    assert!(facts.validation.is_some() && facts.zoom.to_bits() == 1.0_f64.to_bits());
    assert_eq!(report.epochs.len(), 80);
    assert!(report.epochs[4].ap50.is_some() && report.epochs[3].ap50.is_none());
    let split = String::from_utf8(files["split"].to_vec()).unwrap();
    assert_eq!(split.lines().count(), 2 + N_IMAGES);
    assert_eq!(split.lines().filter(|it| it.ends_with("test")).count(), 3);

    lab.register(&files).await;
    let bench = bench();
    let finder = Finder::of_mid(100, &bench.models, &lab.store)
        .await
        .unwrap();
    let (image, cells) = field(77);
    for threads in [Threads::All(&bench.compute), Threads::Small(&bench.compute)] {
        let found = finder.find(&image, threads).unwrap();
        let is_found = |(class, bbox): &&(u32, BBox)| {
            let is_it = |it: &&crate::algorithms::data::Found| it.bbox.iou(bbox) > 0.5;
            found
                .iter()
                .find(is_it)
                .is_some_and(|it| it.class == *class)
        };
        assert!(cells.iter().filter(is_found).count() >= 3, "{found:?}");
    }
    // Nothing is as sure as that.
    let sure = DataParameters {
        mid: 100,
        min_score: Some(1.0),
        ..DataParameters::default()
    };
    let sure = Finder::of(&sure, &bench.models, &lab.store).await.unwrap();
    let found = sure.find(&image, Threads::All(&bench.compute)).unwrap();
    assert_eq!(found, []);
    // A detector is no classifier.
    let wrong = bench.models.load(&lab.store, 100).await;
    assert!(matches!(wrong, Err(ModelError::Missing { mid: 100, .. })));
}

#[tokio::test]
async fn the_same_training_gives_the_same_bytes() {
    let lab = lab().await;
    let (first, _) = train(&lab, parameters(2)).await;
    let (second, _) = train(&lab, parameters(2)).await;
    assert_eq!(first.unwrap(), second.unwrap());
}

#[tokio::test]
async fn what_can_not_be_trained_is_refused_with_the_reason() {
    let lab = lab().await;
    let refused = async |parameters: TrainParameters| match train(&lab, parameters).await.0 {
        Err(Failure::Permanent { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let bad = DetectorSettings {
        family: "yolo".to_owned(),
        ..*parameters(2).detector.unwrap()
    };
    let what = refused(TrainParameters {
        detector: Some(Box::new(bad)),
        ..parameters(2)
    })
    .await;
    assert!(what.contains("family is `yolo`"), "{what}");
    let what = refused(TrainParameters {
        split: SplitRule::Cases {
            test: vec!["nosuch".to_owned()],
        },
        ..parameters(2)
    })
    .await;
    assert!(what.contains("nosuch"), "{what}");
}
