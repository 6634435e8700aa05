//! A trained segmenter: from bytes, to bytes, and the cells of pictures.

use super::evidence::{Answers, Evidence, Segmentation};
use super::prepare::Prepared;
use super::task::SegmenterTask;
use super::watershed::{LEVELS, Parting};
use crate::dense::{DenseNetwork, Picture, Task as _};
use crate::detector::{Region, Tile, Tiles};
use crate::device::OpenDevice;
use crate::layers::values::{fill, read};
use crate::models::MULTIPLE;
use crate::samples::Normalisation;
use crate::state::{self, FileError};
use serde::{Deserialize, Serialize};

/// What a segmenter's file says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmenterSpec {
    /// The version of this description.
    pub segmenter: u32,
    pub task: SegmenterTask,
    /// Pixels that the network sees for one of the field: what it was trained at.
    pub scale: f64,
    /// Whether the network sees pictures in grey.
    pub gray: bool,
    pub normalisation: Normalisation,
    /// Fingerprint of the weights that its training began with, if they were not fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
}

const VERSION: u32 = 1;

impl SegmenterSpec {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.task.problems();
        if self.segmenter != VERSION {
            let given = self.segmenter;
            problems.push(format!("version is {given}, this program reads {VERSION}"));
        }
        if !(0.001..=100.0).contains(&self.scale) {
            problems.push(format!(
                "scale is {}, it goes from 0.001 to 100",
                self.scale
            ));
        }
        problems.extend(self.normalisation.problems());
        problems
    }
}

/// Why a picture can't be segmented.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("the network could not compute")]
    Network(#[source] candle_core::Error),
}

/// What counts as a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentOptions {
    /// Pixels that are less probably of a cell are background.
    pub min_probability: f32,
    /// Two that touch are two if both are deeper than where they meet by this part of a cell's depth.
    pub min_depth: f32,
    /// Smaller ones, in pixels that the network sees, are none.
    pub min_area: u32,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            min_probability: 0.5,
            min_depth: 0.2,
            min_area: 20,
        }
    }
}

impl SegmentOptions {
    fn parting(&self) -> Parting {
        let levels = self.min_depth.clamp(0.0, 1.0) * f32::from(LEVELS);
        Parting {
            depth: levels.round() as u16,
            min_area: self.min_area,
        }
    }
}

/// A network with its description.
#[derive(Debug)]
pub struct Segmenter {
    spec: SegmenterSpec,
    network: DenseNetwork,
}

impl Segmenter {
    pub(super) fn new(
        task: SegmenterTask,
        scale: f64,
        gray: bool,
        pretrained: Option<String>,
        normalisation: Normalisation,
        network: DenseNetwork,
    ) -> Self {
        let spec = SegmenterSpec {
            segmenter: VERSION,
            task,
            scale,
            gray,
            normalisation,
            pretrained,
        };
        Self { spec, network }
    }

    /// Reads a file that [`Self::to_bytes`] made. Sizes are checked against the limits before memory is asked for.
    pub fn from_bytes(bytes: &[u8], device: &OpenDevice) -> Result<Self, FileError> {
        let (file, description) = state::parse(bytes)?;
        let spec: SegmenterSpec =
            serde_json::from_str(&description).map_err(|it| FileError::Description {
                reason: it.to_string(),
            })?;
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(FileError::Impossible { problems });
        }
        let layers = spec.task.build(0, device.candle());
        let mut network = DenseNetwork::new(layers.map_err(FileError::Network)?, 0, device);
        let values = state::named(&file, &mut network.layers, "")?;
        state::only(&file, &values)?;
        state::restore(&mut network.layers, &values).map_err(FileError::Network)?;
        Ok(Self { spec, network })
    }

    /// A safetensors file with the description in its metadata. Equal segmenters give equal bytes.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, FileError> {
        let values = state::values_of(&mut self.network.layers).map_err(FileError::Network)?;
        let text = serde_json::to_string(&self.spec);
        let text = text.expect("a description has text keys and finite numbers");
        Ok(state::to_bytes(&values, text))
    }

    pub const fn spec(&self) -> &SegmenterSpec {
        &self.spec
    }

    /// Width or height of a field as the network sees it: `length` times the scale, at least one pixel.
    pub fn seen_length(&self, length: usize) -> usize {
        ((length as f64 * self.spec.scale).round() as usize).max(1)
    }

    /// The cells of a picture that has the size that the network sees. Each pixel is told by the tile that owns it, and
    /// cells are made of all pixels together, so no cell is cut where tiles meet.
    pub fn segment(
        &mut self,
        picture: &Picture,
        tiles: &Tiles,
        options: &SegmentOptions,
    ) -> Result<Segmentation, SegmentError> {
        let prepared = self.spec.task.preparation.of(picture, self.spec.gray);
        let size = [picture.width(), picture.height()];
        let n_classes = self.spec.task.n_classes;
        let mut evidence = Evidence::new(size, n_classes, options.min_probability);
        for tile in tiles.of(size[0], size[1]) {
            let told = self.tile(&tile, picture, &prepared, &mut evidence);
            told.map_err(SegmentError::Network)?;
        }
        Ok(evidence.cells(options.parting()))
    }

    fn tile(
        &mut self,
        tile: &Tile,
        picture: &Picture,
        prepared: &Prepared,
        evidence: &mut Evidence,
    ) -> candle_core::Result<()> {
        let Region { width, height, .. } = tile.shown;
        if width * height == 0 {
            return Ok(());
        }
        let mut pixels = picture.part(tile.shown);
        prepared.apply(&mut pixels);
        let round = |it: usize| it.div_ceil(MULTIPLE) * MULTIPLE;
        let (rows, columns) = (round(height), round(width));
        let mut x = self.network.pass.take(&[1, rows, columns, 3])?;
        let normalisation = &self.spec.normalisation;
        fill(&mut x, |x| {
            // Beyond the picture is what normalisation makes 0 of.
            x.fill(0.0);
            let lines = pixels.chunks_exact(width * 3);
            for (line, out) in lines.zip(x.chunks_exact_mut(columns * 3)) {
                normalisation.apply(line, &mut out[..width * 3]);
            }
        })?;
        let y = self.network.infer(x)?;
        {
            let answers = Answers {
                values: &read(&y)?,
                columns,
                shown: tile.shown,
            };
            evidence.add(&answers, tile.own_pixels());
        }
        self.network.pass.give(y);
        Ok(())
    }
}
