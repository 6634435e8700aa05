//! Cell classes: the built-in table (FORMATS A.4) and the tables that a lab defines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::shown;

/// Every detection before classification.
pub const UNKNOWN_CLASS: u32 = 100;
/// What a filter model calls no cell.
pub const NOT_A_CELL: u32 = 200;
/// What the size filter dropped.
pub const TOO_SMALL: u32 = 201;
/// Answers of a two-class classifier, and of a case as a whole.
pub const NEGATIVE: u32 = 50;
pub const POSITIVE: u32 = 51;

/// The highest id that a lab's class may have: four digits, so that a cell name stays under 255 bytes.
pub const MAX_CLASS_ID: u32 = 9_999;

/// Classes that older code counted as negative, wherever it looked.
pub const LEGACY_NEGATIVE: [u32; 6] = [1, 5, 12, 13, 14, 15];

/// `p1n0`: is a class a finding?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Polarity {
    /// 0.
    Negative,
    /// 1.
    Positive,
}

impl From<Polarity> for u8 {
    fn from(polarity: Polarity) -> Self {
        match polarity {
            Polarity::Negative => 0,
            Polarity::Positive => 1,
        }
    }
}

impl TryFrom<u8> for Polarity {
    type Error = UnknownPolarity;

    fn try_from(number: u8) -> Result<Self, UnknownPolarity> {
        match number {
            0 => Ok(Self::Negative),
            1 => Ok(Self::Positive),
            _ => Err(UnknownPolarity(number)),
        }
    }
}

/// A number that is neither negative nor positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("p1n0 is {0}, it is 0 for negative or 1 for positive")]
pub struct UnknownPolarity(pub u8);

/// One class of cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub id: u32,
    /// Short, as on a button: `LSIL`.
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `None` where the question makes no sense (unknown, not a cell).
    #[serde(default)]
    pub p1n0: Option<Polarity>,
    /// `#rrggbb`; a table that leaves it out gets [`colour_of`].
    #[serde(default)]
    pub colour: String,
}

/// `classes/<name>.json`: the classes that a lab defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassTable {
    #[serde(default = "first_version")]
    pub v: u32,
    pub name: String,
    /// Ascending by id, every id and every name once.
    pub classes: Vec<Class>,
}

const fn first_version() -> u32 {
    1
}

/// Why a class table is refused.
#[derive(Debug, thiserror::Error)]
pub enum ClassTableError {
    #[error("class table `{table}` is neither a list of classes nor a map of ids")]
    Malformed {
        table: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("class `{name}` of table `{table}` has the id {id}, ids go from 1 to {MAX_CLASS_ID}")]
    IdOutOfRange {
        table: String,
        name: String,
        id: u32,
    },
    #[error("class table `{table}` defines the {what} twice")]
    Twice { table: String, what: String },
    #[error("class {id} of table `{table}` has no name")]
    NoName { table: String, id: u32 },
    #[error("class table `{table}` calls `{what}` negative or positive but does not define it")]
    Undefined { table: String, what: String },
    #[error("colour `{colour}` of class {id} of table `{table}` is not of the form `#rrggbb`")]
    Colour {
        table: String,
        id: u32,
        colour: String,
    },
}

/// The file forms that are read.
#[derive(Deserialize)]
#[serde(untagged)]
enum TableFile {
    Full(FullTable),
    Ids(IdTable),
}

/// Our own form. The file may leave its name to its place.
#[derive(Deserialize)]
struct FullTable {
    #[serde(default = "first_version")]
    v: u32,
    #[serde(default)]
    name: Option<String>,
    classes: Vec<Class>,
}

/// The form beside image folders: `{"ids": {"RBC": 301}, "description": {..}, "negative": [..], "positive": [..]}`.
#[derive(Deserialize)]
struct IdTable {
    ids: BTreeMap<String, u32>,
    #[serde(default)]
    description: BTreeMap<String, String>,
    #[serde(default)]
    negative: Vec<u32>,
    #[serde(default)]
    positive: Vec<u32>,
}

