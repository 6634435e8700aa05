//! The commands over small files: what they say, and what they refuse.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cellmill_vision::{LabelImage, encode_labels};
use clap::Parser as _;
use tempfile::TempDir;

use crate::cli::{Cli, Console, Error};

/// What a command wrote.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a command line in which `DIR` is a folder.
async fn run(folder: &TempDir, line: &str) -> Result<String, Error> {
    let dir = folder.path().to_str().unwrap();
    let words: Vec<String> = line.split(' ').map(|it| it.replace("DIR", dir)).collect();
    let cli = Cli::try_parse_from(std::iter::once("cellmill".to_owned()).chain(words)).unwrap();
    let out = Captured::default();
    let mut console = Console::captured(cli.json, Box::new(out.clone()));
    Box::pin(cli.run(&mut console)).await?;
    let bytes = out.0.lock().unwrap().clone();
    Ok(String::from_utf8(bytes).unwrap())
}

fn write(folder: &TempDir, path: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two images of one case: two red cells and a white one; nothing. A third that nobody looked at.
fn layout() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        &folder,
        "csv/b1/20240101/c1/x.csv",
        "X,Y,Type,x1,y1,x2,y2,Label\n15,15,301,10,10,20,20,RBC\n15,15,301,10,10,20,20,RBC\n\
         45,15,301,40,10,50,20,RBC\n75,15,302,70,10,80,20,WBC\n",
    );
    // An older one that the newer one replaces.
    write(
        &folder,
        "csv/b1/20230101/c1/x.csv",
        "X,Y,Type,x1,y1,x2,y2\n5,5,303,0,0,9,9\n",
    );
    write(
        &folder,
        "csv/b1/20240101/c1/y.csv",
        "X,Y,Type,x1,y1,x2,y2\n",
    );
    for name in ["x", "y", "z"] {
        write(&folder, &format!("img/b1/c1/Images/{name}.JPG"), "");
    }
    write(
        &folder,
        "classes.json",
        r#"{"ids": {"RBC": 301, "WBC": 302}}"#,
    );
    write(
        &folder,
        "found.json",
        r#"[{"image": "img/b1/c1/Images/x.JPG", "x1": 10, "y1": 10, "x2": 20, "y2": 20, "class": "rbc", "score": 0.9},
            {"image": "x.JPG", "x1": 41, "y1": 10, "x2": 51, "y2": 20, "class": 301, "score": 0.8},
            {"image": "x", "x1": 70, "y1": 10, "x2": 80, "y2": 20, "class": 301, "score": 0.7},
            {"image": "y.JPG", "x1": 0, "y1": 0, "x2": 9, "y2": 9, "class": "WBC", "score": 0.6},
            {"image": "z.JPG", "x1": 0, "y1": 0, "x2": 9, "y2": 9, "class": "WBC", "score": 0.5}]"#,
    );
    folder
}

