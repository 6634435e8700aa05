//! Cutting cells out of an image, as small PNGs that know their source.

use std::borrow::Cow;

use cellmill_core::boxes::BBox;
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use crate::bytes::{ByteOrder, Bytes};
use crate::image::{RgbImage, luma};

/// The text chunk that holds the sha256 of the image a cell was cut from.
const SOURCE_KEYWORD: &str = "source";
const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1A\n";

/// A box that is empty or does not lie in the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "box {},{},{},{} does not lie in the image of {width} x {height} pixels",
    cut.x1, cut.y1, cut.x2, cut.y2
)]
pub struct OutsideImage {
    pub cut: BBox,
    pub width: u32,
    pub height: u32,
}

/// Cuts boxes out of one image and encodes them as PNG.
///
/// Equal pixels, box and source give equal bytes on every machine. The buffers are
/// used again from cell to cell.
#[derive(Debug)]
pub struct CellCutter<'a> {
    image: &'a RgbImage,
    source: &'a str,
    pixels: Vec<u8>,
}

impl<'a> CellCutter<'a> {
    /// `source` is the sha256 of the image file in hex; it goes into every cell.
    pub const fn new(image: &'a RgbImage, source: &'a str) -> Self {
        Self {
            image,
            source,
            pixels: Vec::new(),
        }
    }

    /// The cell in colour.
    ///
    /// # Errors
    /// [`OutsideImage`]: a cell is never padded or moved.
    pub fn color(&mut self, cut: BBox) -> Result<Vec<u8>, OutsideImage> {
        self.collect(cut, |row, out| out.extend_from_slice(row))?;
        Ok(encode(
            &self.pixels,
            cut.width(),
            cut.height(),
            ColorType::Rgb,
            Some(self.source),
        ))
    }

    /// The cell in grey, with the Rec. 601 weights.
    ///
    /// # Errors
    /// As [`Self::color`].
    pub fn gray(&mut self, cut: BBox) -> Result<Vec<u8>, OutsideImage> {
        self.collect(cut, |row, out| {
            out.extend(row.as_chunks::<3>().0.iter().map(|&it| luma(it)));
        })?;
        Ok(encode(
            &self.pixels,
            cut.width(),
            cut.height(),
            ColorType::Grayscale,
            Some(self.source),
        ))
    }

    fn collect(
        &mut self,
        cut: BBox,
        mut push: impl FnMut(&[u8], &mut Vec<u8>),
    ) -> Result<(), OutsideImage> {
        check(self.image, cut)?;
        self.pixels.clear();
        for row in rows(self.image, cut) {
            push(row, &mut self.pixels);
        }
        Ok(())
    }
}

/// The pixels of a box as an image of their own.
///
/// # Errors
/// [`OutsideImage`]: the box is never padded or moved.
pub fn crop(image: &RgbImage, cut: BBox) -> Result<RgbImage, OutsideImage> {
    check(image, cut)?;
    let mut data = Vec::with_capacity(cut.area() as usize * 3);
    for row in rows(image, cut) {
        data.extend_from_slice(row);
    }
    Ok(RgbImage {
        width: cut.width(),
        height: cut.height(),
        data,
    })
}

fn check(image: &RgbImage, cut: BBox) -> Result<(), OutsideImage> {
    if cut.fits(image.width, image.height) {
        Ok(())
    } else {
        Err(OutsideImage {
            cut,
            width: image.width,
            height: image.height,
        })
    }
}

fn rows(image: &RgbImage, cut: BBox) -> impl Iterator<Item = &[u8]> {
    let (start, end) = (cut.x1 as usize * 3, cut.x2 as usize * 3);
    image
        .data
        .chunks_exact(image.width as usize * 3)
        .skip(cut.y1 as usize)
        .take(cut.height() as usize)
        .map(move |it| &it[start..end])
}

/// An image as PNG: quick to write, equal bytes for equal pixels.
pub fn encode_png(image: &RgbImage) -> Vec<u8> {
    encode(&image.data, image.width, image.height, ColorType::Rgb, None)
}

