//! How well the classical finder finds, and how fast.
//!
//! `cargo run --release -p cellmill-vision --example finder -- --data DIR` prints a JSON line a figure,
//! `{"figure", "value", "unit"}`. `DIR` holds `bccd` (blood fields, boxes), `nuclei` (masks) and `cric/extra`
//! (a Pap smear, points); what is not there is left out. `--split train` measures the cases to tune on.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cellmill_core::boxes::BBox;
use cellmill_vision::{FinderSettings, Limits, RgbImage, decode, find_cells};
use rustix::time::{ClockId, clock_gettime};

/// Least intersection over union of a found box and a true one.
const MIN_IOU: f64 = 0.5;
/// A point is found when it lies in a box or this near to the centre of one.
const MAX_POINT_DISTANCE: f64 = 20.0;
/// The field that is timed: that of a five-megapixel camera.
const FIELD: (u32, u32) = (2448, 2048);
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let (data, split) = arguments(std::env::args().skip(1))?;
    if data.join("bccd/index.csv").is_file() {
        measure_blood(&data.join("bccd"), &split)?;
    }
    if data.join("nuclei/index.csv").is_file() {
        measure_nuclei(&data.join("nuclei"))?;
    }
    let smear = data.join("cric/extra/IMG383x002.JPG");
    if smear.is_file() {
        measure_points(&smear)?;
        measure_time("pap", &[open(&smear)?]);
    }
    Ok(())
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(PathBuf, String), String> {
    let (mut data, mut split) = (None, "val".to_owned());
    while let Some(flag) = given.next() {
        let value = given.next().ok_or(format!("`{flag}` needs a value"))?;
        match flag.as_str() {
            "--data" => data = Some(PathBuf::from(value)),
            "--split" => split = value,
            _ => return Err(format!("unknown argument: `{flag}`")),
        }
    }
    Ok((data.ok_or("--data DIR is needed")?, split))
}

type Row = BTreeMap<String, String>;

fn rows(path: &Path) -> Result<Vec<Row>, csv::Error> {
    csv::Reader::from_path(path)?.deserialize().collect()
}

fn number(row: &Row, name: &str) -> Result<u32, Box<dyn Error>> {
    let value = row.get(name).ok_or(format!("no column `{name}`"))?;
    Ok(value.parse()?)
}

fn open(path: &Path) -> Result<RgbImage, Box<dyn Error>> {
    Ok(decode(&std::fs::read(path)?, &Limits::default())?.image)
}

fn boxes(image: &RgbImage) -> Vec<BBox> {
    let found = find_cells(image, &FinderSettings::default());
    found.into_iter().map(|it| it.bbox).collect()
}

#[derive(Default)]
struct Counts {
    truth: usize,
    found: usize,
    matched: usize,
}

impl Counts {
    fn report(&self, name: &str) {
        let (matched, found) = (self.matched as f64, self.found as f64);
        let truth = self.truth as f64;
        print_figure(&format!("{name}_recall"), matched / truth, "share");
        print_figure(&format!("{name}_precision"), matched / found, "share");
        print_figure(
            &format!("{name}_f1"),
            2.0 * matched / (truth + found),
            "share",
        );
    }
}

/// Which true boxes are found: the best scores choose first, each box once.
fn matched(found: &[BBox], truth: &[BBox]) -> Vec<bool> {
    let mut is_found = vec![false; truth.len()];
    for bbox in found {
        let best = (0..truth.len())
            .filter(|&it| !is_found[it] && bbox.iou(&truth[it]) >= MIN_IOU)
            .max_by(|&a, &b| bbox.iou(&truth[a]).total_cmp(&bbox.iou(&truth[b])));
        if let Some(best) = best {
            is_found[best] = true;
        }
    }
    is_found
}

