//! What follows a sum in the same pass.

use serde::{Deserialize, Serialize};

/// A function of one value, applied where the value is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The value itself.
    #[default]
    None,
    /// The larger of the value and 0.
    Relu,
    /// The value held between 0 and 6.
    Relu6,
}

impl Activation {
    /// The values between which it holds its input. The gradient passes strictly between them.
    pub(crate) const fn bounds(self) -> [f32; 2] {
        match self {
            Self::None => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }
}

/// The value held between the bounds.
#[expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]
#[inline(always)]
pub(crate) fn held(value: f32, [low, high]: [f32; 2]) -> f32 {
    let value = if value > low { value } else { low };
    if value < high { value } else { high }
}
