//! Foreign weights into a network.

use super::names::{self, keras};
use super::{Array, Foreign, Format, WeightsError};
use crate::classifier::ModelSpec;
use crate::layers::values::write;
use crate::layers::{Chain, Layer};
use crate::models::{Family, Network, is_above, is_head};
use crate::samples::Normalisation;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What became of a file of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Who wrote it.
    pub source: &'static str,
    /// Values of the network that were set.
    pub loaded: Vec<String>,
    /// Values of the network that stay as they were made: its head.
    pub fresh: Vec<String>,
    /// Arrays of the file that the network has no place for.
    pub unused: Vec<String>,
    /// What pictures the weights want; none where nobody tells.
    pub normalisation: Option<Normalisation>,
}

/// Sets all values of a network's body, and those of its head that fit. A file that lacks a part of the body, or
/// has another shape of it, changes nothing.
pub fn load_into(
    network: &mut Network,
    foreign: &Foreign,
    family: Family,
) -> Result<Report, WeightsError> {
    load(network, foreign, family, &is_head)
}

/// `is_free` says what need not be in the file.
fn load(
    network: &mut dyn Layer,
    foreign: &Foreign,
    family: Family,
    is_free: &dyn Fn(&str) -> bool,
) -> Result<Report, WeightsError> {
    let ours = shapes(network)?;
    let place = Place {
        what: family.name(),
        ours: &ours,
        is_free,
    };
    if foreign.format == Format::Keras {
        let arranged = keras::arrange(foreign, &ours, true);
        let find = |name: &str| find_arranged(&arranged, name);
        let source = "keras";
        return fill(network, foreign, &place, &find, source, Some(keras::VGG));
    }
    let names = ours.iter().map(|it| it.0.as_str());
    let source = names::recognise(foreign, family, &names)
        .ok_or_else(|| unknown_names(foreign, family.name()))?;
    let find = |name: &str| find_named(foreign, source.rename(family, name));
    fill(
        network,
        foreign,
        &place,
        &find,
        source.name,
        source.normalisation,
    )
}

/// The same for the layers of a family that others are built upon, as in a [`Pyramid`](crate::models::Pyramid): what is
/// above them stays as it is.
pub fn load_below(
    network: &mut Chain,
    foreign: &Foreign,
    family: Family,
) -> Result<Report, WeightsError> {
    load(network, foreign, family, &is_above)
}

/// The same for a `U-Net`: from this crate's names, or from a Keras model of the same depth whose convolutions are
/// each followed by batch normalisation.
pub fn load_into_unet(network: &mut Chain, foreign: &Foreign) -> Result<Report, WeightsError> {
    let ours = shapes(network)?;
    let place = Place {
        what: UNET,
        ours: &ours,
        is_free: &is_head,
    };
    if foreign.format == Format::Keras {
        let arranged = keras::arrange(foreign, &ours, false);
        let find = |name: &str| find_arranged(&arranged, name);
        let source = "keras";
        return fill(network, foreign, &place, &find, source, Some(keras::UNET));
    }
    if !ours.iter().any(|it| foreign.arrays.contains_key(&it.0)) {
        return Err(unknown_names(foreign, UNET));
    }
    let find = |name: &str| find_named(foreign, Some(name.to_owned()));
    fill(network, foreign, &place, &find, "cellmill", None)
}

const UNET: &str = "unet";

/// What a value is called in a file, and the array if the file has it.
type Found<'a> = Option<(String, Option<Cow<'a, Array>>)>;

fn find_arranged<'a>(arranged: &'a BTreeMap<String, (String, Array)>, name: &str) -> Found<'a> {
    let (theirs, array) = arranged.get(name)?;
    Some((theirs.clone(), Some(Cow::Borrowed(array))))
}

fn find_named(foreign: &Foreign, theirs: Option<String>) -> Found<'_> {
    let theirs = theirs?;
    let array = foreign.arrays.get(&theirs).map(Cow::Borrowed);
    Some((theirs, array))
}

fn unknown_names(foreign: &Foreign, network: &'static str) -> WeightsError {
    WeightsError::UnknownNames {
        network,
        names: foreign.arrays.keys().take(3).cloned().collect(),
    }
}

fn shapes(network: &mut dyn Layer) -> Result<Vec<(String, Vec<usize>)>, WeightsError> {
    let mut out = Vec::new();
    let mut add = |name: &str, slot: crate::layers::Slot<'_>| {
        out.push((name.to_owned(), slot.value().dims().to_vec()));
        Ok(())
    };
    network.visit("", &mut add).map_err(WeightsError::Network)?;
    Ok(out)
}

/// What weights are put into.
struct Place<'a> {
    /// How a message calls the network.
    what: &'static str,
    /// Its values with their shapes.
    ours: &'a [(String, Vec<usize>)],
    /// What need not be in the file.
    is_free: &'a dyn Fn(&str) -> bool,
}

fn fill<'a>(
    network: &mut dyn Layer,
    foreign: &Foreign,
    place: &Place<'_>,
    find: &dyn Fn(&str) -> Found<'a>,
    source: &'static str,
    normalisation: Option<Normalisation>,
) -> Result<Report, WeightsError> {
    let &Place {
        what,
        ours,
        is_free,
    } = place;
    let mut values: BTreeMap<&str, Cow<'a, Array>> = BTreeMap::new();
    let (mut used, mut missing) = (BTreeSet::new(), Vec::new());
    for (name, expected) in ours {
        let is_head = is_free(name);
        let (theirs, array) = match find(name) {
            Some((theirs, Some(array))) => (theirs, array),
            Some((theirs, None)) if !is_head => {
                missing.push(theirs);
                continue;
            }
            None if !is_head => {
                missing.push(name.clone());
                continue;
            }
            _ => continue,
        };
        if array.shape != *expected {
            if is_head {
                continue;
            }
            return Err(WeightsError::Shape {
                name: theirs,
                ours: name.clone(),
                given: array.shape.clone(),
                expected: expected.clone(),
            });
        }
        if !array.values.iter().all(|it| it.is_finite()) {
            return Err(WeightsError::NotFinite { name: theirs });
        }
        values.insert(name, array);
        used.insert(theirs);
    }
    if !missing.is_empty() {
        return Err(WeightsError::Missing {
            network: what,
            names: missing,
        });
    }
    let set = network.visit("", &mut |name, slot| match values.get(name) {
        Some(array) => write(slot.value(), |it| it.copy_from_slice(&array.values)),
        None => Ok(()),
    });
    set.map_err(WeightsError::Network)?;
    let (loaded, fresh) = ours
        .iter()
        .map(|it| it.0.clone())
        .partition(|it| values.contains_key(it.as_str()));
    Ok(Report {
        source,
        loaded,
        fresh,
        unused: foreign
            .arrays
            .keys()
            .filter(|it| !used.contains(*it))
            .cloned()
            .collect(),
        normalisation: described(foreign).or(normalisation),
    })
}

/// What a model file of this crate says of its pictures.
fn described(foreign: &Foreign) -> Option<Normalisation> {
    let spec: ModelSpec = serde_json::from_str(foreign.description.as_deref()?).ok()?;
    Some(spec.normalisation)
}
