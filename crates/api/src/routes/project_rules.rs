//! The rules of a training and a prediction: which values they may have, and which classes take part.

use cellmill_core::classes::{KnownClasses, MAX_CLASS_ID, NEGATIVE, POSITIVE, Polarity};
use cellmill_core::ids::{Dir, shown};
use cellmill_core::job::{DataType, JobParameters, JobRecord};
use cellmill_core::keys::JobKind;
use cellmill_core::model::ModelCard;
use cellmill_core::split::SplitRule;
use cellmill_core::training::MergedClass;

use super::datasets::{NewDataset, Statistics, long_description, without_repeats};
use super::projects::{NewMergedClass, NewProject};
use super::{detector_rules, network_rules};
use crate::edge::Error;

/// Side of the network's input when nobody says: as large as cells of FORMATS A.9 need to be told apart.
pub(super) const DEFAULT_RESIZE: u32 = 64;
/// The longest training, in seconds: a week.
const MAX_TIME: u64 = 7 * 24 * 3600;
const MAX_CLASSES: usize = 1000;
const MAX_NAME_CHARS: usize = 100;
const MAX_SIDE: u32 = 2048;
const MAX_TEST_CASES: usize = 10_000;

/// What a project needs to know of its data set.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Directory and number, once there are some.
    pub(super) dataset: Option<(Dir, u64)>,
    /// Cells by class, once they are counted.
    counts: Option<Vec<ClassCount>>,
    /// Its cells have the class that somebody gave them.
    pub(super) is_labelled: bool,
}

#[derive(Clone, Debug)]
struct ClassCount {
    class: u32,
    name: Option<String>,
    cells: u64,
}

impl Source {
    pub(super) fn of_new(new: &NewDataset) -> Result<Self, Error> {
        Ok(Self {
            dataset: None,
            counts: None,
            is_labelled: new.checked()?.data_type != DataType::Detect,
        })
    }

    pub(super) fn of_job(job: &JobRecord, statistics: Option<Statistics>) -> Self {
        let of_detector = matches!(
            &job.parameters,
            JobParameters::Data(it) if it.data_type == DataType::Detect
        );
        let counts = statistics.map(|it| {
            let counts = it.types.into_iter().flatten();
            let counted = counts.filter(|it| it.labelcnt > 0).map(|it| ClassCount {
                class: it.celltype,
                name: it.name,
                cells: it.labelcnt,
            });
            counted.collect()
        });
        Self {
            dataset: Some((job.dir.clone(), job.number)),
            counts,
            is_labelled: !of_detector,
        }
    }

    /// How a message calls it.
    fn called(&self) -> String {
        match &self.dataset {
            Some((dir, _)) => format!("data set `{dir}`"),
            None => "the data set".to_owned(),
        }
    }

    /// What there is, for a person: `1 (Norm, 20 cells), 2 (LSIL, 7 cells)`.
    fn described(&self) -> String {
        let counts = self.counts.as_deref().unwrap_or_default();
        if counts.is_empty() {
            return "no cells".to_owned();
        }
        let described = counts.iter().map(|it| match &it.name {
            Some(name) => format!("{} ({name}, {} cells)", it.class, it.cells),
            None => format!("{} ({} cells)", it.class, it.cells),
        });
        described.collect::<Vec<_>>().join(", ")
    }

    /// Whether it has cells of a class; also when they are not counted yet.
    fn may_have(&self, class: u32) -> bool {
        self.counts
            .as_ref()
            .is_none_or(|counts| counts.iter().any(|it| it.class == class))
    }
}

