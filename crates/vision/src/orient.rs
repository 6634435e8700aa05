//! Turning stored pixels upright, once and for all.

use crate::exif::Orientation;
use crate::image::RgbImage;

/// Side of the squares that a transposition works in, so that both images stay in cache.
const TILE: usize = 32;

/// The image as it stands upright. Flips are done in place; turns by a quarter need a second buffer.
pub(crate) fn upright(mut image: RgbImage, orientation: Orientation) -> RgbImage {
    match orientation.value() {
        2 => flip_rows(&mut image),
        3 => image.data.as_chunks_mut::<3>().0.reverse(),
        4 => flip_columns(&mut image),
        5 => return transpose(&image, false, false),
        6 => return transpose(&image, true, false),
        7 => return transpose(&image, true, true),
        8 => return transpose(&image, false, true),
        _ => {}
    }
    image
}

fn flip_rows(image: &mut RgbImage) {
    for row in image.data.chunks_exact_mut(image.width as usize * 3) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

fn flip_columns(image: &mut RgbImage) {
    let row_len = image.width as usize * 3;
    let height = image.height as usize;
    let (upper, lower) = image.data.split_at_mut(height / 2 * row_len);
    for (above, below) in upper
        .chunks_exact_mut(row_len)
        .zip(lower.chunks_exact_mut(row_len).rev())
    {
        above.swap_with_slice(below);
    }
}

/// Exchanges x and y, then mirrors the result in x and in y where asked.
fn transpose(image: &RgbImage, mirror_x: bool, mirror_y: bool) -> RgbImage {
    let (width, height) = (image.width as usize, image.height as usize);
    let source = image.data.as_chunks::<3>().0;
    let mut turned = RgbImage::new(image.height, image.width);
    let target = turned.data.as_chunks_mut::<3>().0;
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for y in top..(top + TILE).min(height) {
                let x_out = if mirror_x { height - 1 - y } else { y };
                for x in left..(left + TILE).min(width) {
                    let y_out = if mirror_y { width - 1 - x } else { x };
                    target[y_out * height + x_out] = source[y * width + x];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter F as 3 x 2 pixels: `1 2 3 / 4 5 6`.
    fn turned(orientation: u16) -> (u32, u32, Vec<u8>) {
        let image = RgbImage {
            width: 3,
            height: 2,
            data: (1..=6).flat_map(|it| [it; 3]).collect(),
        };
        let got = upright(image, Orientation::parse(orientation).unwrap());
        (
            got.width,
            got.height,
            got.data.iter().step_by(3).copied().collect(),
        )
    }

    #[test]
    fn all_eight_orientations_are_turned_as_the_standard_says() {
        assert_eq!(turned(1), (3, 2, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(turned(2), (3, 2, vec![3, 2, 1, 6, 5, 4]));
        assert_eq!(turned(3), (3, 2, vec![6, 5, 4, 3, 2, 1]));
        assert_eq!(turned(4), (3, 2, vec![4, 5, 6, 1, 2, 3]));
        assert_eq!(turned(5), (2, 3, vec![1, 4, 2, 5, 3, 6]));
        assert_eq!(turned(6), (2, 3, vec![4, 1, 5, 2, 6, 3]));
        assert_eq!(turned(7), (2, 3, vec![6, 3, 5, 2, 4, 1]));
        assert_eq!(turned(8), (2, 3, vec![3, 6, 2, 5, 1, 4]));
    }
}
