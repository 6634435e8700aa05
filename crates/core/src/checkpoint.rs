//! Checkpoints: where a later attempt of a unit may go on, and which of them are kept.

use serde::{Deserialize, Serialize};

use crate::keys::{ObjectKey, UnitKey};

/// What a unit's record says of a checkpoint. It exists only because a heartbeat has named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Full key, under the folder of the attempt that wrote it.
    pub key: String,
    /// Of its bytes: others are no checkpoint.
    pub sha256: String,
    /// How far the unit was, 0 to 99.
    pub percent: u8,
    /// Was nothing before it as good?
    #[serde(default)]
    pub is_best: bool,
}

/// How many of the newest are kept: when the last can't be read, there is one before it.
const NEWEST: usize = 2;

/// Which of them stay, oldest first: the last two, and the best.
pub fn kept(all: &[Checkpoint]) -> Vec<Checkpoint> {
    let best = all.iter().rposition(|it| it.is_best);
    let first_new = all.len().saturating_sub(NEWEST);
    let stays = |at: usize| at >= first_new || Some(at) == best;
    all.iter()
        .enumerate()
        .filter(|(at, _)| stays(*at))
        .map(|(_, it)| it.clone())
        .collect()
}

const FILE_PREFIX: &str = "checkpoint-";

/// The file name of an attempt's `number`th checkpoint: `checkpoint-00003-<name>`. No name is used twice, so what a
/// heartbeat has named never changes.
pub fn file_name(number: u32, name: &str) -> String {
    format!("{FILE_PREFIX}{number:05}-{name}")
}

/// Is this the key of a checkpoint of the unit, by any attempt? Nothing else may be deleted as one.
pub fn is_of(unit: &UnitKey, key: &str) -> bool {
    match ObjectKey::parse(key) {
        Ok(Some(ObjectKey::UnitOutput { unit: of, file, .. })) => {
            of == *unit && file.starts_with(FILE_PREFIX)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Dir;
    use crate::keys::JobKind;

    fn checkpoint(number: u32, is_best: bool) -> Checkpoint {
        let unit = unit();
        let file = file_name(number, "weights.bin");
        let key = ObjectKey::UnitOutput {
            unit,
            attempt: 1,
            file,
        };
        Checkpoint {
            key: key.to_path(),
            sha256: String::new(),
            percent: number as u8,
            is_best,
        }
    }

    fn unit() -> UnitKey {
        UnitKey {
            dir: Dir::parse("DkxD9Kjl").unwrap(),
            kind: JobKind::Train,
            unit: 0,
        }
    }

    #[test]
    fn only_files_that_are_called_so_are_checkpoints_of_the_unit() {
        let key = checkpoint(3, false).key;
        assert_eq!(
            key,
            "units/DkxD9Kjl/train-00000/00001/checkpoint-00003-weights.bin"
        );
        assert!(is_of(&unit(), &key));
        let other = UnitKey { unit: 1, ..unit() };
        assert!(!is_of(&other, &key));
        assert!(!is_of(
            &unit(),
            "units/DkxD9Kjl/train-00000/00001/model.bin"
        ));
        assert!(!is_of(&unit(), "img/a/b/Images/checkpoint-1.png"));
    }

    proptest! {
        /// Kept one by one or all at once, the same stay: the last two and the best.
        #[test]
        fn the_last_two_and_the_best_stay(marks in proptest::collection::vec(any::<bool>(), 0..30)) {
            let all: Vec<Checkpoint> = (0..).zip(&marks).map(|(at, best)| checkpoint(at, *best)).collect();
            let mut list = Vec::new();
            for it in &all {
                list.push(it.clone());
                list = kept(&list);
                prop_assert!(list.len() <= 3);
            }
            prop_assert_eq!(&list, &kept(&all));
            let newest = &all[all.len().saturating_sub(2)..];
            prop_assert!(list.ends_with(newest));
            if let Some(best) = all.iter().rev().find(|it| it.is_best) {
                prop_assert!(list.contains(best));
            }
        }
    }
}
