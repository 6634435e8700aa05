//! Small painted images through the whole algorithm, and the plans against second definitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::boxes::{BBox, square_crop};
use cellmill_core::cell_name::CellName;
use cellmill_core::document::Stamp;
use cellmill_core::formats::{CellsList, CellsListRow};
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{DataParameters, DataType, JobEvent, JobParameters, JobRecord};
use cellmill_core::keys::{DatasetFile, ImageKey, JobKind, ObjectKey, UnitKey};
use cellmill_core::messages::UnitClass;
use cellmill_core::records::ActiveMark;
use cellmill_core::snapshot::{InputImage, Point, UnitInput};
use cellmill_core::unit::{Output, UnitRecord, UnitState};
use cellmill_queue::{MemoryQueue, Queue, hints};
use cellmill_store::{Put, Store};
use cellmill_vision::pack::PackIndex;
use cellmill_vision::{Limits, RgbImage, crop, decode, encode_png, read_source};
use cellmill_worker::{
    Algorithm as _, Context, Failure, Outcome, Parts, Unit, WorkerLoop, fresh_id,
};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{Cut, DataAlgorithm, Found, by_both, by_points};
use crate::tests::bench;

const SIZE: u32 = 100;

/// Stained cells on a bright field: disks of 36 pixels across.
fn smear(width: u32, height: u32, centers: &[(u32, u32)]) -> RgbImage {
    let mut image = RgbImage::filled(width, height, [240, 232, 236]);
    for &(cx, cy) in centers {
        for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
            if x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) <= 18 * 18 {
                image.set_pixel(x, y, [120, 60, (x % 7) as u8 + 130]);
            }
        }
    }
    image
}

fn point(x: u32, y: u32, class: u32) -> Point {
    Point {
        x,
        y,
        class,
        bbox: None,
        duplicate: false,
    }
}

/// A store with images and the frozen input of one unit.
struct Lab {
    store: Store,
    images: Vec<InputImage>,
    parameters: DataParameters,
}

impl Lab {
    fn new(data_type: DataType) -> Self {
        let parameters = DataParameters {
            data_type,
            size: SIZE,
            ..DataParameters::default()
        };
        Self {
            store: Store::memory(),
            images: Vec::new(),
            parameters,
        }
    }

    async fn add(&mut self, image: &RgbImage, points: Vec<Point>) -> InputImage {
        let key = format!("img/20190523/18.1/Images/IMG_{:03}.png", self.images.len());
        let key: ImageKey = key.parse().unwrap();
        let bytes = encode_png(image);
        let input = InputImage {
            key: key.to_path(),
            imgid: key.number(),
            sha256: sha256_hex(&bytes),
            w: image.width,
            h: image.height,
            batch: key.batch.to_string(),
            case: key.case.to_string(),
            name: key.name.to_string(),
            label_rev: None,
            points,
            image_class: None,
            part: None,
        };
        self.store
            .put_bytes(&input.key, bytes, Put::Create)
            .await
            .unwrap();
        self.images.push(input.clone());
        input
    }

    fn unit(&self) -> Unit {
        let dir = Dir::parse("DkxD9Kjl").unwrap();
        let parameters = JobParameters::Data(self.parameters.clone());
        let by = "local".to_owned();
        let job = JobRecord::accepted(
            dir.clone(),
            1,
            parameters,
            UnitClass::cpu(),
            by,
            self.store.now(),
        );
        Unit {
            key: UnitKey {
                dir,
                kind: JobKind::Data,
                unit: 0,
            },
            attempt: 1,
            job,
            checkpoints: Vec::new(),
        }
    }

    async fn freeze(&self, unit: &Unit) {
        let input = UnitInput {
            v: 1,
            unit: 0,
            images: self.images.clone(),
        };
        let key = ObjectKey::Dataset(unit.key.dir.clone(), DatasetFile::Input { unit: 0 });
        self.store
            .put_bytes(&key, input.to_bytes(), Put::Overwrite)
            .await
            .unwrap();
    }

