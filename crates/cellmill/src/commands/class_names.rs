//! Classes as people write them: by id, or by the name that a class table gives.

use cellmill_api::views::{ClassTableView, NewMergedClass};
use cellmill_core::classes::{Class, ClassTable, KnownClasses, Polarity};

use crate::cli::Error;
use crate::client::Client;

/// The classes that a server knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassNames {
    known: KnownClasses,
    tables: Vec<ClassTable>,
}

impl ClassNames {
    pub(crate) async fn of_server(client: &Client) -> Result<Self, Error> {
        Ok(Self::of_views(client.classes().await?))
    }

    fn of_views(views: Vec<ClassTableView>) -> Self {
        let tables: Vec<ClassTable> = views.into_iter().map(table_of).collect();
        Self {
            known: KnownClasses::new(&tables),
            tables,
        }
    }

    /// The table of this name.
    pub(crate) fn table(&self, name: &str) -> Option<&ClassTable> {
        self.tables.iter().find(|it| it.name == name)
    }

    /// The id of a name, whatever its case and dashes.
    pub(crate) fn id_of_name(&self, name: &str) -> Option<u32> {
        self.known.id_of(name)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.known.contains(id)
    }

    /// `2 LSIL`, or the number alone.
    pub(crate) fn shown(&self, id: u32) -> String {
        match self.known.get(id) {
            Some(class) => format!("{id} {}", class.name),
            None => id.to_string(),
        }
    }

    /// The name, or the number where nobody named it.
    pub(crate) fn name(&self, id: u32) -> String {
        self.known.name(id)
    }

    fn id(&self, text: &str) -> Option<u32> {
        let text = text.trim();
        text.parse().ok().or_else(|| self.known.id_of(text))
    }

    /// The ids of a list such as `1,LSIL`.
    pub(crate) fn ids(&self, texts: &[String]) -> Result<Vec<u32>, Error> {
        let unknown: Vec<&str> = texts
            .iter()
            .filter(|it| self.id(it).is_none())
            .map(String::as_str)
            .collect();
        if unknown.is_empty() {
            return Ok(texts.iter().filter_map(|it| self.id(it)).collect());
        }
        Err(Error::Usage {
            what: format!("no class table knows the class `{}`", unknown.join("`, `")),
            hint: Some("give its id, or define it in a class table".to_owned()),
        })
    }

    /// Merged classes such as `negative=1,positive=2,3`.
    pub(crate) fn merged(&self, items: &[String]) -> Result<Vec<NewMergedClass>, Error> {
        let merged = split_merged(items)?.into_iter().map(|(name, of)| {
            Ok(NewMergedClass {
                name,
                class: None,
                of: self.ids(&of)?,
            })
        });
        merged.collect()
    }
}

/// Items with `=` begin a class, the others belong to the one before.
fn split_merged(items: &[String]) -> Result<Vec<(String, Vec<String>)>, Error> {
    let mut merged: Vec<(String, Vec<String>)> = Vec::new();
    for item in items {
        match (item.split_once('='), merged.last_mut()) {
            (Some((name, first)), _) => {
                merged.push((name.trim().to_owned(), vec![first.to_owned()]));
            }
            (None, Some((_, of))) => of.push(item.clone()),
            (None, None) => {
                return Err(Error::Usage {
                    what: format!("`{item}` belongs to no merged class"),
                    hint: Some("write --merge negative=1,positive=2,3".to_owned()),
                });
            }
        }
    }
    Ok(merged)
}

fn table_of(view: ClassTableView) -> ClassTable {
    let classes = view.classes.into_iter().map(|it| Class {
        id: it.id,
        name: it.name,
        description: it.description,
        p1n0: it.p1n0.and_then(|it| Polarity::try_from(it).ok()),
        colour: it.colour,
    });
    ClassTable {
        v: 1,
        name: view.name,
        classes: classes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn classes_are_named_by_id_or_name() {
        let names = ClassNames::default();
        assert_eq!(names.ids(&items("1,lsil,ASC-US")).unwrap(), [1, 2, 7]);
        let error = names.ids(&items("1,moon,sun")).unwrap_err().to_string();
        assert!(error.contains("`moon`, `sun`"), "{error}");
    }

    #[test]
    fn a_merged_class_goes_on_until_the_next_begins() {
        let names = ClassNames::default();
        let merged = names
            .merged(&items("negative=1,5,positive=LSIL,3"))
            .unwrap();
        let shown: Vec<(&str, &[u32])> = merged
            .iter()
            .map(|it| (it.name.as_str(), &it.of[..]))
            .collect();
        assert_eq!(
            shown,
            [("negative", &[1, 5][..]), ("positive", &[2, 3][..])]
        );
        assert!(names.merged(&items("1,2")).is_err());
    }
}