/// Fast compression loses about a tenth in size to the default and wins tenfold in time.
/// The filter is fixed: choosing one for every row costs more than it saves on small cells.
fn encode(
    pixels: &[u8],
    width: u32,
    height: u32,
    color: ColorType,
    source: Option<&str>,
) -> Vec<u8> {
    const TO_MEMORY: &str = "a PNG of checked size can be written to memory";
    let mut out = Vec::with_capacity(pixels.len() / 2 + 256);
    let mut info = png::Info::with_size(width, height);
    info.color_type = color;
    info.bit_depth = BitDepth::Eight;
    let mut encoder = Encoder::with_info(&mut out, info).expect(TO_MEMORY);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Up);
    if let Some(source) = source {
        encoder
            .add_text_chunk(SOURCE_KEYWORD.to_owned(), source.to_owned())
            .expect("a hex text is Latin-1");
    }
    let mut writer = encoder.write_header().expect(TO_MEMORY);
    writer.write_image_data(pixels).expect(TO_MEMORY);
    writer.finish().expect(TO_MEMORY);
    out
}

/// The sha256 of the image that a cell was cut from, in hex; `None` when the PNG
/// does not say.
pub fn read_source(png: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = Bytes::new(png.strip_prefix(SIGNATURE)?, ByteOrder::Big);
    let mut at = 0;
    loop {
        let len = bytes.u32(at)? as usize;
        let body = bytes.slice(at.checked_add(8)?, len)?;
        match bytes.slice(at + 4, 4)? {
            b"tEXt" => {
                if let Some(text) = body
                    .strip_prefix(SOURCE_KEYWORD.as_bytes())
                    .and_then(|it| it.strip_prefix(b"\0"))
                {
                    return Some(String::from_utf8_lossy(text));
                }
            }
            b"IDAT" | b"IEND" => return None,
            _ => {}
        }
        at += len.checked_add(12)?;
    }
}

/// Width and height out of the header of a PNG.
pub fn png_dimensions(png: &[u8]) -> Option<(u32, u32)> {
    let bytes = Bytes::new(png.strip_prefix(SIGNATURE)?, ByteOrder::Big);
    (bytes.slice(4, 4)? == b"IHDR").then_some(())?;
    Some((bytes.u32(8)?, bytes.u32(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    fn gradient() -> RgbImage {
        let data = (0..40_u8)
            .flat_map(|y| (0..60_u8).flat_map(move |x| [x, y, x ^ y]))
            .collect();
        RgbImage {
            width: 60,
            height: 40,
            data,
        }
    }

    #[test]
    fn a_cell_holds_the_pixels_of_its_box_and_its_source() {
        let image = gradient();
        let cut = BBox::new(50, 30, 60, 40);
        let png = CellCutter::new(&image, "abc123").color(cut).unwrap();
        assert_eq!(png_dimensions(&png), Some((10, 10)));
        assert_eq!(read_source(&png).as_deref(), Some("abc123"));
        let cell = decode(&png, &Limits::default()).unwrap().image;
        assert_eq!(cell, crop(&image, cut).unwrap());
        assert_eq!(cell.pixel(0, 0), image.pixel(50, 30));
        assert_eq!(cell.pixel(9, 9), image.pixel(59, 39));
    }

    #[test]
    fn a_gray_cell_has_the_brightness_of_the_pixels() {
        let image = RgbImage::filled(20, 20, [200, 100, 50]);
        let png = CellCutter::new(&image, "")
            .gray(BBox::new(0, 0, 5, 5))
            .unwrap();
        let cell = decode(&png, &Limits::default()).unwrap();
        assert_eq!(cell.header.channels, 1);
        assert_eq!(cell.image.pixel(2, 2), Some([124; 3]));
    }

    #[test]
    fn a_box_outside_of_the_image_is_an_error() {
        let image = gradient();
        let mut cutter = CellCutter::new(&image, "");
        for cut in [
            BBox::new(0, 0, 61, 10),
            BBox::new(0, 35, 10, 41),
            BBox::new(5, 5, 5, 9),
        ] {
            assert!(
                cutter.color(cut).is_err()
                    && cutter.gray(cut).is_err()
                    && crop(&image, cut).is_err()
            );
        }
    }

    #[test]
    fn other_pngs_and_garbage_have_no_source() {
        assert_eq!(read_source(&encode_png(&gradient())), None);
        assert_eq!(read_source(b"\x89PNG\r\n\x1A\n\xFF\xFF\xFF\xFF"), None);
        assert_eq!(png_dimensions(b"nothing"), None);
    }
}
