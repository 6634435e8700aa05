//! The file formats: bytes to named arrays.

#[cfg(feature = "keras")]
mod keras;
mod numbers;
mod pickle;
mod safetensors;
mod torch;

#[cfg(feature = "keras")]
pub(super) use keras::keras;
pub(super) use safetensors::safetensors;
pub(super) use torch::torch;

/// Without the reader of HDF5, a Keras file is known and refused.
#[cfg(not(feature = "keras"))]
pub(super) const fn keras(_bytes: &[u8]) -> Result<super::Foreign, super::WeightsError> {
    Err(super::WeightsError::NotInBuild)
}