impl ClassTable {
    /// Reads any form of a class table. `name` is where it stands: `classes/<name>.json`, or the folder it came with.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ClassTableError> {
        let table = shown(name);
        let file = serde_json::from_slice(bytes).map_err(|source| ClassTableError::Malformed {
            table: table.clone(),
            source,
        })?;
        let mut made = match file {
            TableFile::Full(full) => Self {
                v: full.v,
                name: full.name.unwrap_or_else(|| name.to_owned()),
                classes: full.classes,
            },
            TableFile::Ids(ids) => ids.into_table(name, &table)?,
        };
        made.classes.sort_by_key(|it| it.id);
        for class in &mut made.classes {
            if class.colour.is_empty() {
                class.colour = colour_of(class.id);
            }
        }
        made.check()?;
        Ok(made)
    }

    /// Checks the rules of the type: ids in range and once, names not empty and once, colours of the right form.
    pub fn check(&self) -> Result<(), ClassTableError> {
        let table = shown(&self.name);
        let mut names = BTreeMap::new();
        for (at, class) in self.classes.iter().enumerate() {
            let Class {
                id, name, colour, ..
            } = class;
            if !(1..=MAX_CLASS_ID).contains(id) {
                return Err(ClassTableError::IdOutOfRange {
                    table,
                    name: shown(name),
                    id: *id,
                });
            }
            if self.classes[..at]
                .last()
                .is_some_and(|before| before.id == *id)
            {
                return Err(ClassTableError::Twice {
                    table,
                    what: format!("id {id}"),
                });
            }
            if folded(name).is_empty() {
                return Err(ClassTableError::NoName { table, id: *id });
            }
            if names.insert(folded(name), *id).is_some() {
                return Err(ClassTableError::Twice {
                    table,
                    what: format!("name `{}`", shown(name)),
                });
            }
            if !is_colour(colour) {
                return Err(ClassTableError::Colour {
                    table,
                    id: *id,
                    colour: shown(colour),
                });
            }
        }
        Ok(())
    }
}

impl IdTable {
    fn into_table(self, name: &str, table: &str) -> Result<ClassTable, ClassTableError> {
        for id in self.negative.iter().chain(&self.positive) {
            if !self.ids.values().any(|it| it == id) {
                return Err(ClassTableError::Undefined {
                    table: table.to_owned(),
                    what: id.to_string(),
                });
            }
        }
        if let Some(id) = self.negative.iter().find(|it| self.positive.contains(it)) {
            return Err(ClassTableError::Twice {
                table: table.to_owned(),
                what: format!("polarity of {id}"),
            });
        }
        let polarity = |id: u32| {
            let of = |list: &[u32], polarity| list.contains(&id).then_some(polarity);
            of(&self.negative, Polarity::Negative)
                .or_else(|| of(&self.positive, Polarity::Positive))
        };
        let classes = self.ids.iter().map(|(name, &id)| Class {
            id,
            name: name.clone(),
            description: self.description.get(name).cloned().unwrap_or_default(),
            p1n0: polarity(id),
            colour: colour_of(id),
        });
        Ok(ClassTable {
            v: 1,
            name: name.to_owned(),
            classes: classes.collect(),
        })
    }
}

/// The table of FORMATS A.4: (id, name, p1n0, note).
const BUILT_IN: &[(u32, &str, Option<Polarity>, &str)] = {
    use Polarity::{Negative, Positive};
    const N: Option<Polarity> = Some(Negative);
    const P: Option<Polarity> = Some(Positive);
    &[
        (1, "Norm", N, "正常细胞 normal cell"),
        (2, "LSIL", P, ""),
        (3, "HSIL", P, ""),
        (4, "HPV", P, ""),
        (5, "NILM", N, ""),
        (6, "SCC", P, ""),
        (7, "ASCUS", P, ""),
        (8, "ASCH", P, ""),
        (9, "AGC", P, ""),
        (10, "AIS", P, ""),
        (11, "ADC", P, ""),
        (12, "T", N, "滴虫 trichomonas"),
        (13, "M", N, "霉菌 fungus"),
        (14, "HSV", N, ""),
        (15, "X1", N, "线索细胞 clue cell"),
        (20, "PM", N, ""),
        (21, "Metaplasia", N, ""),
        (22, "B1/T1/M1", N, ""),
        (23, "Glandular", N, ""),
        (NEGATIVE, "negative", N, "answer of a two-class classifier"),
        (POSITIVE, "positive", P, "answer of a two-class classifier"),
        (
            UNKNOWN_CLASS,
            "unknown",
            None,
            "a detection before classification",
        ),
        (NOT_A_CELL, "not a cell", None, "answer of a filter model"),
        (
            TOO_SMALL,
            "not a cell, too small",
            None,
            "answer of the size filter",
        ),
    ]
};

/// The built-in classes as a table.
pub fn built_in() -> ClassTable {
    let classes = BUILT_IN.iter().map(|&(id, name, p1n0, note)| Class {
        id,
        name: name.to_owned(),
        description: note.to_owned(),
        p1n0,
        colour: colour_of(id),
    });
    ClassTable {
        v: 1,
        name: "built-in".to_owned(),
        classes: classes.collect(),
    }
}