#[tokio::test]
async fn detections_over_a_folder_are_shown_as_tables() {
    let folder = layout();
    let shown = run(
        &folder,
        "eval detect --truth DIR --detections DIR/found.json",
    )
    .await;
    // A line at the margin: else the one blank before each row would pass for indentation.
    let shown = format!("detect\n{}", shown.unwrap());
    expect_test::expect![[r"
        detect
         images                    2
         cells                     3
         found                     4
         AP .50:.95                0.426
         AP .50                    0.500
         AP .75                    0.500
         AR .50:.95, 100 a class   0.425
         best F1 at .50            0.800 from a score of 0.800 on: precision 1.000, recall 0.667, 2 hits, 0 false alarms, 1 misses

         class     cells   found   AP      AP50    AP75    AR      precision   recall   F1
         301 RBC   2       3       0.851   1.000   1.000   0.850   1.000       1.000    1.000
         302 WBC   1       1       0.000   0.000   0.000   0.000   -           0.000    0.000
        note: left out, on images without a CSV: 1 detections
    "]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn the_same_figures_come_as_json_and_from_coco_files() {
    let folder = layout();
    write(
        &folder,
        "truth.json",
        r#"{"images": [{"id": 7, "file_name": "x.JPG"}, {"id": 9, "file_name": "y.JPG"}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 10, 10, 10], "iscrowd": 0},
                            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [40, 10, 10, 10]},
                            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [70, 10, 10, 10]}],
            "categories": [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]}"#,
    );
    write(
        &folder,
        "results.json",
        r#"[{"image_id": 7, "category_id": 1, "bbox": [10, 10, 10, 10], "score": 0.9},
            {"image_id": 7, "category_id": 1, "bbox": [41, 10, 10, 10], "score": 0.8},
            {"image_id": 7, "category_id": 1, "bbox": [70, 10, 10, 10], "score": 0.7},
            {"image_id": 9, "category_id": 2, "bbox": [0, 0, 9, 9], "score": 0.6}]"#,
    );
    let json = async |line: &str| -> serde_json::Value {
        serde_json::from_str(&run(&folder, line).await.unwrap()).unwrap()
    };
    let of_folder =
        json("eval detect --truth DIR --detections DIR/found.json --score 0.75 --json").await;
    let of_coco = json(
        "eval detect --truth DIR/truth.json --detections DIR/results.json --score 0.75 --json",
    )
    .await;
    for figure in [
        "images", "cells", "ap", "ap50", "ap75", "ar", "best", "at_score",
    ] {
        assert_eq!(of_folder[figure], of_coco[figure], "{figure}");
    }
    assert_eq!(of_coco["at_score"]["hits"], 2);
    assert_eq!(of_coco["at_score"]["misses"], 1);
    assert_eq!(of_coco["per_class"][1]["name"], "WBC");
    assert_eq!(of_coco["per_class"][1]["ap"], 0.0);
    let alike =
        json("eval detect --truth DIR/truth.json --detections DIR/results.json --agnostic --json")
            .await;
    assert_eq!(alike["best"]["f1"], 1.0);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_with_the_next_step() {
    let folder = layout();
    let row = |image: &str, class: &str| {
        format!(
            r#"{{"image": {image}, "x1": 1, "y1": 1, "x2": 2, "y2": 2, "class": {class}, "score": 1}}"#
        )
    };
    for (text, what, hint) in [
        (
            row("\"no.JPG\"", "301"),
            "detection 1 is of image `no.JPG`, which `",
            "named by key",
        ),
        (
            row("3", "301"),
            "detection 1 is of image `3`, which `",
            "only a COCO truth has ids",
        ),
        (
            row("\"x.JPG\"", "\"moon\""),
            "class `moon`, which nobody defines",
            "classes.json",
        ),
        (
            row("\"x.JPG\"", "null"),
            "detection 1 has no class",
            "--agnostic",
        ),
        ("[{".to_owned(), "EOF while parsing", "COCO results"),
    ] {
        write(&folder, "wrong.json", text);
        let line = "eval detect --truth DIR --detections DIR/wrong.json";
        let error = run(&folder, line).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains("wrong.json"), "{error}");
        assert!(source.contains(what), "{source}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    write(&folder, "csv/b1/20240101/c1/y.csv", "X,Y,Type\n1,2,301\n");
    let line = "eval detect --truth DIR --detections DIR/found.json";
    let error = run(&folder, line).await.unwrap_err();
    assert!(error.to_string().contains("y.csv"), "{error}");
}

fn labels(folder: &TempDir, path: &str, ids: &[u16]) {
    let image = LabelImage {
        width: 4,
        height: ids.len() as u32 / 4,
        ids: ids.to_vec(),
    };
    write(folder, path, encode_labels(&image));
}

#[tokio::test]
async fn label_images_are_compared_by_name() {
    let folder = tempfile::tempdir().unwrap();
    labels(&folder, "truth/a.png", &[1, 1, 1, 0, 0, 2, 2, 2]);
    labels(&folder, "found/a.png", &[900, 900, 900, 0, 7, 7, 0, 0]);
    labels(&folder, "truth/b.png", &[0; 8]);
    labels(&folder, "found/b.png", &[0; 8]);
    labels(&folder, "found/c.png", &[0; 8]);
    let shown = run(&folder, "eval segment --truth DIR/truth --masks DIR/found").await;
    let shown = format!("segment\n{}", shown.unwrap());
    expect_test::expect![[r"
        segment
         image       cells   found   F1 .50   AP .50   AP .50:.95   Dice
         a.png       2       2       0.500    0.333    0.333        0.727
         b.png       0       0       1.000    1.000    1.000        1.000
         mean of 2   2       2       0.750    0.667    0.667        0.864

        F1 .50 of the cells of all images together: 0.500
        note: left out, without truth: 1 label images
    "]]
    .assert_eq(&shown);

    labels(&folder, "found/b.png", &[0; 12]);
    let line = "eval segment --truth DIR/truth --masks DIR/found";
    let error = run(&folder, line).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "it is 4 x 3 pixels, the truth is 4 x 2");
    fs::remove_file(folder.path().join("found/b.png")).unwrap();
    let error = run(&folder, line).await.unwrap_err().to_string();
    assert!(error.contains("has no `b.png`"), "{error}");
}

#[tokio::test]
async fn hits_and_misses_are_drawn_without_a_server() {
    let folder = layout();
    let image = cellmill_vision::RgbImage::filled(120, 40, [230, 200, 220]);
    write(
        &folder,
        "img/b1/c1/Images/x.JPG",
        cellmill_vision::encode_png(&image),
    );
    let image = "show DIR/img/b1/c1/Images/x.JPG --out DIR/out.png --detections DIR/found.json";
    let beside = run(&folder, &format!("{image} --truth --json"))
        .await
        .unwrap();
    let beside: serde_json::Value = serde_json::from_str(&beside).unwrap();
    let counts = ["hits", "misses", "false_alarms", "wrong_class"].map(|it| beside[it].as_u64());
    assert_eq!(counts, [Some(2), Some(0), Some(0), Some(1)]);
    assert!(is_png(&folder.path().join("out.png")));
    let named =
        format!("{image} --truth DIR/csv/b1/20230101/c1/x.csv --json --agnostic --score 0.85");
    let named = run(&folder, &named).await.unwrap();
    assert!(
        named.contains(r#""hits":0,"misses":1,"false_alarms":1"#),
        "{named}"
    );
    let without = run(
        &folder,
        "show --truth DIR/img/b1/c1/Images/x.JPG --out DIR/out.png",
    )
    .await;
    assert!(
        without.unwrap().starts_with("4 cells"),
        "the image may follow a bare --truth"
    );
}

fn is_png(path: &Path) -> bool {
    fs::read(path).unwrap().starts_with(b"\x89PNG")
}
