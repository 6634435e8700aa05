//! A trained network that answers: from bytes, to bytes, and scores for pictures.

use crate::device::OpenDevice;
use crate::layers::Pass;
use crate::layers::values::{fill, read};
use crate::models::{Architecture, Network, Output};
use crate::samples::{Normalisation, Samples, grey};
use crate::state::{self, FileError};
use crate::view::{N_VIEWS, View};
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What a classifier's file says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The version of this description.
    pub v: u32,
    pub architecture: Architecture,
    /// Whether the network sees pictures in grey.
    pub gray: bool,
    /// Of the pictures that it was trained on, or that its first weights were.
    pub normalisation: Normalisation,
    /// Fingerprint of the weights that its training began with, if they were not fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
}

/// The version of [`ModelSpec`] that is written and read.
pub(crate) const SPEC_VERSION: u32 = 1;

impl ModelSpec {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.architecture.problems();
        if self.v != SPEC_VERSION {
            problems.push(format!(
                "version is {}, this program reads {SPEC_VERSION}",
                self.v
            ));
        }
        problems.extend(self.normalisation.problems());
        problems
    }
}

/// What a classifier says about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// One a class; softmax makes probabilities of them.
    pub logits: Vec<f32>,
    /// The feature vector, for search among like pictures.
    pub features: Vec<f32>,
}

impl Scored {
    /// The class of the largest logit, the first of equals.
    pub fn class(&self) -> usize {
        argmax(&self.logits)
    }
}

pub(crate) fn argmax(logits: &[f32]) -> usize {
    (1..logits.len()).fold(
        0,
        |best, at| if logits[at] > logits[best] { at } else { best },
    )
}

/// Why pictures can't be scored.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    #[error(
        "pictures of side {given} were given to a network for side {expected}\nhint: resize the crops to {expected} x {expected}"
    )]
    Side { expected: usize, given: usize },
    #[error("pixels end within a picture: {given} bytes, a picture of side {side} has {one}")]
    Cut {
        side: usize,
        one: usize,
        given: usize,
    },
    #[error("a batch of 0 pictures never ends")]
    Batch,
    #[error("the network could not compute")]
    Network(#[source] candle_core::Error),
}

/// A network with its description.
#[derive(Debug)]
pub struct Classifier {
    spec: ModelSpec,
    network: Network,
    pass: Pass,
}

impl Classifier {
    pub(crate) fn new(spec: ModelSpec, network: Network, device: &OpenDevice) -> Self {
        let pass = device.pass(0);
        Self {
            spec,
            network,
            pass,
        }
    }

