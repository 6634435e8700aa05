//! Data sets of each type, from photographs and points to the documented files.

use cellmill_core::formats::DatasetInfo;
use cellmill_core::job::DataType;
use cellmill_core::keys::DatasetFile;
use cellmill_core::snapshot::Snapshot;

use crate::lab::{CELLS, Mill, picture, points};

const IMAGES: u32 = 5;

async fn filled(seed: u64, repeats: usize) -> Mill {
    let mut mill = Mill::new(seed, repeats);
    for n in 0..IMAGES {
        mill.put(&format!("img/b/c{}/Images/i{n}.png", n % 2), picture(n))
            .await;
        mill.put(
            &format!("csv/b/2019-7-22/c{}/i{n}.csv", n % 2),
            points(n).into_bytes(),
        )
        .await;
    }
    mill.turn().await;
    mill
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn type_1_has_a_row_for_every_valid_row_of_the_csvs() {
    let mut mill = filled(1, 1).await;
    let job = mill.submit("Type1Set", DataType::Points).await;
    let job = mill.finish(&job.dir).await;
    let cells = mill.cells(&job.dir).await;
    assert_eq!(cells.len(), IMAGES as usize * 5);
    assert_eq!(
        cells.iter().filter(|it| it.duplicate).count(),
        IMAGES as usize,
        "a repeated row has no crop of its own"
    );
    assert!(
        cells
            .iter()
            .all(|it| it.crop.width() == 100 && it.crop.height() == 100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn type_0_finds_every_disc_and_nothing_else() {
    let mut mill = filled(2, 1).await;
    let job = mill.submit("Type0Set", DataType::Detect).await;
    let job = mill.finish(&job.dir).await;
    let cells = mill.cells(&job.dir).await;
    assert_eq!(cells.len(), IMAGES as usize * CELLS.len());
    assert!(cells.iter().all(|it| it.celltype == 100));
}

/// Written without looking at `core::matching`: for every point and every detection of its image, by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn type_2_pairs_are_one_to_one_with_the_doctors_class() {
    let mut mill = filled(3, 1).await;
    let job = mill.submit("Type2Set", DataType::Both).await;
    let job = mill.finish(&job.dir).await;
    let cells = mill.cells(&job.dir).await;
    assert_eq!(
        cells.len(),
        IMAGES as usize * 4,
        "the fifth disc has no point"
    );
    for n in 0..IMAGES {
        let name = format!("i{n}.png");
        let of_image: Vec<_> = cells.iter().filter(|it| it.imgname == name).collect();
        for (at, (x, y)) in CELLS.iter().take(4).enumerate() {
            let near: Vec<_> = of_image
                .iter()
                .filter(|cell| {
                    let kernel = cell.kernel.expect("type 2 keeps the detection");
                    let dx = f64::from(kernel.x1 + kernel.x2) / 2.0 - f64::from(x + n % 7 + 2);
                    let dy = f64::from(kernel.y1 + kernel.y2) / 2.0 - f64::from(y + 1);
                    dx.hypot(dy) < 20.0
                })
                .collect();
            assert_eq!(near.len(), 1, "point {at} of {name}");
            assert_eq!(near[0].celltype, [1, 2, 3, 7][at]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_files_say_what_the_cells_are() {
    let mut mill = filled(4, 1).await;
    let job = mill.submit("FilesSet", DataType::Points).await;
    let job = mill.finish(&job.dir).await;
    let info2: DatasetInfo =
        serde_json::from_slice(&mill.file(&job.dir, DatasetFile::Info2).await).unwrap();
    assert_eq!(
        (
            info2.labelcnt,
            info2.fovcnt,
            info2.batchcnt,
            info2.medicalcnt
        ),
        (25, 5, 1, 2)
    );
    assert_eq!(info2.cells_crop.len(), 20);
    let info: DatasetInfo =
        serde_json::from_slice(&mill.file(&job.dir, DatasetFile::Info).await).unwrap();
    assert!(info.cells_crop.is_empty() && info.origin_imgs.is_empty());
    assert_eq!(info.types, info2.types);
    let snapshot: Snapshot =
        serde_json::from_slice(&mill.file(&job.dir, DatasetFile::Snapshot).await).unwrap();
    assert!(snapshot.is_intact());
    assert_eq!(Some(snapshot.hash.to_string()), job.snapshot);
    let log = String::from_utf8(mill.file(&job.dir, DatasetFile::Log).await).unwrap();
    assert!(!log.is_empty());
}

/// DESIGN 12.3: any message twice, in any order, leaves the same results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_shuffled_messages_leave_the_same_files() {
    let mut results = Vec::new();
    for (seed, repeats) in [(10, 1), (11, 2), (12, 3)] {
        let mut mill = filled(seed, repeats).await;
        let job = mill.submit("SameSet1", DataType::Both).await;
        let job = mill.finish(&job.dir).await;
        let mut files = Vec::new();
        let of = [
            DatasetFile::CellsList { part: 0 },
            DatasetFile::Info,
            DatasetFile::Info2,
            DatasetFile::FileList,
            DatasetFile::Packs,
            DatasetFile::Snapshot,
        ];
        for file in of {
            files.push(String::from_utf8(mill.file(&job.dir, file).await).unwrap());
        }
        results.push(files);
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_data_set_leaves_out_is_said_in_its_result_and_log() {
    let mut mill = filled(5, 1).await;
    mill.put("img/b/c0/Images/broken.png", picture(0)[..200].to_vec())
        .await;
    mill.turn().await;
    let job = mill.submit("LeftOut1", DataType::Points).await;
    let job = mill.finish(&job.dir).await;
    assert_eq!(job.result.expect("a result")["n_left_out"], 1);
    let log = String::from_utf8(mill.file(&job.dir, DatasetFile::Log).await).unwrap();
    assert!(
        log.contains("img/b/c0/Images/broken.png: rejected: truncated"),
        "{log}"
    );
}