/// Are all values within their limits, and of this kind of project?
pub(super) fn check_values(new: &NewProject) -> Result<(), Error> {
    let mut problems: Vec<String> = long_description(&new.description).into_iter().collect();
    match new.kind {
        JobKind::Train => check_training(new, &mut problems),
        JobKind::Predict => check_prediction(new, &mut problems),
        kind => problems.push(format!(
            "`kind` is `{}`, a project is `train` or `predict`",
            kind.as_str()
        )),
    }
    if new.types.len() > MAX_CLASSES {
        problems.push(format!("`types` has more than {MAX_CLASSES} classes"));
    }
    for class in &new.types {
        if !(1..=MAX_CLASS_ID).contains(class) {
            problems.push(format!("class {class} is not between 1 and {MAX_CLASS_ID}"));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::refused("bad_parameter", problems.join("; ")))
    }
}

fn check_training(new: &NewProject, problems: &mut Vec<String>) {
    let foreign = [
        ("mid", new.mid.is_some()),
        ("parameter_type", new.parameter_type.is_some()),
        ("binary", new.binary),
        ("target_recall", new.target_recall.is_some()),
        ("min_side", new.min_side.is_some()),
        ("filter_mid", new.filter_mid.is_some()),
    ];
    name_foreign(&foreign, "a prediction", "a training", problems);
    if let Some(side) = new.parameter_resize {
        network_rules::within("parameter_resize", side, &network_rules::SIDES, problems);
    }
    if let Some(time) = new.parameter_time.filter(|it| *it > MAX_TIME) {
        problems.push(format!(
            "`parameter_time` is {time} s, the limit is {MAX_TIME} s"
        ));
    }
    if let Some(network) = &new.network {
        network_rules::check(network, problems);
    }
    if let Some(detector) = &new.detector {
        detector_rules::check(detector, problems);
        let others = [
            ("network", new.network.is_some()),
            ("parameter_resize", new.parameter_resize.is_some()),
            ("label_type", new.label_type.is_some()),
            ("profile", new.profile),
            ("split.legacy", new.split == Some(SplitRule::Legacy)),
        ];
        name_foreign(&others, "a classifier", "a detector", problems);
    }
    if let Some(SplitRule::Cases { test }) = &new.split
        && !(1..=MAX_TEST_CASES).contains(&test.len())
    {
        problems.push(format!(
            "`split.test` names {} cases, it is 1 to {MAX_TEST_CASES}",
            test.len()
        ));
    }
    check_merge(&new.merge, problems);
    if !new.merge.is_empty() && !new.types.is_empty() {
        problems.push("`merge` says which classes take part, leave `types` out".to_owned());
    }
}

fn check_prediction(new: &NewProject, problems: &mut Vec<String>) {
    let foreign = [
        ("merge", !new.merge.is_empty()),
        ("parameter_resize", new.parameter_resize.is_some()),
        ("parameter_time", new.parameter_time.is_some()),
        ("split", new.split.is_some()),
        ("seed", new.seed.is_some()),
        ("network", new.network.is_some()),
        ("detector", new.detector.is_some()),
        ("label_type", new.label_type.is_some()),
        ("shuffle_labels", new.shuffle_labels),
        ("profile", new.profile),
    ];
    name_foreign(&foreign, "a training", "a prediction", problems);
    if let Some(number) = new.parameter_type.filter(|it| *it > 1) {
        problems.push(format!("`parameter_type` is {number}, it is 0 or 1"));
    }
    if let Some(recall) = new.target_recall {
        if !(recall > 0.0 && recall <= 1.0) {
            problems.push(format!(
                "`target_recall` is {recall}, it is above 0 and at most 1"
            ));
        }
        if !new.binary {
            problems.push("`target_recall` is taken with `binary` only".to_owned());
        }
    }
    if let Some(side) = new.min_side {
        network_rules::within("min_side", side, &(1..=MAX_SIDE), problems);
    }
}

fn name_foreign(foreign: &[(&str, bool)], theirs: &str, ours: &str, problems: &mut Vec<String>) {
    for (name, _) in foreign.iter().filter(|(_, is_given)| *is_given) {
        problems.push(format!("`{name}` belongs to {theirs}, this is {ours}"));
    }
}

