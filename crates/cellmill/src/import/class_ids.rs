//! Which class id a folder's name stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cellmill_core::classes::{Class, ClassTable, MAX_CLASS_ID, colour_of};

use crate::cli::Error;
use crate::commands::class_names::ClassNames;

/// Where ids come from, the first that knows a name decides.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// What the command line says.
    pub(super) wished: Option<ClassTable>,
    /// What the server's class tables say.
    pub(super) known: ClassNames,
    /// `classes.json` in the folder.
    pub(super) beside: Option<ClassTable>,
}

/// The ids of all folders.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ClassIds {
    pub(super) ids: BTreeMap<String, u32>,
    /// Classes that no table of the server has: they are stored there, so that they have names.
    pub(super) fresh: Vec<Class>,
    /// Where sources contradict each other, for a person.
    pub(super) notes: Vec<String>,
}

impl Sources {
    /// Finds the id of each name, or says which names nobody knows.
    pub(super) fn resolve<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<ClassIds, Error> {
        let mut found = ClassIds::default();
        let mut unknown = Vec::new();
        for name in names {
            let wished = of_table(self.wished.as_ref(), name);
            let beside = of_table(self.beside.as_ref(), name);
            let known = self.known.id_of_name(name);
            let id = wished.map(|it| it.id).or(known);
            let Some(id) = id.or(beside.map(|it| it.id)) else {
                unknown.push(name);
                continue;
            };
            if let Some(other) = beside.filter(|it| it.id != id) {
                found.notes.push(format!(
                    "classes.json calls {name} {}, it is taken as {}; --classes {name}={} takes the other",
                    other.id,
                    self.known.shown(id),
                    other.id
                ));
            }
            found.ids.insert(name.to_owned(), id);
            let is_there = self.known.contains(id) || found.fresh.iter().any(|it| it.id == id);
            if !is_there && let Some(class) = wished.or(beside) {
                found.fresh.push(class.clone());
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        Err(Error::Usage {
            what: format!(
                "no class table knows these folders: `{}`",
                unknown.join("`, `")
            ),
            hint: Some(format!(
                "give their ids, 1 to {MAX_CLASS_ID}: --classes {}",
                unknown
                    .iter()
                    .zip(401..)
                    .map(|(name, id)| format!("{name}={id}"))
                    .collect::<Vec<_>>()
                    .join(",")
            )),
        })
    }
}

fn of_table<'a>(table: Option<&'a ClassTable>, name: &str) -> Option<&'a Class> {
    let folded_name = folded(name);
    let mut classes = table?.classes.iter();
    classes.find(|it| folded(&it.name) == folded_name)
}

/// Names are the same when only case, spaces and dashes differ, as in the class tables.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The table that `NAME=ID` items make.
pub(super) fn wished_table(items: &[String]) -> Result<Option<ClassTable>, Error> {
    if items.is_empty() {
        return Ok(None);
    }
    let mut classes = Vec::with_capacity(items.len());
    for item in items {
        let parsed = item
            .rsplit_once('=')
            .and_then(|(name, id)| Some((name.trim(), id.trim().parse::<u32>().ok()?)));
        let Some((name, id)) = parsed.filter(|(_, id)| (1..=MAX_CLASS_ID).contains(id)) else {
            return Err(Error::Usage {
                what: format!("`{item}` is not of the form NAME=ID"),
                hint: Some(format!(
                    "write it as `LSIL=2`; ids go from 1 to {MAX_CLASS_ID}"
                )),
            });
        };
        classes.push(Class {
            id,
            name: name.to_owned(),
            description: String::new(),
            p1n0: None,
            colour: colour_of(id),
        });
    }
    classes.sort_by_key(|it| it.id);
    Ok(Some(ClassTable {
        v: 1,
        name: "wished".to_owned(),
        classes,
    }))
}

/// Reads a class table that was named.
pub(super) fn read_table(path: &Path) -> Result<ClassTable, Error> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    ClassTable::parse("wished", &bytes).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Reads `classes.json` of the folder, where there is one that is a class table.
pub(super) fn table_beside(folder: &Path) -> Option<ClassTable> {
    let bytes = fs::read(folder.join("classes.json")).ok()?;
    ClassTable::parse("beside", &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> ClassTable {
        ClassTable::parse("t", json.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_wished_counts_before_the_tables_and_those_before_the_file() {
        let sources = Sources {
            wished: wished_table(&["mine=500".to_owned(), "HSIL=30".to_owned()]).unwrap(),
            known: ClassNames::default(),
            beside: Some(table(
                r#"{"ids":{"NILM":1,"own":600,"ASC-US":7},"negative":[600]}"#,
            )),
        };
        let found = sources
            .resolve(["asc_us", "NILM", "hsil", "mine", "own"])
            .unwrap();
        let ids: Vec<(&str, u32)> = found
            .ids
            .iter()
            .map(|(name, id)| (name.as_str(), *id))
            .collect();
        assert_eq!(
            ids,
            [
                ("NILM", 5),
                ("asc_us", 7),
                ("hsil", 30),
                ("mine", 500),
                ("own", 600)
            ]
        );
        let fresh: Vec<u32> = found.fresh.iter().map(|it| it.id).collect();
        assert_eq!(fresh, [30, 500, 600]);
        assert!(
            found.fresh[2].p1n0.is_some(),
            "the file says that it is negative"
        );
        assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
    }

    #[test]
    fn all_unknown_folders_are_named_at_once() {
        let error = Sources::default()
            .resolve(["LSIL", "moon", "sun"])
            .unwrap_err();
        assert!(error.to_string().contains("`moon`, `sun`"), "{error}");
        assert!(error.hint().unwrap().contains("moon=401,sun=402"));
    }

    #[test]
    fn an_item_without_an_id_is_refused() {
        for bad in ["LSIL", "LSIL=", "LSIL=x", "LSIL=0", "LSIL=10000"] {
            assert!(wished_table(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
