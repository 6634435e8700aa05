//! What is on a photograph: which cells where, which dirt, how it was lit, and the truth about it.

use cellmill_core::boxes::BBox;
use serde::Serialize;

use super::canvas::{Canvas, Optics};
use super::cells::{Cell, Stain};
use super::kinds::{CellKind, KINDS};
use super::number::{Random, cosine, noise, sine, step};
use super::write::Spec;

/// A photograph and the truth about it.
#[derive(Debug)]
pub(super) struct Photograph {
    /// RGB, 8 bits.
    pub(super) pixels: Vec<u8>,
    pub(super) cells: Vec<TruthCell>,
    pub(super) blur: u32,
}

/// The truth about one image.
#[derive(Clone, Debug, Serialize)]
pub struct TruthImage {
    pub key: String,
    /// Radius of the blur in pixels, 0 for a sharp picture.
    pub blur: u32,
    pub cells: Vec<TruthCell>,
}

/// The truth about one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TruthCell {
    pub class: u32,
    pub label: &'static str,
    /// The whole cell, as far as it lies in the picture.
    #[serde(rename = "box")]
    pub cell: BBox,
    pub nucleus: BBox,
    /// Does it touch or overlap another cell?
    pub touching: bool,
}

/// What the slides of one case have in common.
#[derive(Clone, Debug)]
struct Case {
    stain: Stain,
    light: [f32; 3],
    film: f32,
    is_suspicious: bool,
}

/// The smallest part of a cell that must be in the picture for it to count.
const LEAST_SEEN: f32 = 0.35;

impl Case {
    fn new(seed: u64, index: u32) -> Self {
        let mut random = Random::new(seed ^ 0xca5e, u64::from(index));
        let strength = random.between(0.8, 1.2);
        let mut shifted =
            |low: f32, high: f32| std::array::from_fn(|_| strength * random.between(low, high));
        let stain = Stain {
            cytoplasm: shifted(0.78, 1.25),
            chromatin: shifted(0.9, 1.12),
        };
        let bright = random.between(226.0, 242.0);
        Self {
            stain,
            light: [
                bright,
                bright - random.between(0.0, 7.0),
                bright - random.between(0.0, 14.0),
            ],
            film: random.between(0.02, 0.09),
            is_suspicious: random.chance(0.4),
        }
    }
}

/// Makes photograph `index` of a series; it belongs to case `case`.
pub(super) fn photograph(spec: &Spec, case: u32, index: u32) -> Photograph {
    let case = Case::new(spec.seed, case);
    let mut random = Random::new(spec.seed, u64::from(index));
    let scale = (spec.width.min(spec.height) as f32 / 768.0).clamp(0.3, 2.5);
    let cells = place(spec, &case, scale, &mut random);
    let film_seed = random.next() as u32;
    let mut canvas = Canvas::new(spec.width, spec.height, case.film, film_seed, scale);
    for cell in &cells {
        cell.draw(&mut canvas);
    }
    dirty(&mut canvas, scale, &mut random);
    let optics = optics(&case, scale, &mut random);
    let pixels = canvas.photograph(&optics, &mut random);
    Photograph {
        pixels,
        cells: truth(&cells, spec),
        blur: optics.blur,
    }
}

fn optics(case: &Case, scale: f32, random: &mut Random) -> Optics {
    let focus = random.unit();
    let blur = if focus < 0.6 {
        0
    } else if focus < 0.88 {
        1
    } else {
        2
    };
    Optics {
        light: case.light,
        vignette: random.between(0.04, 0.20),
        slope: (random.between(-0.09, 0.09), random.between(-0.09, 0.09)),
        blur: if scale < 0.5 {
            blur.min(1)
        } else {
            blur * scale.round().max(1.0) as u32
        },
        noise: random.between(1.6, 4.2),
    }
}

/// Chooses cells and their places. Some lie alone, some lean against another one.
fn place(spec: &Spec, case: &Case, scale: f32, random: &mut Random) -> Vec<Cell<'static>> {
    let kinds = &KINDS[..usize::from(spec.n_classes)];
    let (width, height) = (spec.width as f32, spec.height as f32);
    let room = width * height / (1024.0 * 768.0) / (scale * scale);
    let wanted = ((random.between(14.0, 34.0) * room) as u32).max(2);
    let clumping = random.between(0.15, 0.6);
    let mut cells: Vec<Cell<'static>> = Vec::with_capacity(wanted as usize);
    for _ in 0..wanted {
        let kind = choose(kinds, case.is_suspicious, random);
        let radius = scale * random.between(kind.radius.0, kind.radius.1);
        let leaning = !cells.is_empty() && random.chance(clumping);
        for _ in 0..30 {
            let at = if leaning {
                beside(&cells, radius, random)
            } else {
                (random.between(0.0, width), random.between(0.0, height))
            };
            let least = if leaning { 0.72 } else { 1.06 };
            if in_picture(at, width, height) && is_free(&cells, at, radius, least) {
                cells.push(Cell::new(random, kind, at, radius, case.stain, scale));
                break;
            }
        }
    }
    cells
}