fn check_merge(merge: &[NewMergedClass], problems: &mut Vec<String>) {
    let mut seen: Vec<u32> = Vec::new();
    for (at, class) in merge.iter().enumerate() {
        let name = shown(&class.name);
        if class.name.trim().is_empty() || class.name.chars().count() > MAX_NAME_CHARS {
            problems.push(format!(
                "a merged class has a name of 1 to {MAX_NAME_CHARS} characters, not `{name}`"
            ));
        }
        if merge[..at].iter().any(|it| it.name == class.name) {
            problems.push(format!("merged class `{name}` comes twice"));
        }
        if class.of.is_empty() {
            problems.push(format!("merged class `{name}` is made of no class"));
        }
        for id in class.of.iter().chain(&class.class) {
            if !(1..=MAX_CLASS_ID).contains(id) {
                problems.push(format!("class {id} is not between 1 and {MAX_CLASS_ID}"));
            }
        }
        for id in &class.of {
            if seen.contains(id) {
                problems.push(format!("class {id} is in two merged classes"));
            }
        }
        seen.extend(without_repeats(&class.of));
    }
}

/// The classes that a network learns to tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) types: Vec<u32>,
    pub(super) merge: Vec<MergedClass>,
}

/// Which classes a training is about: named, merged, or all that the data set has.
pub(super) fn chosen_classes(
    new: &NewProject,
    source: &Source,
    known: &KnownClasses,
) -> Result<Chosen, Error> {
    let merge = merged(&new.merge, known)?;
    let types = if !merge.is_empty() {
        for class in &merge {
            if !class.of.iter().any(|it| source.may_have(*it)) {
                return Err(too_few(format!(
                    "{} has no cell of merged class `{}`; it has {}",
                    source.called(),
                    class.name,
                    source.described()
                )));
            }
        }
        merge.iter().map(|it| it.class).collect()
    } else if new.types.is_empty() {
        let Some(counts) = &source.counts else {
            return Err(Error::refused(
                "types_needed",
                "the data set is not done, so its classes are not known: name them in `types`, or wait",
            ));
        };
        counts.iter().map(|it| it.class).collect()
    } else {
        check_types(&new.types, source)?;
        without_repeats(&new.types)
    };
    // What is no cell is told apart from cells of one class already.
    let least = if new.detector.is_some() { 1 } else { 2 };
    if types.len() < least {
        return Err(too_few(match &source.counts {
            Some(_) => format!(
                "a training tells at least {least} classes apart, chosen are {}; {} has {}",
                types.len(),
                source.called(),
                source.described()
            ),
            None => format!(
                "a training tells at least {least} classes apart, chosen are {}",
                types.len()
            ),
        }));
    }
    Ok(Chosen { types, merge })
}

fn too_few(message: String) -> Error {
    Error::Refused {
        code: "too_few_classes",
        message,
        hint: Some(
            "cells of a detector alone all have class 100: label them, or take a data set of type 1, 2 or 3",
        ),
    }
}

/// Does the data set have cells of these classes, as far as that is known?
pub(super) fn check_types(types: &[u32], source: &Source) -> Result<(), Error> {
    let absent: Vec<String> = types
        .iter()
        .filter(|it| !source.may_have(**it))
        .map(ToString::to_string)
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} has no cells of class {}; it has {}",
        source.called(),
        absent.join(", "),
        source.described()
    );
    Err(Error::refused("unknown_class", message))
}

/// Gives merged classes their ids. Negative comes before positive, as thresholds are about the second class.
fn merged(wished: &[NewMergedClass], known: &KnownClasses) -> Result<Vec<MergedClass>, Error> {
    let mut merge: Vec<MergedClass> = Vec::with_capacity(wished.len());
    for wish in wished {
        let of = without_repeats(&wish.of);
        let first = of.first().copied();
        let class = wish.class.or_else(|| known.id_of(&wish.name)).or(first);
        let Some(class) = class else { continue };
        if let Some(twin) = merge.iter().find(|it| it.class == class) {
            let message = format!(
                "merged classes `{}` and `{}` would both be class {class}: give one of them another `class`",
                shown(&twin.name),
                shown(&wish.name)
            );
            return Err(Error::refused("bad_parameter", message));
        }
        let name = wish.name.clone();
        merge.push(MergedClass { class, name, of });
    }
    if matches!(&merge[..], [first, second] if first.class == POSITIVE && second.class == NEGATIVE)
    {
        merge.reverse();
    }
    Ok(merge)
}

