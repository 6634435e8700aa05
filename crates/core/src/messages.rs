//! Messages: hints that say "look here". The documents say what is so (DESIGN 4).

use serde::{Deserialize, Serialize};

use crate::ids::{Dir, IdError};
use crate::keys::{ImageKey, JobKind};

/// S3 notifications of images. Body: [`crate::events`].
pub const UPLOADS: &str = "uploads";
/// S3 notifications of doctors' points. Body: [`crate::events`].
pub const POINTS: &str = "points";
/// Jobs to assemble. Body: [`JobHint`].
pub const ASSEMBLE: &str = "assemble";
/// Ended units and jobs to collect. Body: [`CollectHint`].
pub const COLLECT: &str = "collect";

/// Images to pre-annotate. Body: [`PreannotateHint`].
pub const PREANNOTATE: &str = "preannotate";

/// Every queue that is there without anybody asking: those of the functions, and those of the usual unit classes.
pub fn queue_names() -> Vec<String> {
    let units = [UnitClass::cpu(), UnitClass::gpu()];
    let units = units.iter().flat_map(|it| [it.queue(), it.urgent_queue()]);
    [UPLOADS, POINTS, ASSEMBLE, COLLECT, PREANNOTATE]
        .into_iter()
        .map(str::to_owned)
        .chain(units)
        .collect()
}

/// Which workers serve a unit: `cpu`, `gpu`, or a name that a model card gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitClass(String);

impl UnitClass {
    pub fn cpu() -> Self {
        Self("cpu".to_owned())
    }

    pub fn gpu() -> Self {
        Self("gpu".to_owned())
    }

    /// Of jobs for the predecessor's workers: it has no queue, they are handed out whole by the legacy endpoints.
    pub fn legacy() -> Self {
        Self("legacy".to_owned())
    }

    pub fn is_legacy(&self) -> bool {
        self.0 == "legacy"
    }

    /// 1 to 20 lower-case letters or digits: it becomes part of a queue's name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let ok = (1..=20).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !ok {
            return Err(IdError::Form {
                what: "unit class",
                text: crate::ids::shown(text),
                form: "1 to 20 lower-case letters or digits, such as `cpu`",
            });
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue of this class: `units-cpu`.
    pub fn queue(&self) -> String {
        format!("units-{}", self.0)
    }

    /// The queue that is looked into first: `units-cpu-urgent`.
    pub fn urgent_queue(&self) -> String {
        format!("units-{}-urgent", self.0)
    }
}

impl TryFrom<String> for UnitClass {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<UnitClass> for String {
    fn from(class: UnitClass) -> Self {
        class.0
    }
}

/// "Assemble this job."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHint {
    pub v: u32,
    pub kind: JobKind,
    pub dir: Dir,
}

impl JobHint {
    pub fn new(kind: JobKind, dir: Dir) -> Self {
        Self { v: 1, kind, dir }
    }
}

/// "This unit may be free." Claimed only after the job and the unit were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnitHint {
    pub v: u32,
    pub kind: JobKind,
    pub dir: Dir,
    pub unit: u32,
}

impl UnitHint {
    pub fn new(kind: JobKind, dir: Dir, unit: u32) -> Self {
        Self {
            v: 1,
            kind,
            dir,
            unit,
        }
    }
}

/// "This unit ended", or, without a unit, "look at this job again".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectHint {
    pub v: u32,
    pub kind: JobKind,
    pub dir: Dir,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u32>,
}

impl CollectHint {
    pub fn new(kind: JobKind, dir: Dir, unit: Option<u32>) -> Self {
        Self {
            v: 1,
            kind,
            dir,
            unit,
        }
    }
}

/// "This image may be pre-annotated." Its label's type says by which model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreannotateHint {
    pub v: u32,
    pub image: ImageKey,
}

impl PreannotateHint {
    pub fn new(image: ImageKey) -> Self {
        Self { v: 1, image }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_queue_names() {
        assert_eq!(UnitClass::cpu().queue(), "units-cpu");
        assert_eq!(
            UnitClass::parse("gpu80").unwrap().urgent_queue(),
            "units-gpu80-urgent"
        );
        for bad in ["", "GPU", "a-b", "a b", "xxxxxxxxxxxxxxxxxxxxx"] {
            assert!(UnitClass::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_newer_writer_may_add_fields() {
        let hint: UnitHint =
            serde_json::from_str(r#"{"v":1,"kind":"data","dir":"DkxD9Kjl","unit":3,"later":true}"#)
                .unwrap();
        assert_eq!(
            hint,
            UnitHint::new(JobKind::Data, Dir::parse("DkxD9Kjl").unwrap(), 3)
        );
    }
}
