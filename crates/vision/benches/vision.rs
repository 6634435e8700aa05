//! What the image steps cost: `cargo bench -p cellmill-vision`.
//!
//! A JSON line a figure, `{"figure", "value", "unit"}`: milliseconds of process CPU time
//! on one thread, the least of several rounds. `--images DIR` measures the JPEGs there,
//! otherwise one made in code; `--write DIR` only writes that one, for the peers.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cellmill_core::boxes::{BBox, square_crop};
use cellmill_vision::pack::write_pack;
use cellmill_vision::{
    CellCutter, FinderSettings, Limits, RgbImage, THUMBNAIL_SIDE, decode, find_cells, thumbnail,
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u32 = 7;
const N_CROPS: usize = 100;
const CROP_SIDE: u32 = 100;
const FIELD: (u32, u32) = (2448, 2048);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder_after = |flag: &str| {
        let at = arguments.iter().position(|it| it == flag)?;
        arguments.get(at + 1).map(PathBuf::from)
    };
    if let Some(folder) = folder_after("--write") {
        fs::write(folder.join("smear.jpg"), encode(&smear(2048, 1536)))
            .expect("the folder takes a file");
        return;
    }
    let files =
        folder_after("--images").map_or_else(|| vec![encode(&smear(2048, 1536))], |it| jpegs(&it));
    measure(&files);
}

fn jpegs(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder can be listed")
        .map(|it| it.expect("the folder can be listed").path())
        .filter(|it| {
            it.extension()
                .is_some_and(|it| it.eq_ignore_ascii_case("jpg"))
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no .jpg in {}", folder.display());
    paths
        .iter()
        .map(|it| fs::read(it).expect("the file can be read"))
        .collect()
}

fn measure(files: &[Vec<u8>]) {
    let limits = Limits::default();
    let open = |file: &Vec<u8>| decode(file, &limits).expect("the image is sound").image;
    let images: Vec<RgbImage> = files.iter().map(open).collect();
    let settings = FinderSettings::default();

    report("decode_rgb", files.len(), || {
        for file in files {
            black_box(open(file));
        }
    });
    report("thumbnail", files.len(), || {
        for image in &images {
            black_box(thumbnail(image, THUMBNAIL_SIDE));
        }
    });
    report("crops_gray_to_pack", files.len(), || {
        for image in &images {
            black_box(pack_of(&cut(image, CellCutter::gray)));
        }
    });
    report("crops_color_to_pack", files.len(), || {
        for image in &images {
            black_box(pack_of(&cut(image, CellCutter::color)));
        }
    });
    report("pipeline", files.len(), || {
        for file in files {
            let image = open(file);
            black_box(thumbnail(&image, THUMBNAIL_SIDE));
            black_box(cut(&image, CellCutter::gray));
        }
    });
    report("finder", files.len(), || {
        for image in &images {
            black_box(find_cells(image, &settings));
        }
    });
    let field = tiled(&images);
    report("finder_field", 1, || {
        black_box(find_cells(&field, &settings));
    });
    for (figure, cells) in [
        ("crops_gray_bytes", cut(&images[0], CellCutter::gray)),
        ("crops_color_bytes", cut(&images[0], CellCutter::color)),
    ] {
        print_figure(
            figure,
            cells.iter().map(Vec::len).sum::<usize>() as f64,
            "bytes",
        );
    }
}

/// The images side by side, as large as the field of a five-megapixel camera.
fn tiled(images: &[RgbImage]) -> RgbImage {
    let mut field = RgbImage::new(FIELD.0, FIELD.1);
    let (width, height) = (images[0].width, images[0].height);
    for y in 0..FIELD.1 {
        for x in 0..FIELD.0 {
            let tile = (y / height * FIELD.0.div_ceil(width) + x / width) as usize;
            if let Some(color) = images[tile % images.len()].pixel(x % width, y % height) {
                field.set_pixel(x, y, color);
            }
        }
    }
    field
}

type Cut<'a> = fn(&mut CellCutter<'a>, BBox) -> Result<Vec<u8>, cellmill_vision::OutsideImage>;

fn cut<'a>(image: &'a RgbImage, encode: Cut<'a>) -> Vec<Vec<u8>> {
    let mut cutter = CellCutter::new(
        image,
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    );
    centers(image)
        .map(|(x, y)| {
            encode(
                &mut cutter,
                square_crop(x, y, CROP_SIDE, image.width, image.height),
            )
            .expect("the crop lies inside")
        })
        .collect()
}

