//! The folder: pictures, points, classes and truth, in the layout that `import` reads.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder};
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::Error;

use super::kinds::class_file;
use super::scene::{TruthCell, TruthImage, photograph};

/// What to make.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    pub seed: u64,
    pub n_images: u32,
    pub n_cases: u32,
    /// Pixels, at most 65,535 (JPEG).
    pub width: u32,
    pub height: u32,
    /// The first so many of [`super::KINDS`].
    pub n_classes: u8,
}

/// What was made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Made {
    pub images: u64,
    pub cells: u64,
    /// Bytes of all pictures.
    pub bytes: u64,
}

/// `truth.json`.
#[derive(Serialize)]
struct TruthFile<'a> {
    v: u32,
    made_with: &'a Spec,
    images: &'a [TruthImage],
}

/// The quality that microscopes save their pictures with.
const JPEG_QUALITY: u8 = 90;
/// The date folder of the points.
const DATE: &str = "2020-1-1";
/// Pictures in a row of the slide, for names such as `IMG002x013.JPG`.
const COLUMNS: u32 = 40;

/// Where a picture of the series belongs.
struct Place {
    case_index: u32,
    batch: String,
    case: String,
    stem: String,
}

impl Spec {
    fn place(&self, index: u32) -> Place {
        let case_index = index % self.n_cases;
        let in_case = index / self.n_cases;
        Place {
            case_index,
            batch: format!("synth{}", self.seed),
            case: format!("S{:05}", case_index + 1),
            stem: format!(
                "IMG{:03}x{:03}",
                in_case / COLUMNS + 1,
                in_case % COLUMNS + 1
            ),
        }
    }
}

/// Makes one picture: the bytes of its JPEG, and the truth about it.
///
/// # Panics
/// When a side is 0 or above 65,535 pixels.
pub fn picture(spec: &Spec, index: u32) -> (Vec<u8>, TruthImage) {
    let place = spec.place(index);
    let made = photograph(spec, place.case_index, index);
    let mut jpeg = Vec::with_capacity(made.pixels.len() / 4);
    let side = |it: u32| u16::try_from(it).expect("the caller keeps sides below 65,536");
    Encoder::new(&mut jpeg, JPEG_QUALITY)
        .encode(
            &made.pixels,
            side(spec.width),
            side(spec.height),
            ColorType::Rgb,
        )
        .expect("a buffer of the right size is encoded into memory");
    let truth = TruthImage {
        key: format!("{}{}.JPG", image_folder(&place), place.stem),
        blur: made.blur,
        cells: made.cells,
    };
    (jpeg, truth)
}

/// Makes the folder, which must be empty or not there.
pub fn write_folder(folder: &Path, spec: &Spec) -> Result<Made, Error> {
    if fs::read_dir(folder).is_ok_and(|mut it| it.next().is_some()) {
        return Err(Error::Usage {
            what: format!("the folder `{}` is not empty", folder.display()),
            hint: Some("name a new one: nothing is overwritten".to_owned()),
        });
    }
    for index in 0..spec.n_cases.min(spec.n_images) {
        let place = spec.place(index);
        make_dir(&folder.join(image_folder(&place)))?;
        make_dir(&folder.join(points_folder(&place)))?;
    }
    let written: Vec<(u64, TruthImage)> = (0..spec.n_images)
        .into_par_iter()
        .map(|index| write_picture(folder, spec, index))
        .collect::<Result<_, Error>>()?;
    let bytes = written.iter().map(|(bytes, _)| bytes).sum();
    let mut images: Vec<TruthImage> = written.into_iter().map(|(_, truth)| truth).collect();
    images.sort_by(|a, b| a.key.cmp(&b.key));
    write_json(
        &folder.join("classes.json"),
        &class_file(usize::from(spec.n_classes)),
    )?;
    let truth = TruthFile {
        v: 1,
        made_with: spec,
        images: &images,
    };
    write_json(&folder.join("truth.json"), &truth)?;
    Ok(Made {
        images: images.len() as u64,
        cells: images.iter().map(|it| it.cells.len() as u64).sum(),
        bytes,
    })
}