/// Where a class stands between light and severe; higher is more severe.
///
/// The first nine are the predecessor's order; the rest of the positive classes follow by id (inferred), and classes
/// of a lab come last.
pub fn severity(id: u32) -> u32 {
    const LIGHT: [u32; 5] = [1, 12, 15, 14, 13];
    const SEVERE: [u32; 9] = [7, 8, 2, 3, 4, 6, 9, 10, 11];
    let place = |list: &[u32]| list.iter().position(|it| *it == id).map(|at| at as u32 + 1);
    place(&LIGHT)
        .or_else(|| place(&SEVERE).map(|at| 100 + at))
        .unwrap_or(1_000 + id)
}

/// A colour for a class id, the same on every machine, far from the colours of its neighbours.
///
/// The hue goes on by the golden angle from id to id, which spreads any run of ids over the circle; three
/// brightnesses keep ids apart that meet again after a turn.
pub fn colour_of(id: u32) -> String {
    // 137.508 degrees in steps of a 1536-step colour circle.
    let hue = (u64::from(id) * 586_700 / 1_000) % 1_536;
    let value: u64 = [255, 200, 150][id as usize % 3];
    let (sector, rest) = (hue / 256, hue % 256);
    let (up, down) = (rest, 255 - rest);
    let (r, g, b) = match sector {
        0 => (255, up, 0),
        1 => (down, 255, 0),
        2 => (0, 255, up),
        3 => (0, down, 255),
        4 => (up, 0, 255),
        _ => (255, 0, down),
    };
    let scaled = |part: u64| part * value / 255;
    format!("#{:02x}{:02x}{:02x}", scaled(r), scaled(g), scaled(b))
}

fn is_colour(text: &str) -> bool {
    text.strip_prefix('#')
        .is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Names are the same when only case, spaces and dashes differ: `ASC-US` is `ASCUS`.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The built-in classes and those of a lab's tables, together.
///
/// The first definition of an id or a name stays; what contradicts it is reported in `conflicts`, never dropped in
/// silence.
#[derive(Clone, Debug)]
pub struct KnownClasses {
    by_id: BTreeMap<u32, Class>,
    ids_by_name: BTreeMap<String, u32>,
    conflicts: Vec<ClassConflict>,
}

/// Two tables that do not agree about a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "table `{table}` says `{other}` (id {other_id}), an earlier table says `{kept}` (id {kept_id})"
)]
pub struct ClassConflict {
    pub table: String,
    pub kept_id: u32,
    pub kept: String,
    pub other_id: u32,
    pub other: String,
}

impl Default for KnownClasses {
    /// The built-in classes alone.
    fn default() -> Self {
        Self::new([])
    }
}

impl KnownClasses {
    /// The built-in classes, then the tables in the order given.
    pub fn new<'a>(tables: impl IntoIterator<Item = &'a ClassTable>) -> Self {
        let mut known = Self {
            by_id: BTreeMap::new(),
            ids_by_name: BTreeMap::new(),
            conflicts: Vec::new(),
        };
        known.add(&built_in());
        for table in tables {
            known.add(table);
        }
        known
    }

    fn add(&mut self, table: &ClassTable) {
        for class in &table.classes {
            let name = folded(&class.name);
            let same_name = self
                .ids_by_name
                .get(&name)
                .and_then(|id| self.by_id.get(id));
            let earlier = self.by_id.get(&class.id).or(same_name);
            match earlier {
                None => {
                    self.ids_by_name.insert(name, class.id);
                    self.by_id.insert(class.id, class.clone());
                }
                Some(kept)
                    if kept.id == class.id
                        && folded(&kept.name) == name
                        && agree(kept.p1n0, class.p1n0) => {}
                Some(kept) => self.conflicts.push(ClassConflict {
                    table: table.name.clone(),
                    kept_id: kept.id,
                    kept: described(kept),
                    other_id: class.id,
                    other: described(class),
                }),
            }
        }
    }

    pub fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    pub fn get(&self, id: u32) -> Option<&Class> {
        self.by_id.get(&id)
    }

    /// The class's name, or its number where nobody named it.
    pub fn name(&self, id: u32) -> String {
        self.get(id)
            .map_or_else(|| id.to_string(), |it| it.name.clone())
    }

    pub fn polarity(&self, id: u32) -> Option<Polarity> {
        self.get(id)?.p1n0
    }

    /// The id of a name, whatever its case and dashes: `ASC-US` and `ascus` are both 7.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.ids_by_name.get(&folded(name)).copied()
    }

    /// Every class, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.by_id.values()
    }

    /// What later tables said against earlier ones.
    pub fn conflicts(&self) -> &[ClassConflict] {
        &self.conflicts
    }
}