/// The same places that `tests/peers/vision_peers.py` cuts.
fn centers(image: &RgbImage) -> impl Iterator<Item = (f64, f64)> {
    let (width, height) = (u64::from(image.width), u64::from(image.height));
    (0..N_CROPS as u64).map(move |it| ((it * 7919 % width) as f64, (it * 6151 % height) as f64))
}

fn pack_of(cells: &[Vec<u8>]) -> Vec<u8> {
    let entries = cells
        .iter()
        .enumerate()
        .map(|(idx, cell)| (format!("cell_{idx:03}.png"), cell));
    write_pack(entries).expect("the names differ")
}

fn report(figure: &str, n_images: usize, mut run: impl FnMut()) {
    run();
    let rounds = (0..ROUNDS).map(|_| {
        let start = cpu_time();
        run();
        cpu_time().saturating_sub(start)
    });
    let least = rounds.min().expect("there are rounds");
    print_figure(
        figure,
        least.as_secs_f64() * 1e3 / n_images as f64,
        "ms_cpu",
    );
}

#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
fn print_figure(figure: &str, value: f64, unit: &str) {
    println!(r#"{{"figure":"{figure}","value":{value:.3},"unit":"{unit}"}}"#);
}

/// CPU time of this process: others on the machine do not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

fn encode(image: &RgbImage) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(
            &image.data,
            image.width as u16,
            image.height as u16,
            ColorType::Rgb,
        )
        .expect("memory takes every write");
    jpeg
}

/// Cells with dark cores on an unevenly lit ground, with camera noise: about as many bytes
/// as a real field.
fn smear(width: u32, height: u32) -> RgbImage {
    let mut image = RgbImage::filled(width, height, [226, 216, 224]);
    let mut random = Random(7);
    for _ in 0..width * height / 12_000 {
        let radius = 22 + random.below(24);
        let (x, y) = (random.below(width), random.below(height));
        let (depth, warmth) = (40 + random.below(60), random.below(40));
        blot(
            &mut image,
            (x, y),
            radius,
            [depth / 2 + warmth, depth, depth / 3 + 20],
        );
        blot(&mut image, (x + 3, y + 2), radius / 3, [60, 70, 20]);
    }
    for (idx, value) in image.data.iter_mut().enumerate() {
        let column = idx as u32 / 3 % width;
        let light = column * 14 / width;
        *value = value
            .saturating_sub(light as u8)
            .saturating_add(random.below(9) as u8)
            .saturating_sub(4);
    }
    image
}

/// Darkens a disc with a soft rim.
fn blot(image: &mut RgbImage, (x, y): (u32, u32), radius: u32, amount: [u32; 3]) {
    for row in y.saturating_sub(radius)..(y + radius).min(image.height) {
        for column in x.saturating_sub(radius)..(x + radius).min(image.width) {
            let distance = column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2);
            let share = (radius * radius).saturating_sub(distance) * 400 / (radius * radius);
            if let Some(pixel) = image.pixel(column, row) {
                let darkened = |channel: usize| {
                    u32::from(pixel[channel]).saturating_sub(amount[channel] * share.min(100) / 100)
                        as u8
                };
                image.set_pixel(column, row, [darkened(0), darkened(1), darkened(2)]);
            }
        }
    }
}

/// Knuth's linear congruential generator: the same image on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}
