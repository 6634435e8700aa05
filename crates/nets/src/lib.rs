//! Networks and the device they compute on.
//!
//! A device is chosen by an explicit setting, and one that was asked for and is not there is an error, never a
//! silent fall-back. On it, [`Trainer`] turns [`Samples`] into a [`Classifier`]: fast on the processor, and
//! reproducible to the bit from the seed. No I/O, no documents, no queues: pictures and bytes in, values and
//! bytes out. How it is built and why: `design.md`.

mod augment;
mod baseline;
mod calibrate;
mod classifier;
pub mod dense;
pub mod detector;
mod device;
mod kernels;
pub mod layers;
mod loss;
pub mod models;
mod optimiser;
mod options;
pub mod rng;
mod samples;
mod search;
pub mod segmenter;
mod state;
mod threshold;
mod trainer;
mod view;
pub mod weights;

pub use augment::Augment;
pub use baseline::{FitOptions, HISTOGRAM_LEN, LogisticRegression, histogram, histograms};
pub use calibrate::{
    expected_calibration_error, negative_log_likelihood, softmax_with_temperature, temperature,
};
pub use classifier::{Classifier, ModelSpec, PredictError, Scored};
pub use detector::Detector;
pub use device::{Device, DeviceError, OpenDevice};
pub use kernels::instruction_set;
pub use layers::Precision;
pub use loss::{ClassWeights, Loss, MixedLabel, cross_entropy, mixed_cross_entropy};
pub use models::{Architecture, Family, Scale};
pub use optimiser::{AdamW, learning_rate};
pub use options::{OptionsError, TrainOptions};
pub use samples::{Normalisation, Samples, SamplesError, grey};
pub use search::{Outcome, Search, Trial};
pub use segmenter::Segmenter;
pub use state::FileError;
pub use threshold::{Threshold, threshold_for_recall};
pub use trainer::{EpochReport, Profile, ProfilePart, StepReport, TraceEvent, TrainError, Trainer};
pub use view::N_VIEWS;