    /// Reads a file that [`Self::to_bytes`] made. Sizes are checked against the limits before
    /// memory is asked for.
    pub fn from_bytes(bytes: &[u8], device: &OpenDevice) -> Result<Self, FileError> {
        let (file, description) = state::parse(bytes)?;
        let spec: ModelSpec =
            serde_json::from_str(&description).map_err(|it| FileError::Description {
                reason: it.to_string(),
            })?;
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(FileError::Impossible { problems });
        }
        let build = spec.architecture.build(0.0, 0, device.candle());
        let mut network = build.map_err(FileError::Network)?;
        let values = state::named(&file, &mut network, "")?;
        state::only(&file, &values)?;
        state::restore(&mut network, &values).map_err(FileError::Network)?;
        Ok(Self::new(spec, network, device))
    }

    /// A safetensors file: the weights under `PyTorch`'s names and shapes, the description in the metadata.
    /// Equal classifiers give equal bytes.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, FileError> {
        let values = state::values_of(&mut self.network).map_err(FileError::Network)?;
        Ok(state::to_bytes(&values, description(&self.spec)))
    }

    pub const fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    pub(crate) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Scores all samples, `batch` at a time.
    pub fn predict(
        &mut self,
        samples: &Samples,
        batch: usize,
    ) -> Result<Vec<Scored>, PredictError> {
        let expected = self.spec.architecture.side;
        if samples.side() != expected && !samples.is_empty() {
            return Err(PredictError::Side {
                expected,
                given: samples.side(),
            });
        }
        let mut out = Vec::with_capacity(samples.len());
        self.predict_pixels(samples.pixels(), batch, &mut |it| out.push(it))?;
        Ok(out)
    }

    /// Scores pictures of the network's side, RGB, row after row, and hands each result on in their order. The
    /// last bits of a result may depend on the size of its batch, never on the number of threads.
    pub fn predict_pixels(
        &mut self,
        pixels: &[u8],
        batch: usize,
        each: &mut dyn FnMut(Scored),
    ) -> Result<(), PredictError> {
        self.predict_views(pixels, batch, 1, each)
    }

    /// The same with the mean logits of the first `n_views` of the [eight views](crate::N_VIEWS), and the features of
    /// the picture as it is. While the network computes, what it sees next is made.
    pub fn predict_views(
        &mut self,
        pixels: &[u8],
        batch: usize,
        n_views: usize,
        each: &mut dyn FnMut(Scored),
    ) -> Result<(), PredictError> {
        let side = self.spec.architecture.side;
        let one = side * side * 3;
        if batch == 0 {
            return Err(PredictError::Batch);
        }
        if !pixels.len().is_multiple_of(one) {
            return Err(PredictError::Cut {
                side,
                one,
                given: pixels.len(),
            });
        }
        let grey_pixels;
        let pixels = if self.spec.gray {
            let mut copy = pixels.to_vec();
            copy.par_chunks_mut(3 << 14).for_each(grey);
            grey_pixels = copy;
            &grey_pixels
        } else {
            pixels
        };
        let n_views = n_views.clamp(1, N_VIEWS);
        let parts = pixels.chunks(batch.saturating_mul(one));
        let sights = parts.flat_map(|pixels| (0..n_views).map(move |view| (pixels, view)));
        self.score_all(sights, n_views, each)
            .map_err(PredictError::Network)
    }

    /// `sights` are parts of the pictures with the number of a view; all views of a part follow each other.
    fn score_all<'a>(
        &mut self,
        mut sights: impl Iterator<Item = (&'a [u8], usize)>,
        n_views: usize,
        each: &mut dyn FnMut(Scored),
    ) -> Result<(), candle_core::Error> {
        let Self {
            spec,
            network,
            pass,
        } = self;
        let side = spec.architecture.side;
        let one = side * side * 3;
        let see = |it: &mut Sight<'_>| {
            let view = View::of(it.view);
            let (x, pixels) = (&mut it.x, it.pixels);
            fill(x, |x| spec.normalisation.apply_view(pixels, side, view, x))
        };
        let mut coming = |pass: &mut Pass| {
            let Some((pixels, view)) = sights.next() else {
                return Ok(None);
            };
            let x = pass.take(&[pixels.len() / one, side, side, 3])?;
            Ok::<_, candle_core::Error>(Some(Sight { x, pixels, view }))
        };
        let mut next = coming(pass)?;
        next.as_mut().map(see).transpose()?;
        let mut sums: Vec<Scored> = Vec::new();
        while let Some(sight) = next {
            next = coming(pass)?;
            let (output, seen) = rayon::join(
                || network.infer(sight.x, pass),
                || next.as_mut().map(see).transpose(),
            );
            seen?;
            let output = output?;
            add(&output, &spec.architecture, sight.view, &mut sums)?;
            pass.give(output.logits);
            if sight.view + 1 == n_views {
                for mut it in sums.drain(..) {
                    for logit in it.logits.iter_mut().filter(|_| n_views > 1) {
                        *logit /= n_views as f32;
                    }
                    each(it);
                }
            }
        }
        Ok(())
    }
}

/// Pictures in one view, and the tensor in which the network sees them.
struct Sight<'a> {
    x: Tensor,
    pixels: &'a [u8],
    view: usize,
}

/// Adds the answers to one view to those of the views before.
fn add(
    output: &Output,
    architecture: &Architecture,
    view: usize,
    sums: &mut Vec<Scored>,
) -> Result<(), candle_core::Error> {
    let (all_logits, all_features) = (read(&output.logits)?, read(&output.features)?);
    let all_logits = all_logits.chunks_exact(architecture.n_classes);
    if view == 0 {
        let rows = all_logits.zip(all_features.chunks_exact(architecture.features));
        sums.extend(rows.map(|(logits, features)| Scored {
            logits: logits.to_vec(),
            features: features.to_vec(),
        }));
        return Ok(());
    }
    for (sum, logits) in sums.iter_mut().zip(all_logits) {
        for (sum, logit) in sum.logits.iter_mut().zip(logits) {
            *sum += logit;
        }
    }
    Ok(())
}

pub(crate) fn description(spec: &ModelSpec) -> String {
    serde_json::to_string(spec).expect("a description has text keys and finite numbers")
}
