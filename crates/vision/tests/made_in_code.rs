//! The rules for hostile images, on inputs made here: they hold without any data folder.

use std::io::Cursor;

use cellmill_vision::{
    DecodeBudget, Decoded, Limits, Refusal, RgbImage, decode, decode_within, encode_png, header,
};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;

const WIDTH: u16 = 96;
const HEIGHT: u16 = 64;

fn picture() -> RgbImage {
    let (width, height) = (u32::from(WIDTH), u32::from(HEIGHT));
    let mut picture = RgbImage::filled(width, height, [220, 200, 210]);
    for y in 0..height {
        for x in 0..width {
            let distance = x.abs_diff(30).pow(2) + y.abs_diff(20).pow(2);
            if distance < 225 {
                picture.set_pixel(x, y, [120 + (x % 16) as u8, 60, 140]);
            }
        }
    }
    picture
}

fn jpeg(is_progressive: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_progressive(is_progressive);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&picture().data, WIDTH, HEIGHT, ColorType::Rgb)
        .expect("memory takes every write");
    bytes
}

fn through_image(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let (data, width, height) = (picture().data, u32::from(WIDTH), u32::from(HEIGHT));
    image::write_buffer_with_format(
        &mut bytes,
        &data,
        width,
        height,
        ExtendedColorType::Rgb8,
        format,
    )
    .expect("memory takes every write");
    bytes.into_inner()
}

fn all_formats() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("jpeg", jpeg(false)),
        ("progressive jpeg", jpeg(true)),
        ("png", encode_png(&picture())),
        ("tiff", through_image(ImageFormat::Tiff)),
        ("bmp", through_image(ImageFormat::Bmp)),
        ("gif", through_image(ImageFormat::Gif)),
        ("webp", through_image(ImageFormat::WebP)),
    ]
}

fn open(bytes: &[u8]) -> Result<Decoded, Refusal> {
    decode(bytes, &Limits::default())
}

fn code(bytes: &[u8]) -> &'static str {
    open(bytes).map_or_else(|it| it.code(), |_| "ok")
}

/// The picture is the same in every format, up to what lossy ones lose.
#[test]
fn every_format_gives_the_picture() {
    let want = picture();
    for (name, bytes) in all_formats() {
        let got = open(&bytes).unwrap().image;
        assert_eq!((got.width, got.height), (want.width, want.height), "{name}");
        let off: u64 = got
            .data
            .iter()
            .zip(&want.data)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        assert!(off / (got.data.len() as u64) < 8, "{name} is {off} off");
    }
}

#[test]
fn every_cut_file_is_refused() {
    for (name, bytes) in all_formats() {
        for percent in [2, 10, 25, 50, 75, 90, 99] {
            let got = code(&bytes[..bytes.len() * percent / 100]);
            assert!(
                matches!(got, "truncated" | "unknown_type"),
                "{name} cut to {percent} %: {got}"
            );
        }
    }
    let mut without_end = jpeg(false);
    without_end.truncate(without_end.len() - 2);
    assert_eq!(code(&without_end), "truncated");
}

