//! Labels are a function of what lies there, whatever the order in which it came.

use cellmill_core::keys::ObjectKey;
use cellmill_core::label::{LabelDocument, fold};

use crate::lab::{Mill, picture};

const IMAGE: &str = "img/b/c/Images/a.png";
const CSV: &str = "csv/b/2019-7-22/c/a.csv";
const LATER: &str = "csv/b/2019-10-1/c/a.csv";

async fn cells(mill: &Mill) -> Vec<(u32, u32, u32)> {
    let key = ObjectKey::Label(IMAGE.parse().unwrap());
    let label = mill
        .store
        .read::<LabelDocument>(&key)
        .await
        .unwrap()
        .expect("a label")
        .value;
    fold(&label)
        .cells
        .iter()
        .map(|it| (it.place.x, it.place.y, it.class))
        .collect()
}

enum Step {
    Image,
    First,
    Corrected,
    Later,
}
use Step::{Corrected, First, Image, Later};

async fn play(steps: &[Step], turn_between: bool, seed: u64) -> Vec<(u32, u32, u32)> {
    let mut mill = Mill::new(seed, 2);
    for step in steps {
        match step {
            Image => mill.put(IMAGE, picture(0)).await,
            First => {
                mill.put(CSV, b"X,Y,Type\n10,20,7\n30,40,2\n".to_vec())
                    .await;
            }
            Corrected => mill.put(CSV, b"X,Y,Type\n30,40,3\n".to_vec()).await,
            Later => mill.put(LATER, b"X,Y,Type\n50,60,1\n".to_vec()).await,
        }
        if turn_between {
            mill.turn().await;
        }
    }
    mill.turn().await;
    cells(&mill).await
}

#[tokio::test]
async fn a_csv_may_come_before_its_image_and_be_corrected_at_any_time() {
    for seed in 0..5 {
        for turn_between in [false, true] {
            for steps in [
                [Image, First, Corrected].as_slice(),
                &[First, Image, Corrected],
                &[First, Corrected, Image],
            ] {
                assert_eq!(play(steps, turn_between, seed).await, [(30, 40, 3)]);
            }
        }
    }
}

#[tokio::test]
async fn the_latest_date_stands_whichever_came_first() {
    for steps in [
        [Image, First, Later].as_slice(),
        &[Later, Image, First],
        &[First, Later, Image],
    ] {
        assert_eq!(play(steps, true, 1).await, [(50, 60, 1)]);
    }
}
