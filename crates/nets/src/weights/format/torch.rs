//! What `torch.save` writes since version 1.6: a zip with a pickle that tells names and shapes, and a member for
//! each array of numbers.

use super::super::foreign::{MAX_ARRAYS, MAX_VALUES};
use super::super::{Array, Foreign, Format, WeightsError};
use super::numbers::Kind;
use super::pickle::{self, At, Node, Pickle};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// The description of a model of this crate's size is some 100 kB.
const MAX_PICKLE: u64 = 64 << 20;
/// Under which names training programs keep the weights beside other things.
const TABLES: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

pub(crate) fn torch(bytes: &[u8]) -> Result<Foreign, WeightsError> {
    let mut file = File::open(bytes)?;
    let text = file.member("data.pkl", MAX_PICKLE)?;
    let pickle = pickle::parse(&text).map_err(malformed)?;
    let table = weights(&pickle)?;
    if table.len() > MAX_ARRAYS {
        return Err(too_many("tensors", MAX_ARRAYS));
    }
    let mut arrays = BTreeMap::new();
    let mut n_values = 0_usize;
    for (name, at) in table {
        let Some(view) = view(&pickle, at).map_err(|it| malformed(format!("`{name}`: {it}")))?
        else {
            continue;
        };
        n_values = n_values.saturating_add(view.count().unwrap_or(usize::MAX));
        if n_values > MAX_VALUES {
            return Err(too_many("values", MAX_VALUES));
        }
        let storage = file.storage(&view.key)?;
        let values = view.gather(storage);
        let values =
            values.ok_or_else(|| malformed(format!("`{name}` goes beyond its numbers")))?;
        let array = Array {
            shape: view.shape,
            values,
        };
        // Trained on several cards, names begin so.
        let name = name.strip_prefix("module.").unwrap_or(name);
        arrays.insert(name.to_owned(), array);
    }
    Ok(Foreign::new(Format::Torch, arrays))
}

fn malformed(reason: impl Into<String>) -> WeightsError {
    WeightsError::Malformed {
        format: Format::Torch,
        reason: reason.into(),
    }
}

const fn too_many(what: &'static str, limit: usize) -> WeightsError {
    WeightsError::TooMany {
        format: Format::Torch,
        what,
        limit,
    }
}

/// The zip. Its members are stored as they are, so reading them all takes no more memory than the file.
struct File<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// The folder that all members are in.
    folder: String,
    storages: HashMap<String, Vec<u8>>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let archive =
            ZipArchive::new(Cursor::new(bytes)).map_err(|it| malformed(it.to_string()))?;
        let folder = archive
            .file_names()
            .filter_map(Result::ok)
            .find_map(|it| it.strip_suffix("data.pkl").map(str::to_owned));
        let folder = folder.ok_or_else(|| malformed("member `data.pkl` is missing"))?;
        let mut file = Self {
            archive,
            folder,
            storages: HashMap::new(),
        };
        // Files of the first versions do not say it, and are of little-endian machines.
        if file.member("byteorder", 16).is_ok_and(|it| it == b"big") {
            return Err(malformed("its numbers are big-endian"));
        }
        Ok(file)
    }

    fn member(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, WeightsError> {
        let name = format!("{}{name}", self.folder);
        let member = self.archive.by_name(&name);
        let member = member.map_err(|it| malformed(format!("member `{name}`: {it}")))?;
        if member.size() > limit {
            return Err(malformed(format!("member `{name}` is too large")));
        }
        let mut out = Vec::new();
        let read = member.take(limit).read_to_end(&mut out);
        read.map_err(|it| malformed(format!("member `{name}`: {it}")))?;
        Ok(out)
    }

    fn storage(&mut self, key: &str) -> Result<&[u8], WeightsError> {
        if !self.storages.contains_key(key) {
            let bytes = self.member(&format!("data/{key}"), u64::MAX)?;
            self.storages.insert(key.to_owned(), bytes);
        }
        Ok(&self.storages[key])
    }
}

/// Names and tensors of the table of weights: the pickle itself, or what stands under one of the usual names.
fn weights(pickle: &Pickle) -> Result<Vec<(&str, At)>, WeightsError> {
    let mut at = pickle.top;
    // One table within another is all that occurs.
    for _ in 0..2 {
        let Node::Table(table) = &pickle.nodes[at] else {
            break;
        };
        let named: Vec<(&str, At)> = table
            .iter()
            .filter_map(|(key, value)| match &pickle.nodes[*key] {
                Node::Text(name) => Some((name.as_str(), *value)),
                _ => None,
            })
            .collect();
        if named
            .iter()
            .any(|it| matches!(view(pickle, it.1), Ok(Some(_))))
        {
            return Ok(named);
        }
        let inner = |wanted: &str| named.iter().find(|it| it.0 == wanted);
        match TABLES.into_iter().find_map(inner) {
            Some((_, inner)) => at = *inner,
            None => break,
        }
    }
    let found = match &pickle.nodes[at] {
        Node::Call { class, .. } => match &pickle.nodes[*class] {
            Node::Class(it) => format!("an object of class `{it}`"),
            _ => "an object".to_owned(),
        },
        Node::Table(_) => "a table without tensors".to_owned(),
        _ => "a plain value".to_owned(),
    };
    Err(WeightsError::NoTable {
        format: Format::Torch,
        found,
    })
}

