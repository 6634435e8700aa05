//! Label images: PNGs in grey whose pixel values are the ids of cells, 0 where there is none.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter, Transformations};

use crate::header::header;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::samples::buffer;
use crate::sniff::Format;

const PNG: Format = Format::Png;

/// The id of the cell at each pixel, in rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelImage {
    pub width: u32,
    pub height: u32,
    /// `width * height` ids, 0 is the background.
    pub ids: Vec<u16>,
}

/// Reads a label image, of 16 bits or fewer a pixel, without changing a value.
///
/// # Errors
/// [`Refusal`]: as for a picture, and for a PNG in colour, whose values are no ids.
pub fn decode_labels(bytes: &[u8], limits: &Limits) -> Result<LabelImage, Refusal> {
    let header = header(bytes, limits)?;
    if header.format != PNG {
        return Err(Refusal::unsupported(header.format, "no PNG of labels"));
    }
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    // Profiles and texts are compressed and can be bombs; neither is used.
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_ignore_text_chunk(true);
    let refuse = |error| Refusal::damaged(PNG, Box::new(error) as crate::Cause);
    let mut reader = decoder.read_info().map_err(refuse)?;
    let (color, depth) = reader.output_color_type();
    if !matches!(color, ColorType::Grayscale | ColorType::Indexed) {
        return Err(Refusal::unsupported(PNG, "in colour, and not of labels"));
    }
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| Refusal::damaged(PNG, "its size overflows"))?;
    let mut data = buffer(PNG, size as u64)?;
    let frame = reader.next_frame(&mut data).map_err(refuse)?;
    if (frame.width, frame.height) != (header.stored_width, header.stored_height) {
        return Err(Refusal::damaged(
            PNG,
            "its first frame is smaller than the picture",
        ));
    }
    let rows = data.chunks_exact(frame.line_size);
    Ok(LabelImage {
        width: frame.width,
        height: frame.height,
        ids: rows
            .flat_map(|row| values(row, depth, frame.width as usize))
            .collect(),
    })
}

/// The values of a row; those of less than eight bits are packed, the first in the highest bits.
fn values(row: &[u8], depth: BitDepth, width: usize) -> impl Iterator<Item = u16> + '_ {
    let bits = depth as usize;
    let value = move |at: usize| match bits {
        16 => u16::from_be_bytes([row[2 * at], row[2 * at + 1]]),
        8 => u16::from(row[at]),
        _ => {
            let first = at * bits;
            let shifted = row[first / 8] >> (8 - bits - first % 8);
            u16::from(shifted & ((1 << bits) - 1))
        }
    };
    (0..width).map(value)
}

/// A label image as a PNG of 16 bits, equal bytes for equal labels.
pub fn encode_labels(image: &LabelImage) -> Vec<u8> {
    const TO_MEMORY: &str = "a PNG of checked size can be written to memory";
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, image.width, image.height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Sixteen);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Up);
    let mut writer = encoder.write_header().expect(TO_MEMORY);
    let data: Vec<u8> = image.ids.iter().flat_map(|it| it.to_be_bytes()).collect();
    writer.write_image_data(&data).expect(TO_MEMORY);
    writer.finish().expect(TO_MEMORY);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RgbImage, encode_png};

    #[test]
    fn labels_come_back_as_they_went() {
        let image = LabelImage {
            width: 3,
            height: 2,
            ids: vec![0, 1, 255, 256, 4_000, u16::MAX],
        };
        let bytes = encode_labels(&image);
        assert_eq!(decode_labels(&bytes, &Limits::default()).unwrap(), image);
    }

    #[test]
    fn packed_values_are_taken_apart() {
        let bits: Vec<u16> = values(&[0b1010_0000], BitDepth::One, 3).collect();
        assert_eq!(bits, [1, 0, 1]);
        let pairs: Vec<u16> = values(&[0b1101_1000, 0b0100_0000], BitDepth::Two, 5).collect();
        assert_eq!(pairs, [3, 1, 2, 0, 1]);
        let nibbles: Vec<u16> = values(&[0x3F], BitDepth::Four, 2).collect();
        assert_eq!(nibbles, [3, 15]);
    }

    #[test]
    fn a_picture_is_no_label_image() {
        let picture = encode_png(&RgbImage::new(4, 4));
        let refused = decode_labels(&picture, &Limits::default()).unwrap_err();
        assert_eq!(refused.code(), "unsupported_codec");
        let cut = &encode_labels(&LabelImage {
            width: 9,
            height: 9,
            ids: vec![7; 81],
        })[..60];
        assert!(decode_labels(cut, &Limits::default()).is_err());
    }
}