fn measure_blood(folder: &Path, split: &str) -> Result<(), Box<dyn Error>> {
    let mut counts = Counts::default();
    let mut kinds: BTreeMap<String, Counts> = BTreeMap::new();
    let mut fields = Vec::new();
    for row in rows(&folder.join("index.csv"))? {
        if row["split"] != split {
            continue;
        }
        let image = open(&folder.join(&row["img"]))?;
        let cells = rows(&folder.join(&row["csv"]))?;
        let truth = cells
            .iter()
            .map(|it| {
                let side = |name| number(it, name);
                Ok(BBox::new(
                    side("x1")?,
                    side("y1")?,
                    side("x2")?,
                    side("y2")?,
                ))
            })
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let found = boxes(&image);
        counts.found += found.len();
        for (is_found, cell) in matched(&found, &truth).into_iter().zip(&cells) {
            let kind = kinds.entry(cell["Type"].clone()).or_default();
            for counts in [&mut counts, kind] {
                counts.truth += 1;
                counts.matched += usize::from(is_found);
            }
        }
        fields.push(image);
    }
    counts.report("finder_blood");
    for (kind, counts) in &kinds {
        let recall = counts.matched as f64 / counts.truth as f64;
        print_figure(&format!("finder_blood_{kind}_recall"), recall, "share");
    }
    measure_time("blood", &fields);
    Ok(())
}

fn measure_nuclei(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for row in rows(&folder.join("index.csv"))? {
        let file = format!("{}.png", row["id"]);
        let found = boxes(&open(&folder.join("images").join(&file))?);
        let truth = labelled(&folder.join("labels").join(&file))?;
        let n_matched = matched(&found, &truth).iter().filter(|it| **it).count();
        for name in ["finder_nuclei", &format!("finder_nuclei_{}", row["kind"])] {
            let counts = counts.entry(name.to_owned()).or_default();
            counts.truth += truth.len();
            counts.found += found.len();
            counts.matched += n_matched;
        }
    }
    for (name, counts) in &counts {
        counts.report(name);
    }
    Ok(())
}

/// The box of every number in a 16-bit mask; 0 is the ground.
fn labelled(path: &Path) -> Result<Vec<BBox>, Box<dyn Error>> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut reader = png::Decoder::new(file).read_info()?;
    let mut data = vec![0; reader.output_buffer_size().ok_or("the mask is too large")?];
    let info = reader.next_frame(&mut data)?;
    let mut found: HashMap<[u8; 2], BBox> = HashMap::new();
    for (at, label) in (0..).zip(data.as_chunks::<2>().0) {
        if *label == [0, 0] {
            continue;
        }
        let (x, y) = (at % info.width, at / info.width);
        let bbox = found.entry(*label).or_insert(BBox::new(x, y, x, y));
        *bbox = BBox::new(
            bbox.x1.min(x),
            bbox.y1.min(y),
            bbox.x2.max(x + 1),
            bbox.y2.max(y + 1),
        );
    }
    Ok(found.into_values().collect())
}

fn measure_points(smear: &Path) -> Result<(), Box<dyn Error>> {
    let found = boxes(&open(smear)?);
    let points = rows(&smear.with_extension("csv"))?;
    let mut n_found = 0;
    for point in &points {
        let (x, y) = (number(point, "X")?, number(point, "Y")?);
        let is_found = found.iter().any(|it| {
            let (center_x, center_y) = it.center();
            let distance = (center_x - f64::from(x)).hypot(center_y - f64::from(y));
            let is_inside = (it.x1..it.x2).contains(&x) && (it.y1..it.y2).contains(&y);
            is_inside || distance <= MAX_POINT_DISTANCE
        });
        n_found += u32::from(is_found);
    }
    print_figure("finder_pap_points", f64::from(n_found), "points");
    print_figure("finder_pap_points_of", points.len() as f64, "points");
    print_figure("finder_pap_boxes", found.len() as f64, "boxes");
    Ok(())
}

/// A large field of these pictures side by side.
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

fn measure_time(name: &str, images: &[RgbImage]) {
    if images.is_empty() {
        return;
    }
    let field = tiled(images);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = cpu_time();
            std::hint::black_box(boxes(&field));
            cpu_time().saturating_sub(start).as_secs_f64() * 1e3
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    print_figure(
        &format!("finder_{name}_field"),
        rounds[ROUNDS / 2],
        "ms_cpu",
    );
}

/// CPU time of this process: others on the machine do not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn print_figure(figure: &str, value: f64, unit: &str) {
    println!(r#"{{"figure":"{figure}","value":{value:.4},"unit":"{unit}"}}"#);
}