fn write_picture(folder: &Path, spec: &Spec, index: u32) -> Result<(u64, TruthImage), Error> {
    let (jpeg, truth) = picture(spec, index);
    write_file(&folder.join(&truth.key), &jpeg)?;
    let place = spec.place(index);
    let csv = points_folder(&place) + &place.stem + ".csv";
    write_file(&folder.join(csv), points(&truth.cells).as_bytes())?;
    Ok((jpeg.len() as u64, truth))
}

/// The doctor's file: centre, class and box of every cell.
fn points(cells: &[TruthCell]) -> String {
    let mut text = String::from("X,Y,Type,x1,y1,x2,y2,Label\n");
    for cell in cells {
        let it = cell.cell;
        let (x, y) = (u32::midpoint(it.x1, it.x2), u32::midpoint(it.y1, it.y2));
        let (class, label) = (cell.class, cell.label);
        let row = format!(
            "{x},{y},{class},{},{},{},{},{label}\n",
            it.x1, it.y1, it.x2, it.y2
        );
        text.push_str(&row);
    }
    text
}

fn image_folder(place: &Place) -> String {
    format!("img/{}/{}/Images/", place.batch, place.case)
}

fn points_folder(place: &Place) -> String {
    format!("csv/{}/{DATE}/{}/", place.batch, place.case)
}

fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))
}

fn write_file(path: &PathBuf, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(Error::file("write", path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let file = fs::File::create(path).map_err(Error::file("write", path))?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer(&mut out, value)
        .map_err(|error| Error::file("write", path)(error.into()))?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::sha256_hex;

    use super::*;

    fn spec(seed: u64) -> Spec {
        Spec {
            seed,
            n_images: 6,
            n_cases: 2,
            width: 160,
            height: 120,
            n_classes: 6,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_every_machine() {
        let (jpeg, truth) = picture(&spec(1), 3);
        expect_test::expect!["bc929d1c8698cbb7"].assert_eq(&sha256_hex(&jpeg)[..16]);
        assert_eq!(picture(&spec(1), 3).0, jpeg);
        assert_eq!(picture(&spec(1), 3).1.cells, truth.cells);
        assert_ne!(picture(&spec(2), 3).0, jpeg, "another seed");
        assert_ne!(picture(&spec(1), 4).0, jpeg, "another picture");
    }

    #[test]
    fn boxes_lie_in_the_picture_and_hold_their_nucleus() {
        for index in 0..15 {
            for cell in picture(&spec(5), index).1.cells {
                assert!(cell.cell.fits(160, 120));
                assert_eq!(cell.cell.intersection(&cell.nucleus), Some(cell.nucleus));
            }
        }
    }

    #[test]
    fn a_folder_is_written_once_and_in_the_layout() {
        let folder = tempfile::tempdir().unwrap();
        let made = write_folder(folder.path(), &spec(1)).unwrap();
        assert_eq!(made.images, 6);
        let listing = crate::import::list(folder.path()).unwrap();
        let plan = crate::import::plan(&listing, &crate::import::Filters::default());
        assert_eq!((plan.files.len(), plan.set_aside.len()), (12, 0));
        let again = write_folder(folder.path(), &spec(1));
        assert!(matches!(again, Err(Error::Usage { .. })));
    }

    #[test]
    fn every_class_and_touching_cells_come_up() {
        let spec = Spec {
            n_images: 60,
            n_cases: 20,
            ..spec(3)
        };
        let cells: Vec<TruthCell> = (0..60).flat_map(|it| picture(&spec, it).1.cells).collect();
        for kind in &super::super::KINDS {
            assert!(cells.iter().any(|it| it.class == kind.id), "{}", kind.name);
        }
        let touching = cells.iter().filter(|it| it.touching).count();
        assert!(touching * 10 > cells.len() && touching * 10 < cells.len() * 9);
    }
}