/// A JPEG whose start-of-frame was changed: `at` counts from its marker byte.
fn jpeg_with(at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg(false);
    let frame = bytes
        .windows(2)
        .position(|it| it == [0xFF, 0xC0])
        .expect("a baseline JPEG has a frame")
        + 1;
    bytes[frame + at..][..value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn headers_are_judged_before_decoding() {
    assert_eq!(code(b""), "empty_file");
    assert_eq!(code(b"%PDF-1.7"), "unknown_type");
    assert_eq!(code(&jpeg_with(4, &[0, 0])), "bad_dimensions");
    assert_eq!(code(&jpeg_with(6, &[0, 0])), "bad_dimensions");
    assert_eq!(code(&jpeg_with(4, &[0xFF, 0xDC, 0xFF, 0xDC])), "too_large");
    assert_eq!(code(&jpeg_with(0, &[0xC9])), "unsupported_codec");
    assert_eq!(code(&jpeg_with(3, &[12])), "unsupported_codec");
    for side in [60_000_u32, 65_536, 0x7FFF_FFFF] {
        let mut png = encode_png(&picture());
        png[16..20].copy_from_slice(&side.to_be_bytes());
        png[20..24].copy_from_slice(&side.to_be_bytes());
        assert_eq!(code(&png), "too_large");
    }
    assert_eq!(code(&encode_png(&RgbImage::new(1, 500))), "too_small");
    assert_eq!(
        code(b"GIF89a/*<script>/*a test*/</script>*/=1;"),
        "decode_failed"
    );
}

#[test]
fn limits_are_settings() {
    let bytes = encode_png(&picture());
    for limits in [
        Limits {
            max_bytes: 100,
            ..Limits::default()
        },
        Limits {
            max_side: 95,
            ..Limits::default()
        },
        Limits {
            max_decoded_bytes: 96 * 64 * 3 - 1,
            ..Limits::default()
        },
    ] {
        assert_eq!(header(&bytes, &limits).unwrap_err().code(), "too_large");
    }
    let refusal = decode_within(&bytes, &Limits::default(), &DecodeBudget::new(1000)).unwrap_err();
    assert_eq!(refusal.code(), "too_large");
    assert!(refusal.hint().contains("decode_budget_bytes"));
}

/// A scan costs the sender a few bytes and the decoder a pass over all blocks.
#[test]
fn many_scans_over_a_large_picture_are_too_slow() {
    let bytes = jpeg(true);
    let scan = bytes.windows(2).rposition(|it| it == [0xFF, 0xDA]).unwrap();
    let mut bomb = bytes[..scan].to_vec();
    for _ in 0..200 {
        bomb.extend_from_slice(&bytes[scan..bytes.len() - 2]);
    }
    bomb.extend_from_slice(&[0xFF, 0xD9]);
    let limits = Limits {
        max_scan_pixels: 1 << 20,
        ..Limits::default()
    };
    assert_eq!(header(&bomb, &limits).unwrap_err().code(), "too_slow");
    assert!(header(&bytes, &limits).is_ok());
}

#[test]
fn a_changed_checksum_is_damage() {
    let mut png = encode_png(&picture());
    let end = png.len() - 14;
    png[end] ^= 0x55;
    assert_eq!(code(&png), "decode_failed");
}

#[test]
fn a_page_list_in_a_circle_is_damage() {
    let mut tiff = through_image(ImageFormat::Tiff);
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let n_entries = usize::from(u16::from_le_bytes([tiff[directory], tiff[directory + 1]]));
    let next = directory + 2 + n_entries * 12;
    let start = tiff[4..8].to_vec();
    tiff[next..next + 4].copy_from_slice(&start);
    assert_eq!(code(&tiff), "decode_failed");
}

#[test]
fn the_orientation_is_applied_once_and_for_all() {
    let upright = open(&jpeg(false)).unwrap().image;
    for orientation in 1..=8_u8 {
        let mut exif =
            b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0".to_vec();
        exif[6 + 8 + 2 + 9] = orientation;
        let mut bytes = jpeg(false);
        let len = (exif.len() as u16 + 2).to_be_bytes();
        let segment = [&[0xFF, 0xE1, len[0], len[1]], &exif[..]].concat();
        bytes.splice(2..2, segment);
        let got = open(&bytes).unwrap();
        let turned = orientation >= 5;
        assert_eq!(
            got.image.width == upright.height,
            turned,
            "orientation {orientation}"
        );
        assert_eq!(
            (got.header.width(), got.header.height()),
            (got.image.width, got.image.height)
        );
        assert_eq!(got.notes.len(), usize::from(orientation != 1));
        let (x, y) = match orientation {
            1 | 5 => (0, 0),
            2 | 6 => (got.image.width - 1, 0),
            3 | 7 => (got.image.width - 1, got.image.height - 1),
            _ => (0, got.image.height - 1),
        };
        assert_eq!(
            got.image.pixel(x, y),
            upright.pixel(0, 0),
            "orientation {orientation}"
        );
    }
}

/// Printers' JPEGs hold inverted ink amounts and an Adobe marker.
#[test]
fn cmyk_becomes_the_same_colours() {
    let ink: Vec<u8> = picture()
        .data
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|it| [it[0], it[1], it[2], 255])
        .collect();
    let mut bytes = Vec::new();
    let ink: Vec<u8> = ink.iter().map(|it| 255 - it).collect();
    Encoder::new(&mut bytes, 95)
        .encode(&ink, WIDTH, HEIGHT, ColorType::Cmyk)
        .unwrap();
    let got = open(&bytes).unwrap().image;
    let want = picture();
    let off: u64 = got
        .data
        .iter()
        .zip(&want.data)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    assert!(off / (got.data.len() as u64) < 12, "{off} off");
}

#[test]
fn alpha_is_laid_on_white_and_said_so() {
    let mut bytes = Vec::new();
    let pixels = [10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 128, 9, 9, 9, 255];
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&pixels, 2, 2, ExtendedColorType::Rgba8)
        .unwrap();
    let got = open(&bytes).unwrap();
    assert_eq!(
        got.image.data,
        [255, 255, 255, 10, 20, 30, 127, 127, 127, 9, 9, 9]
    );
    assert_eq!(got.notes[0].code(), "flattened");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is changed in a file: an image or a refusal, and the memory comes back.
    #[test]
    fn changed_bytes_never_break_the_decoder(
        which in 0usize..7,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let (_, mut bytes) = all_formats().swap_remove(which);
        for (index, value) in changes {
            *index.get_mut(&mut bytes) = value;
        }
        let limits = Limits { max_decoded_bytes: 1 << 24, ..Limits::default() };
        let budget = DecodeBudget::new(1 << 26);
        if let Ok(decoded) = decode_within(&bytes, &limits, &budget) {
            prop_assert!(decoded.image.is_consistent());
        }
        prop_assert_eq!(budget.free(), 1 << 26);
    }
}
