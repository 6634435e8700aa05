//! A trained detector: from bytes, to bytes, and the cells of fields.

use super::boxes::{CellBox, drop_doubles};
use super::found::{FindOptions, found};
use super::loss::Grid;
use super::task::DetectorTask;
use super::tiles::{Region, Tile, Tiles};
use crate::dense::{DenseNetwork, Picture, Task as _};
use crate::device::OpenDevice;
use crate::layers::values::{fill, read};
use crate::models::{MULTIPLE, STRIDE};
use crate::samples::{Normalisation, grey};
use crate::state::{self, FileError};
use serde::{Deserialize, Serialize};

/// What a detector's file says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSpec {
    /// The version of this description.
    pub detector: u32,
    pub task: DetectorTask,
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

impl DetectorSpec {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.task.problems();
        if self.detector != VERSION {
            let given = self.detector;
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

/// Why no cells can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error("a part of the field could not be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the network could not compute")]
    Network(#[source] candle_core::Error),
}

/// A network with its description.
#[derive(Debug)]
pub struct Detector {
    spec: DetectorSpec,
    network: DenseNetwork,
}

impl Detector {
    pub(super) fn new(
        task: DetectorTask,
        scale: f64,
        gray: bool,
        pretrained: Option<String>,
        normalisation: Normalisation,
        network: DenseNetwork,
    ) -> Self {
        let spec = DetectorSpec {
            detector: VERSION,
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
        let spec: DetectorSpec =
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

    /// A safetensors file with the description in its metadata. Equal detectors give equal bytes.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, FileError> {
        let values = state::values_of(&mut self.network.layers).map_err(FileError::Network)?;
        let text = serde_json::to_string(&self.spec);
        let text = text.expect("a description has text keys and finite numbers");
        Ok(state::to_bytes(&values, text))
    }

    pub const fn spec(&self) -> &DetectorSpec {
        &self.spec
    }

    /// Width or height of a field as the network sees it: `length` times the scale, at least one pixel.
    pub fn seen_length(&self, length: usize) -> usize {
        ((length as f64 * self.spec.scale).round() as usize).max(1)
    }

    /// The cells of a picture that has the size that the network sees, in its pixels; the surest first.
    pub fn find(
        &mut self,
        picture: &Picture,
        tiles: &Tiles,
        options: &FindOptions,
    ) -> Result<Vec<CellBox>, DetectError> {
        let size = [picture.width(), picture.height()];
        self.find_in(size, tiles, options, &mut |region| Ok(picture.part(region)))
    }

    /// The same for a field of this `[width, height]` of which `read` gives parts: RGB, row after row. Tiles are asked
    /// for row after row, so a reader that keeps a band of the field reads everything once or twice.
    pub fn find_in(
        &mut self,
        [width, height]: [usize; 2],
        tiles: &Tiles,
        options: &FindOptions,
        read: &mut dyn FnMut(Region) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<Vec<CellBox>, DetectError> {
        let mut boxes = Vec::new();
        for tile in tiles.of(width, height) {
            let pixels = read(tile.shown).map_err(DetectError::Read)?;
            let of_tile = self.tile(&tile, pixels, options);
            let of_tile = of_tile.map_err(DetectError::Network)?;
            // Doubles within a tile are the most; what stays is little however large the field is.
            boxes.extend(drop_doubles(
                of_tile,
                options.max_overlap,
                options.any_class,
            ));
        }
        Ok(drop_doubles(boxes, options.max_overlap, options.any_class))
    }

    /// The boxes that are a tile's own, in the field's pixels.
    fn tile(
        &mut self,
        tile: &Tile,
        mut pixels: Vec<u8>,
        options: &FindOptions,
    ) -> candle_core::Result<Vec<CellBox>> {
        let Region {
            x: left,
            y: top,
            width,
            height,
        } = tile.shown;
        assert_eq!(pixels.len(), width * height * 3, "a region is given whole");
        if self.spec.gray {
            grey(&mut pixels);
        }
        let round = |it: usize| it.div_ceil(MULTIPLE) * MULTIPLE;
        let (rows, columns) = (round(height), round(width));
        let mut x = self.network.pass.take(&[1, rows, columns, 3])?;
        let normalisation = &self.spec.normalisation;
        fill(&mut x, |x| {
            // Beyond the picture is what normalisation makes 0 of.
            x.fill(0.0);
            for (line, out) in pixels
                .chunks_exact(width * 3)
                .zip(x.chunks_exact_mut(columns * 3))
            {
                normalisation.apply(line, &mut out[..width * 3]);
            }
        })?;
        let y = self.network.infer(x)?;
        let grid = Grid {
            columns: columns / STRIDE,
            n_classes: self.spec.task.n_classes(),
            stride: STRIDE as f32,
            reach: self.spec.task.reach,
        };
        let size = [width as f32, height as f32];
        let mut boxes = found(&grid, &read(&y)?, options.min_score, size);
        self.network.pass.give(y);
        for it in &mut boxes {
            let [x1, y1, x2, y2] = &mut it.bbox;
            for (value, by) in [(x1, left), (y1, top), (x2, left), (y2, top)] {
                *value += by as f32;
            }
        }
        boxes.retain(|it| tile.owns(&it.bbox));
        Ok(boxes)
    }
}
