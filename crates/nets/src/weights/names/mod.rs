//! What other sources call the values of a network, and what pictures their weights want.

mod efficientnet_lite;
pub(super) mod keras;
mod torchvision;

use super::Foreign;
use crate::models::{Family, is_head};
use crate::samples::Normalisation;

/// A program or collection that weights come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: &'static str,
    /// What a file of this source calls a value of ours; none where it has no such value.
    rename: fn(Family, &str) -> Option<String>,
    /// What the weights were trained on; none where the file alone tells it.
    pub(super) normalisation: Option<Normalisation>,
}

/// Files with the names of this crate: its own models, or the same networks trained elsewhere.
const OWN: Source = Source {
    name: "cellmill",
    rename: |_, name| Some(name.to_owned()),
    normalisation: None,
};

const SOURCES: [&Source; 3] = [&efficientnet_lite::SOURCE, &torchvision::SOURCE, &OWN];

impl Source {
    pub(super) fn rename(&self, family: Family, ours: &str) -> Option<String> {
        (self.rename)(family, ours)
    }
}

/// The source that has most of these names of a body in the file, if any has one.
pub(super) fn recognise<'a>(
    foreign: &Foreign,
    family: Family,
    ours: &(impl Iterator<Item = &'a str> + Clone),
) -> Option<&'static Source> {
    let found = |source: &Source| {
        let body = ours.clone().filter(|it| !is_head(it));
        let names = body.filter_map(|it| source.rename(family, it));
        names.filter(|it| foreign.arrays.contains_key(it)).count()
    };
    let counts = SOURCES.into_iter().map(|it| (found(it), it));
    let best = counts.max_by_key(|it| it.0)?;
    (best.0 > 0).then_some(best.1)
}

/// The source whose names are used when a network of this family leaves.
pub(super) const fn outside(family: Family) -> &'static Source {
    match family {
        Family::EfficientNetLite0 => &efficientnet_lite::SOURCE,
        Family::ResNet18 | Family::ResNet34 | Family::Vgg11 | Family::Vgg16 => &torchvision::SOURCE,
        Family::MobileNet => &OWN,
    }
}