    async fn try_run(&self, algorithm: &DataAlgorithm) -> (Result<Outcome, Failure>, Context) {
        let unit = self.unit();
        self.freeze(&unit).await;
        let mut context = Context::unsupervised(self.store.clone(), &unit);
        (algorithm.run(&unit, &mut context).await, context)
    }

    async fn run(&self) -> Cells {
        let (outcome, context) = self.try_run(&algorithm()).await;
        Cells::read(&self.store, outcome.unwrap().outputs, context).await
    }
}

fn algorithm() -> DataAlgorithm {
    DataAlgorithm::new(&bench())
}

/// What a unit left.
struct Cells {
    outputs: Vec<Output>,
    table: Bytes,
    rows: Vec<CellsListRow>,
    /// The entries of all packs.
    packed: BTreeMap<String, Vec<u8>>,
    rejected: Vec<(String, String)>,
}

impl Cells {
    async fn read(store: &Store, outputs: Vec<Output>, context: Context) -> Self {
        let table = store.get_bytes(&outputs[0].key).await.unwrap();
        let rows = CellsList::new(&table[..])
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut packed = BTreeMap::new();
        for output in outputs.iter().filter(|it| it.name == "pack") {
            let bytes = store.get_bytes(&output.key).await.unwrap();
            assert_eq!(sha256_hex(&bytes), output.sha256);
            assert!(
                output
                    .key
                    .contains(&format!("packs/00000-{}.zip", &output.sha256[..16])),
                "{}",
                output.key
            );
            let index = PackIndex::of(&bytes).unwrap();
            for entry in index.entries() {
                let range = entry.range();
                let body = entry
                    .body(&bytes[range.start as usize..range.end as usize])
                    .unwrap()
                    .to_vec();
                assert!(
                    packed.insert(entry.name.clone(), body).is_none(),
                    "{} is packed twice",
                    entry.name
                );
            }
        }
        let rejected = context
            .rejected_inputs()
            .into_iter()
            .map(|it| (it.key, it.code))
            .collect();
        Self {
            outputs,
            table,
            rows,
            packed,
            rejected,
        }
    }

    /// Every row has its picture under its name, and every picture shows exactly the pixels of its row.
    fn check_pictures(&self, image: &RgbImage, input: &InputImage) {
        let rows: Vec<_> = self
            .rows
            .iter()
            .filter(|it| it.imgid == Some(input.imgid))
            .collect();
        for row in rows {
            let name = row.cellpath.rsplit('/').next().unwrap();
            let parsed = CellName::parse(name).unwrap();
            assert_eq!(
                (parsed.crop, Some(parsed.kernel), parsed.class),
                (row.crop, row.kernel, row.celltype)
            );
            let png = &self.packed[name];
            assert_eq!(read_source(png).unwrap(), input.sha256);
            let shown = decode(png, &Limits::default()).unwrap().image;
            assert_eq!(shown, crop(image, row.crop).unwrap());
        }
    }