/// Can a model answer negative or positive?
pub(super) fn check_binary(
    card: &ModelCard,
    known: &KnownClasses,
    needs_threshold: bool,
) -> Result<(), Error> {
    let polarity = |id: u32| {
        let merged = card.training.iter().flat_map(|it| &it.merge);
        let of = merged
            .filter(|it| it.class == id)
            .flat_map(|it| it.of.iter());
        known.polarity(id).or_else(|| {
            let mut all = of.map(|it| known.polarity(*it));
            let first = all.next()??;
            all.all(|it| it == Some(first)).then_some(first)
        })
    };
    let unclear: Vec<String> = card
        .classes
        .iter()
        .filter(|it| polarity(it.id).is_none())
        .map(|it| format!("{} ({})", it.id, shown(&it.name)))
        .collect();
    if !unclear.is_empty() {
        return Err(Error::Refused {
            code: "no_polarity",
            message: format!(
                "of model {} nobody said whether these classes are negative or positive: {}",
                card.mid,
                unclear.join(", ")
            ),
            hint: Some("define them with `p1n0` in a class table: PUT /api/v1/classes/{name}"),
        });
    }
    for wanted in [Polarity::Negative, Polarity::Positive] {
        if card
            .classes
            .iter()
            .all(|it| polarity(it.id) != Some(wanted))
        {
            let message = format!(
                "model {} has no {} class",
                card.mid,
                if wanted == Polarity::Negative {
                    "negative"
                } else {
                    "positive"
                }
            );
            return Err(Error::refused("no_polarity", message));
        }
    }
    if needs_threshold && card.thresholds.is_empty() {
        let message = format!(
            "model {} has no thresholds: only trainings of two classes with a validation part measure them",
            card.mid
        );
        return Err(Error::Refused {
            code: "no_thresholds",
            message,
            hint: Some("leave `target_recall` out: then a cell is positive from 0.5 on"),
        });
    }
    Ok(())
}

/// A filter tells cells from what is none.
/// Refuses what the predecessor's trainings know nothing of: their workers would do something else, in silence.
pub(super) fn check_legacy_training(new: &NewProject) -> Result<(), Error> {
    let asked = [
        ("merge", !new.merge.is_empty()),
        ("split", new.split.is_some()),
        ("network", new.network.is_some()),
        ("detector", new.detector.is_some()),
        ("label_type", new.label_type.is_some()),
        ("shuffle_labels", new.shuffle_labels),
        ("profile", new.profile),
    ];
    check_known_to_legacy(&asked)
}

/// As [`check_legacy_training`], of a prediction.
pub(super) fn check_legacy_prediction(new: &NewProject) -> Result<(), Error> {
    let asked = [
        ("binary", new.binary),
        ("target_recall", new.target_recall.is_some()),
        ("min_side", new.min_side.is_some()),
        ("filter_mid", new.filter_mid.is_some()),
    ];
    check_known_to_legacy(&asked)
}

fn check_known_to_legacy(asked: &[(&str, bool)]) -> Result<(), Error> {
    let unknown: Vec<String> = asked
        .iter()
        .filter(|(_, is_asked)| *is_asked)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the predecessor's workers know nothing of {}",
        unknown.join(", ")
    );
    Err(Error::refused("bad_parameter", message))
}