/// A table that says nothing about the polarity contradicts nobody.
fn agree(a: Option<Polarity>, b: Option<Polarity>) -> bool {
    a.is_none() || b.is_none() || a == b
}

fn described(class: &Class) -> String {
    match class.p1n0 {
        Some(polarity) => format!("{} p1n0={}", class.name, u8::from(polarity)),
        None => class.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_keeps_its_own_rules() {
        built_in().check().unwrap();
        let known = KnownClasses::default();
        assert!(known.conflicts().is_empty());
        assert_eq!(known.name(7), "ASCUS");
        assert_eq!(known.name(301), "301");
        assert_eq!(known.polarity(2), Some(Polarity::Positive));
        assert_eq!(known.polarity(UNKNOWN_CLASS), None);
        for id in LEGACY_NEGATIVE {
            assert_eq!(known.polarity(id), Some(Polarity::Negative));
        }
    }

    #[test]
    fn a_table_of_ids_is_read() {
        let text = r#"{"ids": {"RBC": 301, "WBC": 302}, "description": {"RBC": "red blood cell"}}"#;
        let table = ClassTable::parse("blood", text.as_bytes()).unwrap();
        assert_eq!(table.name, "blood");
        assert_eq!(table.classes[0].description, "red blood cell");
        assert_eq!(table.classes[1].id, 302);
        let known = KnownClasses::new([&table]);
        assert_eq!(known.id_of("rbc"), Some(301));
        assert!(known.conflicts().is_empty());
    }

    #[test]
    fn dashes_make_no_new_class_and_polarity_is_compared() {
        let text =
            r#"{"ids": {"NILM": 1, "ASC-US": 7, "ASC-H": 8}, "negative": [1], "positive": [7, 8]}"#;
        let known = KnownClasses::new([&ClassTable::parse("cric", text.as_bytes()).unwrap()]);
        assert_eq!(known.id_of("ASC-US"), Some(7));
        let [conflict] = known.conflicts() else {
            panic!("{:?}", known.conflicts())
        };
        assert_eq!(
            (conflict.kept_id, conflict.other_id),
            (1, 1),
            "1 is Norm, NILM is 5"
        );
        assert_eq!(
            conflict.to_string(),
            "table `cric` says `NILM p1n0=0` (id 1), an earlier table says `Norm p1n0=0` (id 1)"
        );
    }

    #[test]
    fn our_own_form_reads_back() {
        let table = ClassTable::parse(
            "blood",
            br#"{"ids": {"RBC": 301, "WBC": 302}, "negative": [302]}"#,
        )
        .unwrap();
        let again = ClassTable::parse("elsewhere", &serde_json::to_vec(&table).unwrap()).unwrap();
        assert_eq!(again, table);
    }

    #[test]
    fn tables_that_contradict_themselves_are_refused() {
        for (text, part) in [
            (
                r#"{"ids": {"A": 300, "B": 300}}"#,
                "defines the id 300 twice",
            ),
            (
                r#"{"ids": {"A B": 300, "a-b": 301}}"#,
                "defines the name `a-b` twice",
            ),
            (r#"{"ids": {"A": 10000}}"#, "ids go from 1 to 9999"),
            (r#"{"ids": {"A": 0}}"#, "ids go from 1 to 9999"),
            (r#"{"ids": {"": 3}}"#, "has no name"),
            (
                r#"{"ids": {"A": 3}, "negative": [4]}"#,
                "`4` negative or positive but does not define it",
            ),
            (
                r#"{"ids": {"A": 3}, "negative": [3], "positive": [3]}"#,
                "polarity of 3 twice",
            ),
            (
                r#"{"classes": [{"id": 3, "name": "A", "colour": "red"}]}"#,
                "`#rrggbb`",
            ),
            (r"[]", "neither a list of classes nor a map of ids"),
        ] {
            let error = ClassTable::parse("t", text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn colours_of_the_built_in_classes_and_of_a_labs_first_hundred_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for id in built_in().classes.iter().map(|it| it.id).chain(301..=400) {
            let colour = colour_of(id);
            assert!(is_colour(&colour), "{colour}");
            assert!(seen.insert(colour), "class {id}");
        }
    }

    #[test]
    fn severity_follows_the_predecessor() {
        let mut ids = vec![3, 2, 8, 7, 13, 14, 15, 12, 1];
        ids.sort_by_key(|id| severity(*id));
        assert_eq!(ids, [1, 12, 15, 14, 13, 7, 8, 2, 3]);
    }
}
