//! Images by all the names that a file may call them by.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

/// What a file calls an image or a class: a number or a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(untagged)]
pub(crate) enum Name {
    Number(i64),
    Text(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(it) => write!(f, "{it}"),
            Self::Text(it) => write!(f, "{it}"),
        }
    }
}

/// Which image a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    One(usize),
    /// More than one image is called so.
    Several,
    None,
}

/// Images by key, by file name and by file name without extension, as far as that names only one; numbers by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// `None` where several are called so. Whole names come before parts of them.
    whole: HashMap<Name, Option<usize>>,
    part: HashMap<String, Option<usize>>,
}

impl Names {
    pub(super) fn add_number(&mut self, number: Name, image: usize) {
        add(&mut self.whole, number, image);
    }

    /// Adds a path or file name, and what it can be shortened to.
    pub(super) fn add_path(&mut self, path: &str, image: usize) {
        add(&mut self.whole, Name::Text(path.to_owned()), image);
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        add(&mut self.part, file.to_owned(), image);
        if let Some((stem, _)) = file.rsplit_once('.') {
            add(&mut self.part, stem.to_owned(), image);
        }
    }

    /// A name that is a path of somewhere else means the image with its file name.
    pub(super) fn find(&self, name: &Name) -> Meant {
        let part = |text: &str| self.part.get(text);
        let found = self.whole.get(name).or_else(|| match name {
            Name::Number(_) => None,
            Name::Text(it) => part(it).or_else(|| part(it.rsplit(['/', '\\']).next()?)),
        });
        match found {
            Some(Some(image)) => Meant::One(*image),
            Some(None) => Meant::Several,
            None => Meant::None,
        }
    }
}

fn add<K: std::hash::Hash + Eq>(names: &mut HashMap<K, Option<usize>>, name: K, image: usize) {
    let known = names.entry(name).or_insert(Some(image));
    if *known != Some(image) {
        *known = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_whatever_names_only_it() {
        let mut names = Names::default();
        names.add_path("img/b/1/Images/x.JPG", 0);
        names.add_path("img/b/2/Images/x.JPG", 1);
        names.add_path("img/b/2/Images/y.JPG", 2);
        names.add_number(Name::Number(17), 2);
        let find = |text: &str| names.find(&Name::Text(text.to_owned()));
        assert_eq!(find("img/b/2/Images/x.JPG"), Meant::One(1));
        assert_eq!(find("x.JPG"), Meant::Several);
        assert_eq!(find("y"), Meant::One(2));
        assert_eq!(find("/elsewhere/y.JPG"), Meant::One(2));
        assert_eq!(find("z.JPG"), Meant::None);
        assert_eq!(names.find(&Name::Number(17)), Meant::One(2));
        assert_eq!(find("17"), Meant::None, "a text is no number");
    }
}
