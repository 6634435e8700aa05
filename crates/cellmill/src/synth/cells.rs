//! One cell: how it is made up, and how it is drawn.

use super::canvas::Canvas;
use super::kinds::CellKind;
use super::number::{Random, cosine, noise, sine, step};
use super::shape::Outline;

/// A cell at its place.
#[derive(Clone, Debug)]
pub(super) struct Cell<'a> {
    pub(super) kind: &'a CellKind,
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
    pub(super) outline: Outline,
    /// Every lobe with its centre, relative to the cell's.
    lobes: Vec<(f32, f32, Outline)>,
    folds: Vec<Fold>,
    cytoplasm: [f32; 3],
    chromatin: [f32; 3],
    texture: u32,
    scale: f32,
}

/// A crease in the cytoplasm: a line at a distance from the centre.
#[derive(Clone, Debug)]
struct Fold {
    normal: (f32, f32),
    offset: f32,
    depth: f32,
}

/// How a case's stain differs from the ideal one, per channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stain {
    pub(super) cytoplasm: [f32; 3],
    pub(super) chromatin: [f32; 3],
}

impl<'a> Cell<'a> {
    pub(super) fn new(
        random: &mut Random,
        kind: &'a CellKind,
        (x, y): (f32, f32),
        radius: f32,
        stain: Stain,
        scale: f32,
    ) -> Self {
        let outline = Outline::new(random, radius, kind.roughness);
        let nucleus = radius * random.between(kind.nucleus.0, kind.nucleus.1);
        let lobes = lobes(random, kind, radius, nucleus);
        let n_folds = if radius > 40.0 * scale {
            random.below(4)
        } else {
            0
        };
        let folds = (0..n_folds)
            .map(|_| {
                let turn = random.unit();
                Fold {
                    normal: (cosine(turn), sine(turn)),
                    offset: radius * random.between(-0.75, 0.75),
                    depth: random.between(0.15, 0.5),
                }
            })
            .collect();
        let strength = random.between(0.75, 1.3);
        let dark = random.between(0.85, 1.15);
        Self {
            kind,
            x,
            y,
            radius,
            outline,
            lobes,
            folds,
            cytoplasm: std::array::from_fn(|c| kind.cytoplasm[c] * stain.cytoplasm[c] * strength),
            chromatin: std::array::from_fn(|c| kind.chromatin[c] * stain.chromatin[c] * dark),
            texture: random.next() as u32,
            scale,
        }
    }

    /// How far the cell reaches to the left, top, right and bottom of its place.
    pub(super) fn extent(&self) -> [f32; 4] {
        self.outline.extent()
    }

    /// How far the nucleus reaches.
    pub(super) fn nucleus_extent(&self) -> [f32; 4] {
        let mut reach = [f32::MIN; 4];
        for (dx, dy, outline) in &self.lobes {
            let [left, top, right, bottom] = outline.extent();
            let here = [left - dx, top - dy, right + dx, bottom + dy];
            for (sum, here) in reach.iter_mut().zip(here) {
                *sum = sum.max(here);
            }
        }
        reach
    }

    pub(super) fn draw(&self, canvas: &mut Canvas) {
        let area = canvas.around(self.x, self.y, self.outline.longest + 2.0);
        // The edge is soft over about two pixels, whatever the cell's size.
        let soft = 1.6 / self.radius;
        canvas.add(area, |px, py| {
            let (dx, dy) = (px - self.x, py - self.y);
            let depth = self.outline.depth(dx, dy);
            if depth >= 1.0 + soft {
                return None;
            }
            let inside = 1.0 - step(1.0 - soft, 1.0 + soft, depth);
            let chromatin = self.chromatin_at(dx, dy);
            let cytoplasm =
                inside * self.thickness(dx, dy, depth) * (1.0 - 0.6 * chromatin.min(1.0));
            Some(std::array::from_fn(|c| {
                self.cytoplasm[c] * cytoplasm + self.chromatin[c] * chromatin
            }))
        });
    }

    /// How thick the cytoplasm is at a point inside: 1 on the whole.
    fn thickness(&self, dx: f32, dy: f32, depth: f32) -> f32 {
        let grain = 1.0 / (7.0 * self.scale);
        let cloud = 1.0 / (26.0 * self.scale);
        let mut thick = 0.86
            + 0.16 * noise(dx * cloud, dy * cloud, self.texture)
            + 0.07 * noise(dx * grain, dy * grain, self.texture ^ 1);
        // A rim that curls up, and a middle that bulges.
        thick += 0.22 * step(0.86, 0.97, depth) + 0.12 * (1.0 - depth);
        for fold in &self.folds {
            let wave = 3.0 * self.scale * noise(dx * cloud, dy * cloud, self.texture ^ 2);
            let away = (dx * fold.normal.0 + dy * fold.normal.1 - fold.offset + wave).abs();
            thick += fold.depth * (1.0 - step(0.0, 2.6 * self.scale, away));
        }
        if self.kind.has_halo {
            thick *= 0.30
                + 0.95
                    * step(
                        0.48,
                        0.64,
                        depth + 0.05 * noise(dx * cloud, dy * cloud, self.texture ^ 3),
                    );
        }
        thick.max(0.0)
    }

    /// How much chromatin lies at a point: 0 outside of the nucleus, about 1 inside.
    fn chromatin_at(&self, dx: f32, dy: f32) -> f32 {
        let mut most = 0.0_f32;
        for (lx, ly, outline) in &self.lobes {
            let (nx, ny) = (dx - lx, dy - ly);
            if nx.abs().max(ny.abs()) > outline.longest + 1.5 {
                continue;
            }
            let depth = outline.depth(nx, ny);
            let soft = 1.2 / outline.longest;
            let inside = 1.0 - step(1.0 - soft, 1.0 + soft, depth);
            if inside <= 0.0 {
                continue;
            }
            let clump = 1.0 / (2.6 * self.scale).max(1.3);
            let texture = noise(nx * clump, ny * clump, self.texture ^ 4)
                + 0.5 * noise(nx * clump * 0.45, ny * clump * 0.45, self.texture ^ 5);
            let membrane = 0.22 * step(0.72, 0.92, depth);
            most = most.max(inside * (0.88 + self.kind.coarseness * texture * 0.6 + membrane));
        }
        most.max(0.0)
    }
}

fn lobes(
    random: &mut Random,
    kind: &CellKind,
    radius: f32,
    nucleus: f32,
) -> Vec<(f32, f32, Outline)> {
    let n = kind.lobes.0 + random.below(kind.lobes.1 - kind.lobes.0 + 1);
    let free = (radius - nucleus) * 0.3;
    let (x, y) = (random.between(-free, free), random.between(-free, free));
    if n == 1 {
        return vec![(x, y, Outline::new(random, nucleus, kind.nucleus_roughness))];
    }
    let start = random.unit();
    let away = (radius - nucleus) * 0.62;
    let lobe = |i| {
        let turn = start + i as f32 / n as f32;
        let size = nucleus * random.between(0.8, 1.0);
        let outline = Outline::new(random, size, kind.nucleus_roughness);
        // Lobes hang together: they keep to one side of the cell's middle.
        (away * cosine(turn), away * sine(turn), outline)
    };
    (0..n).map(lobe).collect()
}
