//! TIFF and `BigTIFF`: our own reading of the first directory, the tiff crate for the pixels.

use std::collections::HashSet;
use std::io::{Cursor, ErrorKind};

use ::tiff::decoder::{Decoder, Limits};
use ::tiff::tags::SampleFormat;
use ::tiff::{ColorType, TiffError};

use crate::bytes::{ByteOrder, Bytes};
use crate::exif::Orientation;
use crate::formats::{Inspection, jpeg};
use crate::header::Header;
use crate::refusal::Refusal;
use crate::samples::{Channels, Depth, Samples, buffer};
use crate::sniff::Format;

const TIFF: Format = Format::Tiff;

/// A scanner's stack of pages is a few hundred; more are counted as this many.
const MAX_PAGES: usize = 10_000;
const PALETTE: u64 = 3;
const BLACK_IS_ZERO: u8 = 1;
const JPEG_IN_TIFF: u64 = 7;

mod tag {
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const ORIENTATION: u16 = 274;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const STRIP_LENGTHS: u16 = 279;
    pub(super) const COLOR_MAP: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_LENGTHS: u16 = 325;
}

/// A file and the widths of its numbers: `BigTIFF` has 64-bit offsets.
#[derive(Clone, Copy)]
struct File<'a> {
    bytes: Bytes<'a>,
    is_big: bool,
}

/// The place of one directory.
#[derive(Clone, Copy)]
struct Directory {
    entries_at: usize,
    n_entries: usize,
}

/// One entry of a directory, its values wherever they lie.
#[derive(Clone, Copy)]
struct Entry {
    kind: u16,
    count: usize,
    values_at: usize,
}

impl<'a> File<'a> {
    fn open(data: &'a [u8]) -> Option<(Self, usize)> {
        let order = if data.starts_with(b"II") {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        };
        let bytes = Bytes::new(data, order);
        let is_big = bytes.u16(2)? == 43;
        let file = Self { bytes, is_big };
        Some((file, file.offset(if is_big { 8 } else { 4 })?))
    }

    fn offset(&self, at: usize) -> Option<usize> {
        if self.is_big {
            self.bytes.u64(at)?.try_into().ok()
        } else {
            Some(self.bytes.u32(at)? as usize)
        }
    }

    const fn entry_len(&self) -> usize {
        if self.is_big { 20 } else { 12 }
    }

    fn directory(&self, at: usize) -> Option<Directory> {
        let (n_entries, count_len) = if self.is_big {
            (usize::try_from(self.bytes.u64(at)?).ok()?, 8)
        } else {
            (usize::from(self.bytes.u16(at)?), 2)
        };
        let entries_at = at.checked_add(count_len)?;
        self.bytes
            .slice(entries_at, n_entries.checked_mul(self.entry_len())?)?;
        Some(Directory {
            entries_at,
            n_entries,
        })
    }

    fn next_directory(&self, directory: Directory) -> Option<usize> {
        self.offset(directory.entries_at + directory.n_entries * self.entry_len())
            .filter(|&it| it != 0)
    }

    fn entry(&self, directory: Directory, tag: u16) -> Option<Entry> {
        let mut places =
            (0..directory.n_entries).map(|idx| directory.entries_at + idx * self.entry_len());
        let at = places.find(|&at| self.bytes.u16(at) == Some(tag))?;
        let kind = self.bytes.u16(at + 2)?;
        let count = self.offset(at + 4)?;
        let inline_at = at + if self.is_big { 12 } else { 8 };
        let inline_len = if self.is_big { 8 } else { 4 };
        let fits = count.checked_mul(width_of(kind)?)? <= inline_len;
        Some(Entry {
            kind,
            count,
            values_at: if fits {
                inline_at
            } else {
                self.offset(inline_at)?
            },
        })
    }

