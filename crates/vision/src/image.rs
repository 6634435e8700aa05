//! Plain pixel buffers.

use std::fmt;

/// An upright image, three bytes (red, green, blue) a pixel, rows without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    pub width: u32,
    pub height: u32,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

impl RgbImage {
    /// A black image.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            data: vec![0; width as usize * height as usize * 3],
        }
    }

    /// An image of one colour.
    pub fn filled(width: u32, height: u32, color: [u8; 3]) -> Self {
        Self {
            width,
            height,
            data: color.repeat(width as usize * height as usize),
        }
    }

    /// `None` outside of the image.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        let at = self.index(x, y)?;
        self.data.get(at..at + 3)?.try_into().ok()
    }

    /// Sets a pixel; outside of the image nothing happens.
    pub fn set_pixel(&mut self, x: u32, y: u32, color: [u8; 3]) {
        if let Some(at) = self.index(x, y) {
            self.data[at..at + 3].copy_from_slice(&color);
        }
    }

    fn index(&self, x: u32, y: u32) -> Option<usize> {
        (x < self.width && y < self.height)
            .then(|| (y as usize * self.width as usize + x as usize) * 3)
    }

    /// Does the buffer hold what the sides say?
    pub fn is_consistent(&self) -> bool {
        self.data.len() as u64 == u64::from(self.width) * u64::from(self.height) * 3
    }
}

/// Pixels are left out: a log line is no place for megabytes.
impl fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({} x {})", self.width, self.height)
    }
}

/// Brightness of a pixel: Rec. 601 weights in 14-bit fixed point, as every image library has them.
pub(crate) const fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((r as u32 * 4899 + g as u32 * 9617 + b as u32 * 1868 + 8192) >> 14) as u8
}
