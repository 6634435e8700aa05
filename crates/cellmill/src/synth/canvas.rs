//! The picture while it is made: layers of stain, then light, lens and sensor.

use super::number::{Random, noise, transmitted};

/// Optical density of the smear at every pixel, for red, green and blue.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    density: Vec<[f32; 3]>,
}

/// How the microscope sees the smear.
#[derive(Clone, Debug)]
pub(super) struct Optics {
    /// Colour of the empty slide, 0 to 255.
    pub(super) light: [f32; 3],
    /// How much darker the corners are, 0 to 1.
    pub(super) vignette: f32,
    /// How much the light grows from left to right and from top to bottom.
    pub(super) slope: (f32, f32),
    /// Radius of the blur in pixels, 0 for a sharp picture.
    pub(super) blur: u32,
    /// Spread of the sensor's noise, in grey values.
    pub(super) noise: f32,
}

/// A rectangle of pixels, right and bottom exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) x1: u32,
    pub(super) y1: u32,
    pub(super) x2: u32,
    pub(super) y2: u32,
}

impl Canvas {
    /// An empty slide with a film of mucus on it.
    pub(super) fn new(width: u32, height: u32, film: f32, seed: u32, scale: f32) -> Self {
        let mut density = Vec::with_capacity((width * height) as usize);
        let (wide, fine) = (1.0 / (170.0 * scale), 1.0 / (45.0 * scale));
        for y in 0..height {
            for x in 0..width {
                let (fx, fy) = (x as f32, y as f32);
                let broad = noise(fx * wide, fy * wide, seed);
                let streak = noise(fx * fine * 0.5, fy * fine, seed ^ 0x5bd1);
                let amount = film * (0.5 + 0.5 * broad + 0.25 * streak).max(0.0);
                density.push([amount, amount * 0.9, amount * 0.6]);
            }
        }
        Self {
            width,
            height,
            density,
        }
    }

    /// The pixels within `reach` of a point.
    pub(super) fn around(&self, x: f32, y: f32, reach: f32) -> Area {
        let low = |v: f32| (v - reach).floor().max(0.0) as u32;
        let high = |v: f32, end: u32| ((v + reach).ceil().max(0.0) as u32).min(end);
        Area {
            x1: low(x).min(self.width),
            y1: low(y).min(self.height),
            x2: high(x, self.width),
            y2: high(y, self.height),
        }
    }

    /// Adds stain: `amount` tells the density at a pixel's centre.
    pub(super) fn add(&mut self, area: Area, mut amount: impl FnMut(f32, f32) -> Option<[f32; 3]>) {
        for y in area.y1..area.y2 {
            let row = (y * self.width) as usize;
            for x in area.x1..area.x2 {
                if let Some(more) = amount(x as f32 + 0.5, y as f32 + 0.5) {
                    let pixel = &mut self.density[row + x as usize];
                    for (sum, more) in pixel.iter_mut().zip(more) {
                        *sum += more;
                    }
                }
            }
        }
    }

    /// Takes the photograph: RGB, 8 bits.
    pub(super) fn photograph(&self, optics: &Optics, random: &mut Random) -> Vec<u8> {
        let mut seen = self.lit(optics);
        if optics.blur > 0 {
            // Three boxes in a row come close to a lens out of focus.
            for _ in 0..3 {
                blur_rows(&mut seen, self.width as usize, optics.blur as usize);
                blur_columns(
                    &mut seen,
                    self.width as usize,
                    self.height as usize,
                    optics.blur as usize,
                );
            }
        }
        let mut bytes = Vec::with_capacity(seen.len() * 3);
        for pixel in seen {
            let bits = random.next();
            for (channel, value) in pixel.into_iter().enumerate() {
                // Two bytes in a row are a triangular distribution, near enough to a bell.
                let pair = (bits >> (channel * 16)) as u16;
                let bell = (f32::from(pair >> 8) + f32::from(pair & 255) - 255.0) / 104.0;
                bytes.push((value + bell * optics.noise + 0.5).clamp(0.0, 255.0) as u8);
            }
        }
        bytes
    }

    fn lit(&self, optics: &Optics) -> Vec<[f32; 3]> {
        let (half_w, half_h) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let mut seen = Vec::with_capacity(self.density.len());
        for (y, row) in self.density.chunks_exact(self.width as usize).enumerate() {
            let v = (y as f32 - half_h) / half_h;
            for (x, density) in row.iter().enumerate() {
                let u = (x as f32 - half_w) / half_w;
                let shade = 1.0 - optics.vignette * 0.5 * (u * u + v * v)
                    + 0.5 * (optics.slope.0 * u + optics.slope.1 * v);
                seen.push(std::array::from_fn(|c| {
                    optics.light[c] * shade * transmitted(density[c])
                }));
            }
        }
        seen
    }
}

fn blur_rows(pixels: &mut [[f32; 3]], width: usize, radius: usize) {
    let mut line = vec![[0.0; 3]; width];
    for row in pixels.chunks_exact_mut(width) {
        line.copy_from_slice(row);
        blur_line(&line, radius, |x, value| row[x] = value);
    }
}

fn blur_columns(pixels: &mut [[f32; 3]], width: usize, height: usize, radius: usize) {
    let mut line = vec![[0.0; 3]; height];
    for x in 0..width {
        for (y, out) in line.iter_mut().enumerate() {
            *out = pixels[y * width + x];
        }
        blur_line(&line, radius, |y, value| pixels[y * width + x] = value);
    }
}

/// The mean over `2 radius + 1` neighbours; beyond the ends the end is repeated.
fn blur_line(line: &[[f32; 3]], radius: usize, mut put: impl FnMut(usize, [f32; 3])) {
    let last = line.len() - 1;
    let at = |i: usize, offset: usize| line[(i + offset).saturating_sub(radius).min(last)];
    let share = 1.0 / (2 * radius + 1) as f32;
    for i in 0..line.len() {
        // A running sum would let rounding errors travel along the line.
        let mut sum = [0.0_f32; 3];
        for offset in 0..=2 * radius {
            for (sum, more) in sum.iter_mut().zip(at(i, offset)) {
                *sum += more;
            }
        }
        put(i, sum.map(|it| it * share));
    }
}