/// A tensor: a look at an array of numbers.
struct View {
    key: String,
    kind: Kind,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The tensor at this place; none where there is something else, or whole numbers.
fn view(pickle: &Pickle, at: At) -> Result<Option<View>, String> {
    let Some((class, arguments)) = call(pickle, at) else {
        return Ok(None);
    };
    let (class, arguments) = if class == "torch._utils._rebuild_parameter" {
        match arguments.first().and_then(|it| call(pickle, *it)) {
            Some(it) => it,
            None => return Err("a parameter without a tensor".to_owned()),
        }
    } else {
        (class, arguments)
    };
    if class != "torch._utils._rebuild_tensor_v2" {
        return Ok(None);
    }
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err("a tensor needs its numbers, offset, shape and strides".to_owned());
    };
    let Node::Outside(storage) = pickle.nodes[*storage] else {
        return Err("its numbers are not outside of the pickle".to_owned());
    };
    let Node::Row(storage) = &pickle.nodes[storage] else {
        return Err("its numbers have no description".to_owned());
    };
    let [_, class, key, ..] = storage[..] else {
        return Err("its numbers have no description".to_owned());
    };
    let (Node::Class(class), Node::Text(key)) = (&pickle.nodes[class], &pickle.nodes[key]) else {
        return Err("its numbers have no kind or no name".to_owned());
    };
    let kind = match class.as_str() {
        "torch.HalfStorage" => Kind::F16,
        "torch.BFloat16Storage" => Kind::BF16,
        "torch.FloatStorage" => Kind::F32,
        "torch.DoubleStorage" => Kind::F64,
        // Counters.
        _ => return Ok(None),
    };
    let (shape, strides) = (wholes(pickle, *shape)?, wholes(pickle, *strides)?);
    if shape.len() != strides.len() {
        return Err("shape and strides are not of one length".to_owned());
    }
    Ok(Some(View {
        key: key.clone(),
        kind,
        offset: whole(pickle, *offset)?,
        shape,
        strides,
    }))
}

/// Name and arguments of a call.
fn call(pickle: &Pickle, at: At) -> Option<(&str, &[At])> {
    let Node::Call { class, arguments } = pickle.nodes[at] else {
        return None;
    };
    match (&pickle.nodes[class], &pickle.nodes[arguments]) {
        (Node::Class(class), Node::Row(arguments)) => Some((class, arguments)),
        _ => None,
    }
}

fn whole(pickle: &Pickle, at: At) -> Result<usize, String> {
    match pickle.nodes[at] {
        Node::Whole(it) => usize::try_from(it).map_err(|_| format!("{it} is no size")),
        _ => Err("a size is no whole number".to_owned()),
    }
}

fn wholes(pickle: &Pickle, at: At) -> Result<Vec<usize>, String> {
    match &pickle.nodes[at] {
        Node::Row(row) => row.iter().map(|it| whole(pickle, *it)).collect(),
        _ => Err("a shape is no tuple".to_owned()),
    }
}

impl View {
    fn count(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1_usize, |product, it| product.checked_mul(*it))
    }

    /// The values in the order of the shape; none where they go beyond the bytes.
    fn gather(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let size = self.kind.size();
        let count = self.count()?;
        let mut contiguous = Vec::with_capacity(self.shape.len());
        let mut step = 1_usize;
        for side in self.shape.iter().rev() {
            contiguous.push(step);
            step = step.checked_mul((*side).max(1))?;
        }
        contiguous.reverse();
        let first = self.offset.checked_mul(size)?;
        if contiguous == self.strides {
            let end = first.checked_add(count.checked_mul(size)?)?;
            return Some(self.kind.values(bytes.get(first..end)?));
        }
        let one = |at: usize| {
            let mut place = self.offset;
            for ((step, side), stride) in contiguous.iter().zip(&self.shape).zip(&self.strides) {
                place = place.checked_add((at / step % side).checked_mul(*stride)?)?;
            }
            let first = place.checked_mul(size)?;
            let value = bytes.get(first..first.checked_add(size)?)?;
            Some(self.kind.values(value)[0])
        };
        (0..count).map(one).collect()
    }
}