fn choose(kinds: &'static [CellKind], suspicious: bool, random: &mut Random) -> &'static CellKind {
    let weight = |it: &CellKind| if suspicious { it.weight.1 } else { it.weight.0 };
    let total: f32 = kinds.iter().map(weight).sum();
    let mut left = random.between(0.0, total);
    for kind in kinds {
        left -= weight(kind);
        if left < 0.0 {
            return kind;
        }
    }
    &kinds[0]
}

fn beside(cells: &[Cell<'_>], radius: f32, random: &mut Random) -> (f32, f32) {
    let other = &cells[random.below(cells.len() as u32) as usize];
    let away = (other.radius + radius) * random.between(0.76, 0.98);
    let turn = random.unit();
    (other.x + away * cosine(turn), other.y + away * sine(turn))
}

fn in_picture((x, y): (f32, f32), width: f32, height: f32) -> bool {
    (0.0..width).contains(&x) && (0.0..height).contains(&y)
}

fn is_free(cells: &[Cell<'_>], at: (f32, f32), radius: f32, least: f32) -> bool {
    cells
        .iter()
        .all(|it| distance(at, (it.x, it.y)) >= least * (radius + it.radius))
}

fn distance(a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (a.0 - b.0, a.1 - b.1);
    (dx * dx + dy * dy).sqrt()
}

/// Specks and fibres, as on every slide.
fn dirty(canvas: &mut Canvas, scale: f32, random: &mut Random) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let room = width * height / (1024.0 * 768.0) / (scale * scale);
    for _ in 0..(random.between(2.0, 18.0) * room) as u32 {
        speck(canvas, scale, random);
    }
    if random.chance(0.35 * room.min(1.0)) {
        fibre(canvas, scale, random);
    }
}

fn speck(canvas: &mut Canvas, scale: f32, random: &mut Random) {
    let (x, y) = (
        random.between(0.0, canvas.width as f32),
        random.between(0.0, canvas.height as f32),
    );
    let radius = scale * random.between(1.2, 4.5);
    let strength = random.between(0.3, 1.3);
    let seed = random.next() as u32;
    let area = canvas.around(x, y, radius * 1.8);
    canvas.add(area, |px, py| {
        let away = distance((px, py), (x, y)) / radius;
        let ragged = away + 0.5 * noise(px / radius, py / radius, seed);
        let amount = strength * (1.0 - step(0.7, 1.1, ragged));
        (amount > 0.0).then_some([amount * 0.7, amount * 0.85, amount])
    });
}

fn fibre(canvas: &mut Canvas, scale: f32, random: &mut Random) {
    let (mut x, mut y) = (
        random.between(0.0, canvas.width as f32),
        random.between(0.0, canvas.height as f32),
    );
    let mut turn = random.unit();
    let width = scale * random.between(1.0, 2.2);
    let strength = random.between(0.15, 0.45);
    for _ in 0..random.below(120) + 60 {
        let area = canvas.around(x, y, width * 2.0);
        canvas.add(area, |px, py| {
            let away = distance((px, py), (x, y)) / width;
            // Steps overlap by about half, so each adds half of the thread's density.
            let amount = 0.5 * strength * (1.0 - step(0.3, 1.2, away));
            (amount > 0.0).then_some([amount, amount * 0.8, amount * 0.5])
        });
        turn += random.between(-0.02, 0.02);
        x += width * cosine(turn);
        y += width * sine(turn);
    }
}

fn truth(cells: &[Cell<'_>], spec: &Spec) -> Vec<TruthCell> {
    let in_picture = |cell: &Cell<'_>, reach: [f32; 4]| {
        let [left, top, right, bottom] = reach;
        BBox::clamped(
            (cell.x - left).floor() as i64,
            (cell.y - top).floor() as i64,
            (cell.x + right).ceil() as i64,
            (cell.y + bottom).ceil() as i64,
            spec.width,
            spec.height,
        )
    };
    let mut found = Vec::with_capacity(cells.len());
    for (i, cell) in cells.iter().enumerate() {
        let extent = cell.extent();
        let whole = (extent[0] + extent[2]) * (extent[1] + extent[3]);
        let (Some(seen), Some(nucleus)) = (
            in_picture(cell, extent),
            in_picture(cell, cell.nucleus_extent()),
        ) else {
            continue;
        };
        if (seen.area() as f32) < LEAST_SEEN * whole {
            continue;
        }
        let touches = |other: &Cell<'_>| {
            distance((cell.x, cell.y), (other.x, other.y)) < 1.04 * (cell.radius + other.radius)
        };
        let others = cells.iter().enumerate().filter(|(j, _)| *j != i);
        found.push(TruthCell {
            class: cell.kind.id,
            label: cell.kind.name,
            cell: seen,
            nucleus,
            touching: others.map(|(_, it)| it).any(touches),
        });
    }
    found
}