    /// The values of an entry; `None` in place of one that lies outside of the file.
    fn values(&self, entry: Entry) -> impl Iterator<Item = Option<u64>> {
        let (file, width) = (*self, width_of(entry.kind).unwrap_or(1));
        (0..entry.count.min(file.bytes.len())).map(move |idx| {
            let at = entry.values_at.checked_add(idx * width)?;
            match width {
                1 => file.bytes.u8(at).map(u64::from),
                2 => file.bytes.u16(at).map(u64::from),
                4 => file.bytes.u32(at).map(u64::from),
                _ => file.bytes.u64(at),
            }
        })
    }

    fn value(&self, directory: Directory, tag: u16) -> Option<u64> {
        self.values(self.entry(directory, tag)?).next()?
    }

    /// Pages from the first directory on, or `None` where the list runs in a circle.
    fn pages(&self, first: Directory, first_at: usize) -> Option<usize> {
        let mut seen = HashSet::from([first_at]);
        let mut next = self.next_directory(first);
        while let Some(at) = next {
            if seen.len() == MAX_PAGES {
                break;
            }
            if !seen.insert(at) {
                return None;
            }
            next = self.directory(at).and_then(|it| self.next_directory(it));
        }
        Some(seen.len())
    }

    /// Where the strips or tiles lie: offset and length of each.
    fn chunks(&self, directory: Directory) -> Option<impl Iterator<Item = Option<(u64, u64)>>> {
        let pair = |offsets, lengths| {
            Some((
                self.entry(directory, offsets)?,
                self.entry(directory, lengths)?,
            ))
        };
        let (offsets, lengths) = pair(tag::STRIP_OFFSETS, tag::STRIP_LENGTHS)
            .or_else(|| pair(tag::TILE_OFFSETS, tag::TILE_LENGTHS))?;
        Some(
            self.values(offsets)
                .zip(self.values(lengths))
                .map(|(offset, len)| offset.zip(len)),
        )
    }
}

/// Bytes of one value of a whole-number kind.
const fn width_of(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 13 => Some(4),
        16..=18 => Some(8),
        _ => None,
    }
}

pub(super) fn inspect(data: &[u8]) -> Result<Inspection, Refusal> {
    let truncated = |what| Refusal::Truncated { format: TIFF, what };
    let (file, at) = File::open(data).ok_or_else(|| truncated("it has no header"))?;
    let directory = file
        .directory(at)
        .ok_or_else(|| truncated("its directory is missing"))?;
    let side = |tag| {
        let value = file
            .value(directory, tag)
            .ok_or_else(|| Refusal::damaged(TIFF, "its size is missing"))?;
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    };
    let (width, height) = (side(tag::WIDTH)?, side(tag::HEIGHT)?);
    let pages = file.pages(directory, at);
    let number = |tag| file.value(directory, tag);
    let channels = number(tag::SAMPLES).unwrap_or(1).min(255) as u8;
    let bits = number(tag::BITS).unwrap_or(1).min(255) as u8;
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    // Planar files are interleaved in a second buffer, so the samples count twice.
    let samples = pixels.saturating_mul(u64::from(channels.max(1)) * u64::from(bits.div_ceil(8)));
    let is_palette = number(tag::PHOTOMETRIC) == Some(PALETTE);
    let header = Header {
        format: TIFF,
        stored_width: width,
        stored_height: height,
        orientation: number(tag::ORIENTATION)
            .and_then(|it| Orientation::parse(it as u16))
            .unwrap_or(Orientation::UPRIGHT),
        channels,
        bits,
        frames: pages.unwrap_or(1) as u32,
        scans: 1,
        decode_cost: samples
            .saturating_mul(if channels > 1 { 2 } else { 1 })
            .saturating_add(if channels < 3 {
                pixels.saturating_mul(3)
            } else {
                0
            })
            .saturating_add(if is_palette { data.len() as u64 } else { 0 }),
    };
    let fault = if pages.is_none() {
        Some(Refusal::damaged(TIFF, "its list of pages runs in a circle"))
    } else {
        check_chunks(file, directory, &header).err()
    };
    Ok(Inspection { header, fault })
}

