//! Small pictures for lists.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::image::RgbImage;

/// The longer side of thumbnails.
pub const THUMBNAIL_SIDE: u32 = 256;

/// JPEG quality of thumbnails: below 80 the stain's colours shift visibly.
const QUALITY: u8 = 85;

/// A JPEG no larger than `max_side` on either side, in the proportions of the image.
///
/// Nothing of the source but its pixels is kept: no EXIF and no profile, which may hold
/// the name of a patient. Equal images give equal bytes on one kind of processor.
pub fn thumbnail(image: &RgbImage, max_side: u32) -> Vec<u8> {
    let small = resize_to_fit(image, max_side);
    let mut jpeg = Vec::with_capacity(small.data.len() / 4);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(
            &small.data,
            small.width as u16,
            small.height as u16,
            ColorType::Rgb,
        )
        .expect("a thumbnail is small enough for JPEG and memory takes every write");
    jpeg
}

/// The image with its longer side at most `max_side` pixels; a smaller image stays as it is.
///
/// Averages over the area of each new pixel, so nothing flickers in or out.
pub fn resize_to_fit(image: &RgbImage, max_side: u32) -> RgbImage {
    let max_side = max_side.clamp(1, u32::from(u16::MAX));
    let longer = image.width.max(image.height);
    if longer <= max_side {
        return image.clone();
    }
    let scaled = |side: u32| {
        let rounded =
            (u64::from(side) * u64::from(max_side) + u64::from(longer) / 2) / u64::from(longer);
        (rounded as u32).max(1)
    };
    resize(image, scaled(image.width), scaled(image.height))
}

/// The image in exactly this size, proportions or not. Sides of 0 count as 1.
pub fn resize(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    const VALID: &str = "an RGB image holds width x height x 3 bytes";
    let (width, height) = (width.max(1), height.max(1));
    let source =
        TypedImageRef::<U8x3>::from_buffer(image.width, image.height, &image.data).expect(VALID);
    let mut data = vec![0; width as usize * height as usize * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut data).expect(VALID);
    // Box averages when shrinking, but only repeats pixels when growing.
    let grows = width > image.width || height > image.height;
    let filter = if grows {
        FilterType::Bilinear
    } else {
        FilterType::Box
    };
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .use_alpha(false);
    // By its type: asked for by value, the resizer is compiled for every pixel it knows, which takes minutes.
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("source and target were checked against their sizes");
    drop(target);
    RgbImage {
        width,
        height,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    #[test]
    fn a_thumbnail_keeps_proportions_and_colour() {
        let image = RgbImage::filled(2000, 500, [200, 120, 160]);
        let small = decode(&thumbnail(&image, THUMBNAIL_SIDE), &Limits::default())
            .unwrap()
            .image;
        assert_eq!((small.width, small.height), (256, 64));
        let [r, g, b] = small.pixel(100, 30).unwrap();
        assert!(
            r.abs_diff(200) < 4 && g.abs_diff(120) < 4 && b.abs_diff(160) < 4,
            "{r} {g} {b}"
        );
    }

    #[test]
    fn small_and_thin_images_stay_valid() {
        for (width, height, want) in [
            (10, 10, (10, 10)),
            (1, 20_000, (1, 256)),
            (5000, 1, (256, 1)),
        ] {
            let jpeg = thumbnail(&RgbImage::new(width, height), THUMBNAIL_SIDE);
            let got = crate::header(
                &jpeg,
                &Limits {
                    min_side: 1,
                    ..Limits::default()
                },
            )
            .unwrap();
            assert_eq!((got.width(), got.height()), want);
        }
    }

    #[test]
    fn equal_images_give_equal_thumbnails() {
        let image = RgbImage {
            width: 300,
            height: 300,
            data: (0..270_000_u32).map(|it| (it * 7 / 3) as u8).collect(),
        };
        assert_eq!(thumbnail(&image, 256), thumbnail(&image, 256));
    }
}
