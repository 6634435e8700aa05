//! What a dense network is to learn.

use super::crop::Crop;
use crate::layers::Chain;
use crate::loss::Loss;
use candle_core::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a network says at every place, and what would have been right.
pub trait Task: Clone + Debug + PartialEq + Send + Sync + Serialize + DeserializeOwned {
    /// What is known of a field.
    type Truth: Debug + Send + Sync;
    /// What a crop shows of it.
    type Seen: Send + Sync;

    /// A fresh network of this seed: pictures `[n, h, w, 3]` to answers `[n, h / stride, w / stride, n_outputs]`.
    fn build(&self, seed: u64, device: &Device) -> candle_core::Result<Chain>;

    /// Values of an answer.
    fn n_outputs(&self) -> usize;

    /// Whether a value of the network is no part of what weights from elsewhere bring.
    fn is_head(&self, name: &str) -> bool;

    /// Places of a field that are worth seeing: cells.
    fn centers(&self, truth: &Self::Truth) -> Vec<[f32; 2]>;

    fn seen(&self, truth: &Self::Truth, crop: &Crop) -> Self::Seen;

    /// The mean loss over the crops' answers, `rows` times `columns` of them each, and its gradient in them.
    fn loss(&self, answers: &[f32], size: [usize; 2], seen: &[Self::Seen]) -> Loss;

    /// Everything that is wrong with it, a line each.
    fn problems(&self) -> Vec<String>;

    /// Words for a fingerprint of what is known of a field.
    fn words(&self, truth: &Self::Truth) -> Vec<u64>;
}
