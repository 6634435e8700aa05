//! Decoded samples as a format gives them, and their way to RGB.
//!
//! Whatever needs no more room than it has is converted in place: a second copy of
//! a large image is what breaks memory limits.

use crate::header::Note;
use crate::refusal::Refusal;
use crate::sniff::Format;

/// How the channels of a pixel are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
    /// Ink amounts, 0 is none.
    Cmyk,
    /// Luma and two chromas of JFIF.
    Ycc,
}

impl Channels {
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb | Self::Ycc => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    const fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// Interleaved samples in rows without padding.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) channels: Channels,
    pub(crate) depth: Depth,
    pub(crate) data: Vec<u8>,
}

/// Bytes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Eight,
    SixteenBig,
    SixteenNative,
}

impl Depth {
    const fn read(self, pair: [u8; 2]) -> u16 {
        match self {
            Self::SixteenBig => u16::from_be_bytes(pair),
            Self::Eight | Self::SixteenNative => u16::from_ne_bytes(pair),
        }
    }
}

impl Samples {
    pub(crate) const fn eight(channels: Channels, data: Vec<u8>) -> Self {
        Self {
            channels,
            depth: Depth::Eight,
            data,
        }
    }

    /// Three bytes a pixel, and what was decided on the way.
    pub(crate) fn into_rgb(mut self) -> (Vec<u8>, Vec<Note>) {
        let mut notes = Vec::new();
        if self.depth != Depth::Eight {
            notes.extend(narrow(&mut self));
        }
        let mut data = self.data;
        match self.channels {
            Channels::Gray => data = spread_gray(&data),
            Channels::GrayAlpha => {
                if flatten_in_place::<2, 1>(&mut data) {
                    notes.push(Note::Flattened);
                }
                data = spread_gray(&data);
            }
            Channels::Rgb => {}
            Channels::Rgba => {
                if flatten_in_place::<4, 3>(&mut data) {
                    notes.push(Note::Flattened);
                }
            }
            Channels::Cmyk => {
                mix_cmyk_in_place(&mut data);
                notes.push(Note::FromCmyk);
            }
            Channels::Ycc => mix_ycc_in_place(&mut data),
        }
        data.shrink_to_fit();
        (data, notes)
    }
}

/// A zeroed buffer, or a refusal where the machine has no such memory: never an abort.
pub(crate) fn buffer(format: Format, len: u64) -> Result<Vec<u8>, Refusal> {
    let mut data = Vec::new();
    let len = usize::try_from(len).map_err(|error| Refusal::damaged(format, error))?;
    data.try_reserve_exact(len)
        .map_err(|error| Refusal::damaged(format, error))?;
    data.resize(len, 0);
    Ok(data)
}

/// The most significant bits that count as camera data in a wider word. Sensors give 10,
/// 12 or 14 bits; shown as 16 they come out at a quarter of their brightness or nearly black.
const CAMERA_BITS: u32 = 14;

/// 16 bits to 8 in place: round(v / 257), or, where no sample uses more than
/// [`CAMERA_BITS`], round(v x 255 / (2^b - 1)) with b the bits in use, at least 8.
fn narrow(samples: &mut Samples) -> Option<Note> {
    let depth = samples.depth;
    let (pairs, _) = samples.data.as_chunks::<2>();
    let highest = pairs.iter().map(|&it| depth.read(it)).max().unwrap_or(0);
    let bits = (u16::BITS - highest.leading_zeros()).max(8);
    let stretch = bits <= CAMERA_BITS
        && highest > 0
        && !samples.channels.has_alpha()
        && samples.channels != Channels::Cmyk;
    let full: u32 = if stretch { (1 << bits) - 1 } else { 0xFFFF };

    let table: Vec<u8> = (0..=u32::from(highest))
        .map(|v| ((v * 255 + full / 2) / full) as u8)
        .collect();
    let n_samples = samples.data.len() / 2;
    for idx in 0..n_samples {
        let value = depth.read([samples.data[2 * idx], samples.data[2 * idx + 1]]);
        samples.data[idx] = table[usize::from(value)];
    }
    samples.data.truncate(n_samples);
    samples.depth = Depth::Eight;
    stretch.then_some(Note::Stretched { bits: bits as u8 })
}

