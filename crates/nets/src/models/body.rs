//! The layers of a family without its head, level by level: what detectors take apart and classifiers run through.

use crate::layers::{Chain, Layer};

/// Layers in their order. A level holds what computes at one size of the picture: level 0 at its own, each further
/// one at half the side of the one before, beginning with the layer that halves it.
#[derive(Debug, Default)]
pub(super) struct Body {
    levels: Vec<Level>,
}

/// What a family computes at one size of the picture.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) layers: Chain,
    /// Of its result.
    pub(super) channels: usize,
}

impl Body {
    /// Appends a layer at a level that is the last one or the next.
    pub(super) fn push(
        &mut self,
        level: usize,
        prefix: impl Into<String>,
        layer: impl Layer + 'static,
        channels: usize,
    ) {
        self.levels.resize_with(level + 1, Level::default);
        let it = &mut self.levels[level];
        it.layers.push(prefix, layer);
        it.channels = channels;
    }

    /// Channels of the last level.
    pub(super) fn channels(&self) -> usize {
        self.levels.last().map_or(0, |it| it.channels)
    }

    /// All layers as one.
    pub(super) fn whole(self) -> Chain {
        let mut whole = Chain::default();
        for level in self.levels {
            whole.append(level.layers);
        }
        whole
    }

    pub(super) fn into_levels(self) -> Vec<Level> {
        self.levels
    }
}