pub(super) fn check_filter(card: &ModelCard) -> Result<(), Error> {
    let n_classes = card.classes.len();
    if n_classes == 2 {
        return Ok(());
    }
    let message = format!(
        "a filter has 2 classes, cell and no cell; model {} has {n_classes}",
        card.mid
    );
    Err(Error::refused("bad_filter", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(counts: Option<&[(u32, u64)]>) -> Source {
        let count = |&(class, cells): &(u32, u64)| ClassCount {
            class,
            name: None,
            cells,
        };
        Source {
            dataset: None,
            counts: counts.map(|it| it.iter().map(count).collect()),
            is_labelled: true,
        }
    }

    fn merge(name: &str, class: Option<u32>, of: &[u32]) -> NewMergedClass {
        NewMergedClass {
            name: name.to_owned(),
            class,
            of: of.to_vec(),
        }
    }

    fn training() -> NewProject {
        NewProject::of_kind(JobKind::Train)
    }

    fn code(result: Result<Chosen, Error>) -> &'static str {
        match result {
            Err(Error::Refused { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn merged_classes_get_their_ids_by_name() {
        let new = NewProject {
            merge: vec![
                merge("positive", None, &[2, 3, 7]),
                merge("Negative", None, &[1, 5]),
            ],
            ..training()
        };
        let known = KnownClasses::default();
        let chosen = chosen_classes(&new, &source(None), &known).unwrap();
        assert_eq!(chosen.types, [50, 51], "negative is first");
        let new = NewProject {
            merge: vec![
                merge("squamous", None, &[2, 3]),
                merge("asc-us", None, &[7]),
                merge("mine", Some(400), &[9]),
            ],
            ..training()
        };
        let chosen = chosen_classes(&new, &source(None), &known).unwrap();
        assert_eq!(chosen.types, [2, 7, 400]);
        let twins = NewProject {
            merge: vec![merge("a", Some(2), &[3]), merge("LSIL", None, &[4])],
            ..training()
        };
        assert_eq!(
            code(chosen_classes(&twins, &source(None), &known)),
            "bad_parameter"
        );
    }

    #[test]
    fn a_merged_class_needs_one_member_that_is_there() {
        let new = NewProject {
            merge: vec![
                merge("negative", None, &[1]),
                merge("positive", None, &[2, 6]),
            ],
            ..training()
        };
        let known = KnownClasses::default();
        let some = source(Some(&[(1, 9), (2, 3)]));
        assert!(chosen_classes(&new, &some, &known).is_ok());
        let none = source(Some(&[(1, 9), (3, 3)]));
        assert_eq!(code(chosen_classes(&new, &none, &known)), "too_few_classes");
    }

    #[test]
    fn without_a_word_all_classes_of_a_finished_data_set_take_part() {
        let known = KnownClasses::default();
        let all = source(Some(&[(2, 3), (7, 1)]));
        assert_eq!(
            chosen_classes(&training(), &all, &known).unwrap().types,
            [2, 7]
        );
        let codes = [
            (source(None), "types_needed"),
            (source(Some(&[(100, 9)])), "too_few_classes"),
            (source(Some(&[])), "too_few_classes"),
        ];
        for (source, expected) in codes {
            assert_eq!(code(chosen_classes(&training(), &source, &known)), expected);
        }
        let absent = NewProject {
            types: vec![2, 9],
            ..training()
        };
        assert_eq!(code(chosen_classes(&absent, &all, &known)), "unknown_class");
        let one = NewProject {
            types: vec![2, 2],
            ..training()
        };
        assert_eq!(code(chosen_classes(&one, &all, &known)), "too_few_classes");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let new = NewProject {
            mid: Some(100),
            binary: true,
            parameter_resize: Some(8),
            merge: vec![merge("", None, &[]), merge("b", None, &[0, 1, 1])],
            types: vec![1],
            ..training()
        };
        let Err(Error::Refused { message, .. }) = check_values(&new) else {
            panic!("it is refused");
        };
        assert_eq!(message.split("; ").count(), 7, "{message}");
    }
}
