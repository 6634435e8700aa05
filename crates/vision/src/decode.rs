//! Bytes to upright RGB pixels, within limits and without a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::budget::{DecodeBudget, Share};
use crate::formats;
use crate::header::{Header, Note, header};
use crate::image::RgbImage;
use crate::limits::Limits;
use crate::orient::upright;
use crate::refusal::Refusal;

/// A decoded image; all sizes and boxes are of the upright pixels.
#[derive(Debug)]
pub struct Decoded {
    pub header: Header,
    pub image: RgbImage,
    /// What was decided for the sender, in a fixed order.
    pub notes: Vec<Note>,
    /// The image's part of the budget; keep it as long as the pixels.
    pub share: Option<Share>,
}

/// Decodes an image without a common budget: for tools that hold one image at a time.
///
/// # Errors
/// [`Refusal`]: what is wrong with the image, or which limit it exceeds.
///
/// ```
/// use cellmill_vision::{Limits, decode};
/// let refusal = decode(b"%PDF-1.7", &Limits::default()).unwrap_err();
/// assert_eq!(refusal.code(), "unknown_type");
/// ```
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
    let header = header(bytes, limits)?;
    decode_checked(header, bytes, None)
}

/// Decodes an image after waiting for its part of the process's memory.
///
/// The call blocks, so async callers run it on a blocking thread. The wait is not
/// bounded: see [`DecodeBudget`] for how not to wait for oneself.
///
/// # Errors
/// As [`decode`], and `too_large` when decoding needs more than the whole budget.
pub fn decode_within(
    bytes: &[u8],
    limits: &Limits,
    budget: &DecodeBudget,
) -> Result<Decoded, Refusal> {
    let header = header(bytes, limits)?;
    let share = budget.acquire(peak_bytes(&header))?;
    decode_checked(header, bytes, Some(share))
}

/// Decoding, or turning by a quarter with both images in memory, whichever is more.
fn peak_bytes(header: &Header) -> u64 {
    let turning = if header.orientation.swaps_sides() {
        header.pixels() * 6
    } else {
        0
    };
    header.decode_cost.max(turning)
}

fn decode_checked(
    header: Header,
    bytes: &[u8],
    mut share: Option<Share>,
) -> Result<Decoded, Refusal> {
    let mut notes = header.notes();
    let pixels = catch_unwind(AssertUnwindSafe(|| {
        let (data, more_notes) = formats::decode(&header, bytes)?.into_rgb();
        notes.extend(more_notes);
        let stored = RgbImage {
            width: header.stored_width,
            height: header.stored_height,
            data,
        };
        debug_assert!(
            stored.is_consistent(),
            "{header:?} gave {} bytes",
            stored.data.len()
        );
        Ok(upright(stored, header.orientation))
    }));
    // A decoder that trips over hostile bytes must cost one image and not the worker.
    let image = pixels
        .unwrap_or_else(|_| Err(Refusal::damaged(header.format, "the decoder gave up on it")))?;
    if let Some(share) = &mut share {
        share.shrink_to(image.data.len() as u64);
    }
    Ok(Decoded {
        header,
        image,
        notes,
        share,
    })
}