    fn names(&self) -> BTreeSet<&str> {
        self.rows
            .iter()
            .map(|it| it.cellpath.rsplit('/').next().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn type_1_cuts_a_cell_at_every_point() {
    let mut lab = Lab::new(DataType::Points);
    let image = smear(400, 300, &[(150, 150)]);
    let given = BBox::new(130, 132, 171, 170);
    let points = vec![
        Point {
            bbox: Some(given),
            ..point(150, 150, 7)
        },
        point(10, 295, 2),
        Point {
            duplicate: true,
            ..point(150, 150, 7)
        },
        point(150, 150, 3),
    ];
    let input = lab.add(&image, points).await;
    let cells = lab.run().await;

    let seen: Vec<_> = cells
        .rows
        .iter()
        .map(|it| (it.crop, it.kernel.unwrap(), it.celltype, it.duplicate))
        .collect();
    let (center, corner) = (BBox::new(100, 100, 200, 200), BBox::new(0, 200, 100, 300));
    assert_eq!(
        seen,
        [
            (center, given, 7, false),
            (corner, BBox::new(0, 245, 60, 300), 2, false),
            (center, given, 7, true),
            (center, center, 3, false),
        ]
    );
    assert_eq!(
        cells.rows[2].cellpath, cells.rows[0].cellpath,
        "one picture for both"
    );
    assert_eq!(
        cells.rows[1].cellpath,
        format!(
            "scratch/20190523/18.1/cells/20190523.18%2E1.{}.IMG_000.png_1_100_1_0_0_200_100_300_2_0_245_60_300.png",
            input.imgid
        )
    );
    assert_eq!(
        cells
            .packed
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        cells.names()
    );
    assert_eq!(cells.packed.len(), 3);
    cells.check_pictures(&image, &input);
    for row in &cells.rows {
        let loose = lab.store.get_bytes(&row.cellpath).await.unwrap();
        assert_eq!(
            loose,
            cells.packed[row.cellpath.rsplit('/').next().unwrap()]
        );
    }
}

#[tokio::test]
async fn without_cache_nothing_lies_loose() {
    let mut lab = Lab::new(DataType::Points);
    lab.parameters.cache = false;
    lab.parameters.gray = false;
    lab.add(&smear(200, 200, &[(100, 100)]), vec![point(100, 100, 1)])
        .await;
    let cells = lab.run().await;
    assert!(
        cells.rows[0]
            .cellpath
            .contains("_0_100_1_0_50_50_150_150_1_"),
        "{}",
        cells.rows[0].cellpath
    );
    assert!(
        lab.store
            .head(&cells.rows[0].cellpath)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(cells.packed.len(), 1);
}

#[tokio::test]
async fn an_image_smaller_than_a_crop_gives_the_largest_square() {
    let mut lab = Lab::new(DataType::Points);
    let image = smear(80, 60, &[(40, 30)]);
    let input = lab
        .add(&image, vec![point(5, 5, 1), point(70, 50, 1)])
        .await;
    let cells = lab.run().await;
    let crops: Vec<BBox> = cells.rows.iter().map(|it| it.crop).collect();
    assert_eq!(crops, [BBox::new(0, 0, 60, 60), BBox::new(20, 0, 80, 60)]);
    cells.check_pictures(&image, &input);
}

#[tokio::test]
async fn type_0_finds_every_cell_once_and_names_none() {
    let centers = [(60, 60), (200, 90), (330, 220), (110, 240)];
    let mut lab = Lab::new(DataType::Detect);
    let image = smear(400, 300, &centers);
    let input = lab.add(&image, vec![point(60, 60, 7)]).await;
    let cells = lab.run().await;
    assert_eq!(cells.rows.len(), centers.len());
    for (cx, cy) in centers.map(|(x, y)| (f64::from(x), f64::from(y))) {
        let near = |row: &&CellsListRow| {
            let (x, y) = row.kernel.unwrap().center();
            (x - cx).hypot(y - cy) < 4.0
        };
        let row = cells.rows.iter().find(near).unwrap();
        let (x, y) = row.kernel.unwrap().center();
        assert_eq!(row.crop, square_crop(x, y, SIZE, 400, 300));
        assert_eq!(row.celltype, 100);
        assert!(
            (30..=44).contains(&row.kernel.unwrap().width()),
            "the detection itself, not the crop"
        );
    }
    cells.check_pictures(&image, &input);
}

#[tokio::test]
async fn type_2_keeps_detections_that_a_point_confirms() {
    let centers = [(60, 60), (200, 90), (330, 220), (110, 240)];
    let points = vec![
        point(65, 58, 7),
        point(201, 90, 2),
        point(300, 30, 3),
        point(330, 245, 8),
        point(70, 60, 9),
    ];
    let mut lab = Lab::new(DataType::Both);
    let image = smear(400, 300, &centers);
    let input = lab.add(&image, points.clone()).await;
    let cells = lab.run().await;
    // One detection for two points: the closer one has it. One point on nothing, one 25 px off.
    assert_eq!(
        cells.rows.iter().map(|it| it.celltype).collect::<Vec<_>>(),
        [7, 2]
    );
    cells.check_pictures(&image, &input);

    lab.parameters.data_type = DataType::Detect;
    let all: Vec<BBox> = lab
        .run()
        .await
        .rows
        .iter()
        .map(|it| it.kernel.unwrap())
        .collect();
    lab.parameters.data_type = DataType::Both;
    let again = naive_pairs(&input, &all, 20);
    assert_eq!(
        cells
            .rows
            .iter()
            .map(|it| (it.kernel.unwrap(), it.celltype))
            .collect::<Vec<_>>(),
        again
    );

    lab.parameters.match_iou = Some(0.1);
    let by_overlap = lab.run().await;
    assert_eq!(
        by_overlap
            .rows
            .iter()
            .map(|it| it.celltype)
            .collect::<Vec<_>>(),
        [7, 2, 8],
        "the boxes overlap"
    );
}

/// Type 2 by its sentence, exhaustively: of all free pairs below the radius the closest, again and again.
fn naive_pairs(image: &InputImage, found: &[BBox], radius: u32) -> Vec<(BBox, u32)> {
    let mut left: Vec<(usize, &Point)> = image
        .points
        .iter()
        .enumerate()
        .filter(|(_, it)| !it.duplicate)
        .collect();
    let mut free: Vec<(usize, BBox)> = found.iter().copied().enumerate().collect();
    let mut taken = Vec::new();
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for &(p, point) in &left {
            for &(d, bbox) in &free {
                let dx = f64::from(bbox.x1 + bbox.x2) / 2.0 - f64::from(point.x);
                let dy = f64::from(bbox.y1 + bbox.y2) / 2.0 - f64::from(point.y);
                let distance = (dx * dx + dy * dy).sqrt();
                let candidate = (distance, p, d);
                if distance < f64::from(radius) && best.is_none_or(|it| candidate < it) {
                    best = Some(candidate);
                }
            }
        }
        let Some((_, p, d)) = best else { break };
        left.retain(|it| it.0 != p);
        free.retain(|it| it.0 != d);
        taken.push((p, (found[d], image.points[p].class)));
    }
    taken.sort_by_key(|it| it.0);
    taken.into_iter().map(|it| it.1).collect()
}

proptest! {
    #[test]
    fn every_pair_of_type_2_is_that_of_the_naive_definition(
        points in prop::collection::vec((0u32..200, 0u32..150, 1u32..9, any::<bool>()), 0..25),
        found in prop::collection::vec((0u32..180, 0u32..130, 1u32..20, 1u32..20), 0..25),
        radius in 1u32..60,
    ) {
        let points = points.into_iter().map(|(x, y, class, duplicate)| Point { duplicate, ..point(x, y, class) });
        let image = bare_image(200, 150, points.collect());
        let found: Vec<BBox> = found.into_iter().map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h)).collect();
        let parameters = DataParameters { match_radius: radius, ..DataParameters::default() };
        let seen: Vec<Found> = found
            .iter()
            .map(|&bbox| Found { bbox, class: 100, score: 1.0 })
            .collect();
        let cuts = by_both(&image, &seen, &parameters);
        let pairs: Vec<_> = cuts.iter().map(|it| (it.kernel, it.class)).collect();
        prop_assert_eq!(pairs, naive_pairs(&image, &found, radius));
    }

    #[test]
    fn every_point_in_an_image_is_a_row_with_boxes_inside(
        w in 2u32..300,
        h in 2u32..300,
        size in 0u32..150,
        places in prop::collection::vec((0.0..1.0f64, 0.0..1.0f64, 1u32..4), 0..30),
    ) {
        let at = |part: f64, side: u32| (part * f64::from(side)) as u32;
        let points = places.iter().map(|&(x, y, class)| point(at(x, w), at(y, h), class)).collect();
        let image = bare_image(w, h, points);
        let cuts = by_points(&image, size);
        prop_assert_eq!(cuts.len(), places.len());
        for (idx, cut) in cuts.iter().enumerate() {
            prop_assert!(cut.crop.fits(w, h) && cut.kernel.fits(w, h));
            let same = |it: &Cut| (it.crop, it.kernel, it.class) == (cut.crop, cut.kernel, cut.class);
            prop_assert_eq!(cut.duplicate, cuts[..idx].iter().any(same));
        }
    }
}

fn bare_image(w: u32, h: u32, points: Vec<Point>) -> InputImage {
    let (batch, case, name) = ("b".to_owned(), "c".to_owned(), "a.png".to_owned());
    let (key, sha256) = ("img/b/c/Images/a.png".to_owned(), String::new());
    InputImage {
        key,
        imgid: 1,
        sha256,
        w,
        h,
        batch,
        case,
        name,
        label_rev: None,
        points,
        image_class: None,
        part: None,
    }
}

#[tokio::test]
async fn type_3_takes_whole_images_that_have_a_class() {
    let mut lab = Lab::new(DataType::WholeImage);
    let image = smear(300, 200, &[(100, 100)]);
    lab.add(&image, Vec::new()).await;
    lab.add(&image, Vec::new()).await;
    lab.images[1].image_class = Some(302);
    let cells = lab.run().await;
    let [row] = &cells.rows[..] else {
        panic!("{:?}", cells.rows)
    };
    assert_eq!((row.celltype, row.crop), (302, BBox::new(0, 0, 300, 200)));
    let name = row.cellpath.rsplit('/').next().unwrap();
    let shown = decode(&cells.packed[name], &Limits::default())
        .unwrap()
        .image;
    assert_eq!((shown.width, shown.height), (SIZE, SIZE), "a square");
}

#[tokio::test]
async fn equal_input_gives_equal_outputs_with_and_without_a_cache() {
    let mut outputs = Vec::new();
    for _ in 0..2 {
        let mut lab = Lab::new(DataType::Points);
        let first = lab
            .add(
                &smear(300, 200, &[(100, 100)]),
                vec![point(100, 100, 1), point(20, 20, 2)],
            )
            .await;
        lab.add(&smear(200, 300, &[(90, 100)]), vec![point(90, 100, 5)])
            .await;
        outputs.push(lab.run().await.outputs);
        // Now from loose pictures only: the image itself is gone.
        lab.store.delete(&first.key).await.unwrap();
        outputs.push(lab.run().await.outputs);
    }
    assert!(outputs.iter().all(|it| *it == outputs[0]), "{outputs:#?}");
}

#[tokio::test]
async fn a_broken_or_foreign_loose_picture_is_cut_again() {
    let mut lab = Lab::new(DataType::Points);
    let image = smear(300, 200, &[(100, 100)]);
    lab.add(&image, vec![point(100, 100, 1), point(200, 100, 2)])
        .await;
    let good = lab.run().await;
    let (key, other) = (&good.rows[0].cellpath, &good.rows[1].cellpath);
    let picture = lab.store.get_bytes(key).await.unwrap();
    let foreign = encode_png(&crop(&image, good.rows[0].crop).unwrap());
    let of_another_place = lab.store.get_bytes(other).await.unwrap();
    assert_ne!(picture, of_another_place);
    for bad in [
        picture.slice(..picture.len() - 20),
        Bytes::from(foreign),
        Bytes::new(),
    ] {
        lab.store.put_bytes(key, bad, Put::Overwrite).await.unwrap();
        let again = lab.run().await;
        assert_eq!(again.outputs, good.outputs);
        assert_eq!(lab.store.get_bytes(key).await.unwrap(), picture, "mended");
    }
}

#[tokio::test]
async fn a_bad_image_is_left_out_and_the_others_go_on() {
    let mut lab = Lab::new(DataType::Points);
    let image = smear(200, 200, &[(100, 100)]);
    let mut inputs = Vec::new();
    for _ in 0..4 {
        inputs.push(lab.add(&image, vec![point(100, 100, 1)]).await);
    }
    let other = encode_png(&smear(200, 200, &[]));
    lab.store
        .put_bytes(&inputs[0].key, other, Put::Overwrite)
        .await
        .unwrap();
    lab.store.delete(&inputs[1].key).await.unwrap();
    lab.store
        .put_bytes(&inputs[2].key, "no image", Put::Overwrite)
        .await
        .unwrap();
    lab.images[2].sha256 = sha256_hex(b"no image");
    let cells = lab.run().await;
    let rejected = [(0, "conflict"), (1, "missing"), (2, "unknown_type")];
    assert_eq!(
        cells.rejected,
        rejected.map(|(idx, code)| (inputs[idx].key.clone(), code.to_owned()))
    );
    assert_eq!(cells.rows.len(), 1);
    assert_eq!(cells.rows[0].imgid, Some(inputs[3].imgid));
}

#[tokio::test]
async fn a_unit_without_cells_has_rows_but_no_pack() {
    let mut lab = Lab::new(DataType::Points);
    lab.add(&smear(200, 200, &[]), Vec::new()).await;
    let cells = lab.run().await;
    assert_eq!(cells.outputs.len(), 1);
    assert!(cells.table.starts_with(b"\"batchid\",") && cells.rows.is_empty());
}

#[tokio::test]
async fn a_large_unit_gets_several_packs() {
    let mut lab = Lab::new(DataType::Points);
    let image = smear(400, 300, &[(100, 100)]);
    let input = lab
        .add(
            &image,
            (0..20).map(|i| point(50 + 10 * i, 100, 1)).collect(),
        )
        .await;
    let one = lab.run().await;
    let (outcome, context) = lab.try_run(&algorithm().with_packs_of(4_000)).await;
    let several = Cells::read(&lab.store, outcome.unwrap().outputs, context).await;
    assert_eq!(one.outputs.len(), 2);
    assert!(several.outputs.len() > 3, "{:?}", several.outputs);
    assert_eq!(several.packed, one.packed);
    several.check_pictures(&image, &input);
}

#[tokio::test]
async fn what_no_attempt_can_do_is_permanent() {
    let mut lab = Lab::new(DataType::Detect);
    lab.parameters.mid = 7;
    match lab.try_run(&algorithm()).await.0 {
        Err(Failure::Permanent { what, .. }) => {
            assert!(
                what.contains("model 7 is not there as a detector"),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    }
    let lab = Lab::new(DataType::Points);
    let unit = lab.unit();
    let mut context = Context::unsupervised(lab.store.clone(), &unit);
    let not_frozen = algorithm().run(&unit, &mut context).await;
    assert!(
        matches!(not_frozen, Err(Failure::Permanent { .. })),
        "{not_frozen:?}"
    );
}

#[tokio::test]
async fn a_unit_goes_through_the_loop() {
    let mut lab = Lab::new(DataType::Points);
    lab.add(&smear(200, 200, &[(100, 100)]), vec![point(100, 100, 1)])
        .await;
    let unit = lab.unit();
    lab.freeze(&unit).await;
    let (dir, at) = (&unit.key.dir, lab.store.now());
    let mark = ObjectKey::Active {
        kind: JobKind::Data,
        dir: dir.clone(),
        round: 0,
    };
    lab.store
        .create(
            &mark,
            ActiveMark {
                stamp: Stamp::default(),
                at,
            },
        )
        .await
        .unwrap();
    lab.store
        .create(&ObjectKey::job(JobKind::Data, dir), unit.job.clone())
        .await
        .unwrap();
    let assembled = JobEvent::Assembled {
        units: 1,
        snapshot: "s".to_owned(),
    };
    lab.store
        .change_job(JobKind::Data, dir, assembled, 64)
        .await
        .unwrap();
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(cellmill_queue::Settings::default()));
    hints::send_units(queue.as_ref(), &unit.job, &[0])
        .await
        .unwrap();

    let parts = Parts {
        store: lab.store.clone(),
        queue,
    };
    let options = cellmill_worker::Options::new(fresh_id("test"));
    let worker = WorkerLoop::new(parts, vec![Arc::new(algorithm())], options).unwrap();
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(worker.run(shutdown.clone()));
    let key = ObjectKey::Unit(unit.key.clone());
    let committed = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let read = lab.store.read::<UnitRecord>(&key).await.unwrap();
            if let Some(done) = read.filter(|it| it.value.state == UnitState::Done) {
                return done.value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let names: Vec<String> = committed
        .await
        .unwrap()
        .outputs
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, ["rows", "pack", "log"]);
    shutdown.cancel();
    ended.await.unwrap().unwrap();
}
