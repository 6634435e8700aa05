//! Every image of the hostile collection ends as its manifest says.
//!
//! The collection lies outside of the repository: `CELLMILL_TEST_DATA`, or `shared/data`
//! beside it. Without it the tests say that they were skipped; the same rules are
//! tested on inputs made in code in `made_in_code.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cellmill_vision::{DecodeBudget, Decoded, Limits, Refusal, RgbImage, decode_within};

/// What was decided for each row that leaves the choice: a refusal's code, or `ok` and
/// the codes of the notes.
const EITHER: &[(&str, &str)] = &[
    ("bomb-gif-5000-frames.gif", "ok animated flattened"),
    ("bomb-jpeg-scans-4000x4000.jpg", "too_slow"),
    ("bomb-png-iccp-200mb.png", "ok"),
    ("bomb-tiff-ifd-loop.tif", "decode_failed"),
    // Changed bytes that still are valid codes cannot be told from a picture with stripes.
    ("flip-jpeg-0.jpg", "ok"),
    ("flip-jpeg-1.jpg", "ok"),
    ("flip-jpeg-2.jpg", "ok"),
    ("odd-apng-animated.png", "ok animated"),
    ("odd-bmp-in-jpg.JPG", "ok"),
    ("odd-gif-animated.gif", "ok animated"),
    ("odd-tiff-3pages.tif", "ok multi_page"),
    ("odd-tiff-bigtiff.tif", "ok"),
    ("odd-tiff-tiled.tif", "ok"),
    ("odd-webp-animated.webp", "ok animated"),
    ("odd-webp-lossy.webp", "ok"),
    ("ok-noextension", "ok"),
    ("size-1x20000.jpg", "too_small"),
    ("size-5000x1.png", "too_small"),
    ("trunc-no-eoi.jpg", "truncated"),
];

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("CELLMILL_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("hostile");
    if folder.join("manifest.csv").is_file() {
        return Some(folder);
    }
    eprintln!(
        "skipped: no hostile/manifest.csv in {}; set CELLMILL_TEST_DATA",
        folder.display()
    );
    None
}

fn rows(folder: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader =
        csv::Reader::from_path(folder.join("manifest.csv")).expect("the data folder is readable");
    let rows = reader
        .deserialize()
        .map(|row| row.expect("the table is whole"));
    rows.filter(|row: &BTreeMap<String, String>| row["path"].starts_with("img/"))
        .collect()
}

fn ending(got: &Result<Decoded, Refusal>) -> String {
    match got {
        Ok(decoded) => decoded
            .notes
            .iter()
            .fold("ok".to_owned(), |text, note| text + " " + note.code()),
        Err(refusal) => refusal.code().to_owned(),
    }
}

#[test]
fn every_row_of_the_manifest_ends_as_it_says() {
    let Some(folder) = data() else { return };
    let decided: BTreeMap<_, _> = EITHER.iter().copied().collect();
    let budget = DecodeBudget::default();
    let mut problems = Vec::new();
    for row in rows(&folder) {
        let bytes = std::fs::read(folder.join(&row["path"])).unwrap();
        let name = row["path"].trim_start_matches("img/");
        let got = decode_within(&bytes, &Limits::default(), &budget);
        let ends = ending(&got);
        let is_right = match row["expect"].as_str() {
            "accept" => got.is_ok(),
            "reject" => ends == row["code"],
            // A row this list does not know belongs to a larger collection: both ends are allowed.
            _ => decided.get(name).is_none_or(|it| *it == ends),
        };
        if !is_right {
            let text = got
                .as_ref()
                .err()
                .map(|it| format!("{it}: {:?}", std::error::Error::source(it)));
            problems.push(format!(
                "{name}: {} {} but {ends} {text:?}",
                row["expect"], row["code"]
            ));
        }
        if let Ok(decoded) = &got {
            let stored = format!(
                "{} {}",
                decoded.header.stored_width, decoded.header.stored_height
            );
            if stored != format!("{} {}", row["w"], row["h"]) || !decoded.image.is_consistent() {
                problems.push(format!("{name}: {stored} pixels"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(budget.free(), DecodeBudget::DEFAULT_BYTES);
}

fn image(folder: &Path, name: &str) -> RgbImage {
    let bytes = std::fs::read(folder.join("img").join(name)).expect("the data folder is readable");
    decode_within(&bytes, &Limits::default(), &DecodeBudget::default())
        .expect("the image is sound")
        .image
}

fn mean(image: &RgbImage) -> [f64; 3] {
    let pixels = image.data.as_chunks::<3>().0;
    [0, 1, 2].map(|channel| {
        pixels.iter().map(|it| f64::from(it[channel])).sum::<f64>() / pixels.len() as f64
    })
}

#[test]
fn one_picture_in_many_codings_keeps_its_colour() {
    let Some(folder) = data() else { return };
    let want = mean(&image(&folder, "ok-noextension"));
    for name in [
        "ok-cmyk.jpg",
        "ok-444.jpeg",
        "ok-progressive.jpg",
        "ok-png-16bit-rgb.png",
        "ok-png-rgba.png",
        "ok-restart-markers.jpg",
    ] {
        let got = mean(&image(&folder, name));
        let distance = got
            .iter()
            .zip(&want)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(distance < 12.0, "{name}: {got:?}, not {want:?}");
    }
}

#[test]
fn camera_data_in_wide_words_is_not_black() {
    let Some(folder) = data() else { return };
    let want = mean(&image(&folder, "ok-noextension"));
    let got = mean(&image(&folder, "ok-png-16bit-gray-12in16.png"));
    assert!(
        (got[0] - want.iter().sum::<f64>() / 3.0).abs() < 60.0,
        "{got:?} for a picture of {want:?}"
    );
}

/// The upright picture of every orientation is the one stored upright.
#[test]
fn turned_pictures_agree_with_the_upright_one() {
    let Some(folder) = data() else { return };
    let stored = image(&folder, "exif-orient-1.jpg");
    for (orientation, x, y) in [(2, 319, 0), (4, 0, 239), (7, 239, 319), (8, 0, 319)] {
        let turned = image(&folder, &format!("exif-orient-{orientation}.jpg"));
        // Where the stored top left corner lies after turning.
        assert_eq!(
            turned.pixel(x, y),
            stored.pixel(0, 0),
            "orientation {orientation}"
        );
    }
}