/// Every strip or tile must lie in the file, and a JPEG inside must be no larger than its
/// place: the tiff crate allocates what that JPEG's own header claims.
fn check_chunks(file: File<'_>, directory: Directory, header: &Header) -> Result<(), Refusal> {
    let chunks = file
        .chunks(directory)
        .ok_or_else(|| Refusal::damaged(TIFF, "it has no strips or tiles"))?;
    let is_jpeg = file.value(directory, tag::COMPRESSION) == Some(JPEG_IN_TIFF);
    let bound = |tag, side: u32| file.value(directory, tag).unwrap_or(0).max(u64::from(side));
    let (max_width, max_height) = (
        bound(tag::TILE_WIDTH, header.stored_width),
        bound(tag::TILE_HEIGHT, header.stored_height),
    );
    for chunk in chunks {
        let place =
            chunk.and_then(|(at, len)| file.bytes.slice(at.try_into().ok()?, len.try_into().ok()?));
        let Some(body) = place else {
            return Err(Refusal::Truncated {
                format: TIFF,
                what: "strips or tiles are missing",
            });
        };
        if is_jpeg && !jpeg::is_at_most(body, max_width, max_height) {
            return Err(Refusal::damaged(
                TIFF,
                "a JPEG inside is larger than its place",
            ));
        }
    }
    Ok(())
}

pub(super) fn decode(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    match palette(data) {
        None => decode_direct(header, data),
        Some(palette) => {
            // The tiff crate refuses palettes, so it gets the file as a grey one and the
            // palette is applied here.
            let mut gray = data.to_vec();
            gray[palette.photometric_at..][..2].copy_from_slice(&palette.black_is_zero);
            let samples = decode_direct(header, &gray)?;
            drop(gray);
            apply_palette(header, &palette.colors, &samples.data)
        }
    }
}

struct Palette {
    photometric_at: usize,
    black_is_zero: [u8; 2],
    /// All reds, then all greens, then all blues, 16 bits each.
    colors: Vec<u8>,
}

fn palette(data: &[u8]) -> Option<Palette> {
    let (file, at) = File::open(data)?;
    let directory = file.directory(at)?;
    let photometric = file.entry(directory, tag::PHOTOMETRIC)?;
    if photometric.kind != 3 || file.values(photometric).next()? != Some(PALETTE) {
        return None;
    }
    let colors = file.values(file.entry(directory, tag::COLOR_MAP)?);
    let black_is_zero = if data.starts_with(b"II") {
        [BLACK_IS_ZERO, 0]
    } else {
        [0, BLACK_IS_ZERO]
    };
    Some(Palette {
        photometric_at: photometric.values_at,
        black_is_zero,
        colors: colors
            .map(|it| Some((it? >> 8) as u8))
            .collect::<Option<_>>()?,
    })
}

fn apply_palette(header: &Header, colors: &[u8], indices: &[u8]) -> Result<Samples, Refusal> {
    let n_colors = colors.len() / 3;
    // `decode_direct` spreads short samples over the full range; undo that to index.
    let step = 255 / ((1_u16 << header.bits.min(8)) - 1).max(1) as usize;
    let mut rgb = buffer(TIFF, header.pixels() * 3)?;
    for (pixel, &index) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(indices) {
        let index = usize::from(index) / step;
        if index >= n_colors {
            return Err(Refusal::damaged(TIFF, "its palette is too short"));
        }
        *pixel = [
            colors[index],
            colors[n_colors + index],
            colors[2 * n_colors + index],
        ];
    }
    Ok(Samples::eight(Channels::Rgb, rgb))
}

