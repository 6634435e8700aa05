//! What somebody asks of, as they write it.

use cellmill_core::ids::{Dir, shown};
use cellmill_core::keys::{CsvKey, ImageKey, JobKind, ObjectKey, Prefix, UnitKey};

use crate::edge::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Of the only job of the directory, where no kind is named.
    Job {
        dir: Dir,
        kind: Option<JobKind>,
    },
    Unit(UnitKey),
    Image(ImageKey),
    Points(CsvKey),
}

impl Subject {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim().trim_end_matches('/');
        let keyed = |key: &str| ObjectKey::parse(key).ok().flatten();
        match keyed(text).or_else(|| keyed(&format!("{text}.json"))) {
            Some(ObjectKey::Image(key) | ObjectKey::ImageRecord(key)) => {
                return Ok(Self::Image(key));
            }
            Some(ObjectKey::Points(key) | ObjectKey::PointsRecord(key)) => {
                return Ok(Self::Points(key));
            }
            Some(ObjectKey::Unit(key)) => return Ok(Self::Unit(key)),
            _ => {}
        }
        let (dir, rest) = text.split_once('/').unwrap_or((text, ""));
        let unknown = || {
            Error::malformed(format!(
                "`{}` names no job, unit, image or CSV; they are written as `DkxD9Kjl`, `DkxD9Kjl/train`, \
                 `DkxD9Kjl/data-00003`, `img/<batch>/<case>/Images/<name>` and `csv/<batch>/<date>/<case>/<stem>.csv`",
                shown(text)
            ))
        };
        let dir = Dir::parse(dir).map_err(|_| unknown())?;
        let units = Prefix::UnitsOfJob(dir.clone()).to_path();
        if let Some(ObjectKey::Unit(key)) = keyed(&format!("{units}{rest}.json")) {
            return Ok(Self::Unit(key));
        }
        match (rest, JobKind::parse(rest)) {
            ("", _) => Ok(Self::Job { dir, kind: None }),
            (_, Some(kind)) => Ok(Self::Job {
                dir,
                kind: Some(kind),
            }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Subject {
        Subject::parse(text).unwrap_or_else(|_| panic!("`{text}` is understood"))
    }

    #[test]
    fn everything_is_found_by_the_name_that_people_see() {
        let dir = Dir::parse("DkxD9Kjl").unwrap();
        let job = |kind| Subject::Job {
            dir: dir.clone(),
            kind,
        };
        assert_eq!(parsed("DkxD9Kjl"), job(None));
        assert_eq!(parsed("DkxD9Kjl/train"), job(Some(JobKind::Train)));
        let unit = Subject::Unit(UnitKey {
            dir: dir.clone(),
            kind: JobKind::Data,
            unit: 3,
        });
        for text in [
            "DkxD9Kjl/data-00003",
            "units/DkxD9Kjl/data-00003",
            "units/DkxD9Kjl/data-00003.json",
        ] {
            assert_eq!(parsed(text), unit, "{text}");
        }
        let image = Subject::Image("img/b/c/Images/a.png".parse().unwrap());
        assert_eq!(parsed("img/b/c/Images/a.png"), image);
        let csv = Subject::Points("csv/b/2019-7-22/c/a.csv".parse().unwrap());
        assert_eq!(parsed("csv/b/2019-7-22/c/a.csv"), csv);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "a/b", "DkxD9Kjl/cook", "img/b/note.txt", "../../etc"] {
            assert!(Subject::parse(text).is_err(), "{text}");
        }
    }
}