fn spread_gray(gray: &[u8]) -> Vec<u8> {
    let mut rgb = vec![0; gray.len() * 3];
    for (pixel, &value) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(gray) {
        *pixel = [value; 3];
    }
    rgb
}

/// Lays pixels of `FROM` channels, the last one alpha, on white; says whether any was transparent.
fn flatten_in_place<const FROM: usize, const TO: usize>(data: &mut Vec<u8>) -> bool {
    let n_pixels = data.len() / FROM;
    let mut any = false;
    for idx in 0..n_pixels {
        let alpha = u32::from(data[idx * FROM + TO]);
        any |= alpha < 255;
        for channel in 0..TO {
            let value = u32::from(data[idx * FROM + channel]);
            data[idx * TO + channel] = ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    data.truncate(n_pixels * TO);
    any
}

fn mix_cmyk_in_place(data: &mut Vec<u8>) {
    let n_pixels = data.len() / 4;
    for idx in 0..n_pixels {
        let light = 255 - u32::from(data[idx * 4 + 3]);
        for channel in 0..3 {
            let value = (255 - u32::from(data[idx * 4 + channel])) * light;
            data[idx * 3 + channel] = ((value + 127) / 255) as u8;
        }
    }
    data.truncate(n_pixels * 3);
}

/// JFIF's equations in 16-bit fixed point.
fn mix_ycc_in_place(data: &mut [u8]) {
    for pixel in data.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(i32::from);
        let (y, cb, cr) = ((y << 16) + (1 << 15), cb - 128, cr - 128);
        let channel = |value: i32| (value >> 16).clamp(0, 255) as u8;
        *pixel = [
            channel(y + 91_881 * cr),
            channel(y - 22_554 * cb - 46_802 * cr),
            channel(y + 116_130 * cb),
        ];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(channels: Channels, depth: Depth, data: Vec<u8>) -> (Vec<u8>, Vec<Note>) {
        Samples {
            channels,
            depth,
            data,
        }
        .into_rgb()
    }

    #[test]
    fn sixteen_bits_are_scaled_and_not_cut() {
        let data = [0xFFFF_u16, 0x8000, 0x00FF]
            .iter()
            .flat_map(|it| it.to_be_bytes())
            .collect();
        let (got, notes) = rgb(Channels::Rgb, Depth::SixteenBig, data);
        assert_eq!(got, [255, 128, 1]);
        assert!(notes.is_empty());
    }

    #[test]
    fn camera_bits_are_stretched_and_said_so() {
        let data = [4095_u16, 2048, 0]
            .iter()
            .flat_map(|it| it.to_ne_bytes())
            .collect();
        let (got, notes) = rgb(Channels::Gray, Depth::SixteenNative, data);
        assert_eq!(got, [255, 255, 255, 128, 128, 128, 0, 0, 0]);
        assert_eq!(notes, [Note::Stretched { bits: 12 }]);
    }

    #[test]
    fn black_stays_black() {
        let (got, notes) = rgb(Channels::Gray, Depth::SixteenBig, vec![0; 4]);
        assert_eq!((got, notes), (vec![0; 6], vec![]));
    }

    #[test]
    fn transparent_parts_become_white() {
        let (got, notes) = rgb(
            Channels::Rgba,
            Depth::Eight,
            vec![10, 20, 30, 0, 10, 20, 30, 255],
        );
        assert_eq!(got, [255, 255, 255, 10, 20, 30]);
        assert_eq!(notes, [Note::Flattened]);
        let (got, _) = rgb(Channels::GrayAlpha, Depth::Eight, vec![100, 255, 0, 128]);
        assert_eq!(got, [100, 100, 100, 127, 127, 127]);
    }

    #[test]
    fn ink_takes_light_away() {
        let (got, _) = rgb(
            Channels::Cmyk,
            Depth::Eight,
            vec![0, 255, 0, 0, 0, 0, 0, 255],
        );
        assert_eq!(got, [255, 0, 255, 0, 0, 0]);
    }
}