fn decode_direct(header: &Header, data: &[u8]) -> Result<Samples, Refusal> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(header.decode_cost).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits
        .decoding_buffer_size
        .max(limits.intermediate_buffer_size);
    // Offsets of the tiles of a large slide.
    limits.ifd_value_size = 16 << 20;
    let mut decoder = Decoder::new(Cursor::new(data))
        .map_err(refuse)?
        .with_limits(limits);
    let color = decoder.colortype().map_err(refuse)?;
    let (channels, bits) = layout_of(color)?;
    let layout = decoder.image_buffer_layout().map_err(refuse)?;
    if layout.sample_format != SampleFormat::Uint {
        return Err(Refusal::unsupported(
            TIFF,
            "of signed or fractional samples",
        ));
    }
    if layout.complete_len as u64 > header.decode_cost {
        return Err(Refusal::damaged(
            TIFF,
            "its headers disagree about its size",
        ));
    }
    let mut raw = buffer(TIFF, layout.complete_len as u64)?;
    decoder.read_image_bytes(&mut raw).map_err(refuse)?;
    if layout.planes > 1 {
        raw = interleave(&raw, layout.planes, usize::from(bits.div_ceil(8)))?;
    }
    if bits < 8 {
        raw = unpack(header, bits, &raw)?;
    }
    let depth = if bits == 16 {
        Depth::SixteenNative
    } else {
        Depth::Eight
    };
    let expected = header.pixels() * channels.count() as u64 * u64::from(bits.div_ceil(8));
    if raw.len() as u64 != expected {
        return Err(Refusal::unsupported(TIFF, "of an unusual sample layout"));
    }
    Ok(Samples {
        channels,
        depth,
        data: raw,
    })
}

fn layout_of(color: ColorType) -> Result<(Channels, u8), Refusal> {
    match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) => Ok((Channels::Gray, bits)),
        // The tiff crate calls grey with a second channel a multiband image.
        ColorType::GrayA(bits @ (8 | 16))
        | ColorType::Multiband {
            bit_depth: bits @ (8 | 16),
            num_samples: 2,
        } => Ok((Channels::GrayAlpha, bits)),
        ColorType::RGB(bits @ (8 | 16)) => Ok((Channels::Rgb, bits)),
        ColorType::RGBA(bits @ (8 | 16)) => Ok((Channels::Rgba, bits)),
        ColorType::CMYK(bits @ (8 | 16)) => Ok((Channels::Cmyk, bits)),
        ColorType::YCbCr(8) => Ok((Channels::Ycc, 8)),
        other => Err(Refusal::unsupported(TIFF, format!("{other:?}"))),
    }
}

fn interleave(planar: &[u8], planes: usize, sample_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut out = buffer(TIFF, planar.len() as u64)?;
    let plane_len = planar.len() / planes;
    for (plane_idx, plane) in planar.chunks_exact(plane_len).enumerate() {
        let places = out
            .chunks_exact_mut(sample_len)
            .skip(plane_idx)
            .step_by(planes);
        for (place, sample) in places.zip(plane.chunks_exact(sample_len)) {
            place.copy_from_slice(sample);
        }
    }
    Ok(out)
}

/// Samples of 1, 2 or 4 bits to a byte each, spread over the full range.
fn unpack(header: &Header, bits: u8, packed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let width = header.stored_width as usize;
    let per_byte = usize::from(8 / bits);
    let mask = (1_u8 << bits) - 1;
    let step = 255 / mask;
    let mut out = buffer(TIFF, header.pixels())?;
    for (row, packed) in out
        .chunks_exact_mut(width)
        .zip(packed.chunks_exact(width.div_ceil(per_byte)))
    {
        for (x, value) in row.iter_mut().enumerate() {
            let shift = 8 - bits as usize * (x % per_byte + 1);
            *value = (packed[x / per_byte] >> shift & mask) * step;
        }
    }
    Ok(out)
}

fn refuse(error: TiffError) -> Refusal {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Refusal::Truncated {
                format: TIFF,
                what: "strips or tiles are missing",
            }
        }
        TiffError::UnsupportedError(what) => Refusal::unsupported(TIFF, what.to_string()),
        other => Refusal::damaged(TIFF, other),
    }
}
