//! From what a network says to what is answered. Pure.

use cellmill_core::classes::{KnownClasses, NEGATIVE, POSITIVE, Polarity, TOO_SMALL};
use cellmill_core::formats::InputCell;
use cellmill_core::model::ModelCard;
use cellmill_core::training::{MergedClass, PredictParameters};

use crate::network::{highest, probabilities};

/// How a prediction answers.
#[derive(Debug)]
pub(super) struct Answers {
    /// Ids of the model's classes.
    classes: Vec<u32>,
    merge: Vec<MergedClass>,
    temperature: f64,
    binary: Option<Binary>,
    is_labelled: bool,
    min_side: Option<u32>,
}

/// Negative or positive.
#[derive(Debug)]
struct Binary {
    /// Which of the model's classes are positive.
    is_positive: Vec<bool>,
    /// Positive from this probability on.
    threshold: f64,
    known: KnownClasses,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) class: u32,
    /// How certain it is, 0 to 1.
    pub(super) probability: f64,
}

impl Answers {
    /// Checks that the model can answer as asked for; the error is for people.
    pub(super) fn new(
        parameters: &PredictParameters,
        card: &ModelCard,
        known: KnownClasses,
    ) -> Result<Self, String> {
        let binary = parameters
            .binary
            .then(|| Binary::new(parameters, card, known))
            .transpose()?;
        Ok(Self {
            classes: card.classes.iter().map(|it| it.id).collect(),
            merge: card
                .training
                .as_ref()
                .map(|it| it.merge.clone())
                .unwrap_or_default(),
            temperature: card.calibration.map_or(1.0, |it| it.temperature),
            binary,
            is_labelled: parameters.is_labelled,
            min_side: parameters.min_side,
        })
    }

    /// What the size of a cell says already.
    pub(super) fn by_size(&self, cell: &InputCell) -> Option<Answer> {
        let (kernel, least) = (cell.kernel?, self.min_side?);
        let is_small = kernel.width() < least || kernel.height() < least;
        is_small.then_some(Answer {
            class: TOO_SMALL,
            probability: 1.0,
        })
    }

    /// What the model says.
    pub(super) fn by_model(&self, logits: &[f32]) -> Answer {
        let likely = probabilities(logits, self.temperature);
        let Some(binary) = &self.binary else {
            let class = highest(logits);
            return Answer {
                class: self.classes[class],
                probability: likely[class],
            };
        };
        let parts = likely.iter().zip(&binary.is_positive);
        let positive: f64 = parts.filter(|it| *it.1).map(|it| it.0).sum();
        // The certainty of what is answered: with a threshold of its own this may be less than a half.
        if positive >= binary.threshold {
            Answer {
                class: POSITIVE,
                probability: positive,
            }
        } else {
            Answer {
                class: NEGATIVE,
                probability: 1.0 - positive,
            }
        }
    }

    /// The truth in the model's words: what a merged class is made of counts as that class, and with `binary` its
    /// polarity counts. A class that the model does not know stays itself, and is answered wrong. Without labels: the
    /// answer.
    pub(super) fn truth(&self, cell: &InputCell, answer: Answer) -> u32 {
        if !self.is_labelled {
            return answer.class;
        }
        let merged = self.merge.iter().find(|it| it.of.contains(&cell.class));
        let class = merged.map_or(cell.class, |it| it.class);
        match self.binary.as_ref().and_then(|it| it.known.polarity(class)) {
            Some(Polarity::Negative) => NEGATIVE,
            Some(Polarity::Positive) => POSITIVE,
            None => class,
        }
    }
}

impl Binary {
    fn new(
        parameters: &PredictParameters,
        card: &ModelCard,
        known: KnownClasses,
    ) -> Result<Self, String> {
        let mid = card.mid;
        let unknown: Vec<String> = card
            .classes
            .iter()
            .filter(|it| known.polarity(it.id).is_none())
            .map(|it| format!("{} ({})", it.id, it.name))
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "model {mid} can't answer negative or positive: of its classes {} no class table says which they are\nhint: add `p1n0` to the class table, or predict without `binary`",
                unknown.join(", ")
            ));
        }
        let is_positive: Vec<bool> = card
            .classes
            .iter()
            .map(|it| known.polarity(it.id) == Some(Polarity::Positive))
            .collect();
        let threshold = match parameters.target_recall {
            None => 0.5,
            Some(recall) => threshold_for(card, &is_positive, recall)?,
        };
        Ok(Self {
            is_positive,
            threshold,
            known,
        })
    }
}

/// The threshold that keeps this recall of the positive cells, by the model's validation part.
fn threshold_for(card: &ModelCard, is_positive: &[bool], recall: f64) -> Result<f64, String> {
    let mid = card.mid;
    if is_positive != [false, true] {
        return Err(format!(
            "model {mid} has no threshold for a recall: thresholds are measured for models of two classes, the second of them positive\nhint: train it with the merged classes `negative` and `positive`, or leave out `target_recall`"
        ));
    }
    // The tolerance takes 0.95 of one text for 0.95 of another.
    let kept = card
        .thresholds
        .iter()
        .filter(|it| it.recall >= recall - 1e-9);
    let nearest = kept.min_by(|a, b| a.recall.total_cmp(&b.recall));
    nearest.map(|it| it.threshold).ok_or_else(|| {
        let highest = card.thresholds.iter().map(|it| it.recall).fold(0.0, f64::max);
        if card.thresholds.is_empty() {
            format!("the card of model {mid} has no thresholds\nhint: leave out `target_recall`")
        } else {
            format!(
                "the card of model {mid} has thresholds up to a recall of {highest}, asked for is {recall}"
            )
        }
    })
}

impl Answer {
    /// As legacy readers know it: in steps of 0.01.
    pub(super) fn score(self) -> f64 {
        (self.probability * 1e2).round() / 1e2
    }

    /// In steps of 0.000001.
    pub(super) fn fine_score(self) -> f64 {
        (self.probability * 1e6).round() / 1e6
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::boxes::BBox;
    use cellmill_core::classes::ClassTable;
    use cellmill_core::ids::Dir;
    use cellmill_core::model::{Calibration, ModelClass, Threshold};

    use super::*;

    fn card(classes: &[u32]) -> ModelCard {
        let class = |&id: &u32| ModelClass {
            id,
            name: format!("c{id}"),
        };
        let mut card = ModelCard::of_file(7, String::new(), 0, String::new());
        card.classes = classes.iter().map(class).collect();
        card
    }

    fn parameters() -> PredictParameters {
        PredictParameters {
            ddir: Dir::parse("DkxD9Kjl").unwrap(),
            did: 1,
            mid: 7,
            types: Vec::new(),
            is_labelled: true,
            binary: false,
            target_recall: None,
            min_side: Some(18),
            filter_mid: None,
        }
    }

    fn cell(class: u32, kernel: Option<BBox>) -> InputCell {
        InputCell {
            name: "a.png".to_owned(),
            pack: 0,
            image: 0,
            class,
            crop: BBox::new(0, 0, 100, 100),
            kernel,
        }
    }

    #[test]
    fn the_most_likely_class_is_answered_as_certain_as_the_temperature_says() {
        let mut card = card(&[301, 302, 303]);
        card.calibration = Some(Calibration {
            temperature: 2.0,
            error_before: 0.0,
            error_after: 0.0,
        });
        let answers = Answers::new(&parameters(), &card, KnownClasses::default()).unwrap();
        // exp(1) / (exp(1) + 2)
        let answer = answers.by_model(&[0.0, 2.0, 0.0]);
        assert_eq!((answer.class, answer.score()), (302, 0.58));
        assert!((answer.fine_score() - 0.576_117).abs() < 1e-9);
        assert_eq!(
            answers.truth(&cell(309, None), answer),
            309,
            "not known to the model"
        );
        assert_eq!(answers.truth(&cell(301, None), answer), 301);
    }

    #[test]
    fn small_kernels_are_answered_by_their_size() {
        let answers = Answers::new(&parameters(), &card(&[1, 2]), KnownClasses::default()).unwrap();
        let size = |w: u32, h: u32| answers.by_size(&cell(1, Some(BBox::new(5, 5, 5 + w, 5 + h))));
        assert_eq!(size(18, 18), None);
        assert_eq!(
            size(17, 40).map(|it| (it.class, it.score())),
            Some((201, 1.0))
        );
        assert_eq!(size(40, 17).map(|it| it.class), Some(201));
        assert_eq!(answers.by_size(&cell(1, None)), None, "nobody detected it");
    }

    #[test]
    fn binary_answers_add_up_what_is_positive() {
        let parameters = PredictParameters {
            binary: true,
            ..parameters()
        };
        // Norm, LSIL, HSIL
        let answers =
            Answers::new(&parameters, &card(&[1, 2, 3]), KnownClasses::default()).unwrap();
        let logits = [0.45_f32, 0.28, 0.27].map(f32::ln);
        let answer = answers.by_model(&logits);
        assert_eq!((answer.class, answer.score()), (51, 0.55));
        assert_eq!(
            answers.truth(&cell(7, None), answer),
            51,
            "ASCUS is positive"
        );
        assert_eq!(answers.truth(&cell(5, None), answer), 50);
        assert_eq!(answers.truth(&cell(100, None), answer), 100);
        let unlabelled = PredictParameters {
            is_labelled: false,
            ..parameters.clone()
        };
        let answers =
            Answers::new(&unlabelled, &card(&[1, 2, 3]), KnownClasses::default()).unwrap();
        assert_eq!(answers.truth(&cell(5, None), answer), 51);
        let error = Answers::new(&parameters, &card(&[1, 301]), KnownClasses::default());
        let error = error.unwrap_err();
        assert!(
            error.contains("301 (c301)") && !error.contains("1 (c1),"),
            "{error}"
        );
        let table = ClassTable::parse("t", br#"{"ids": {"RBC": 301}, "positive": [301]}"#).unwrap();
        assert!(Answers::new(&parameters, &card(&[1, 301]), KnownClasses::new([&table])).is_ok());
    }

    #[test]
    fn a_target_recall_takes_the_threshold_of_the_card() {
        let mut card = card(&[50, 51]);
        card.thresholds = [(0.9, 0.4), (0.95, 0.25), (1.0, 0.02)]
            .map(|(recall, threshold)| Threshold {
                recall,
                threshold,
                precision: 0.5,
            })
            .to_vec();
        let asked = |recall: f64| PredictParameters {
            binary: true,
            target_recall: Some(recall),
            ..parameters()
        };
        let answer = |recall: f64| {
            let answers = Answers::new(&asked(recall), &card, KnownClasses::default()).unwrap();
            answers.by_model(&[0.7_f32.ln(), 0.3_f32.ln()])
        };
        assert_eq!((answer(0.95).class, answer(0.95).score()), (51, 0.3));
        assert_eq!((answer(0.9).class, answer(0.9).score()), (50, 0.7));
        assert_eq!(answer(0.92).class, 51, "the next recall that was measured");
        card.classes.reverse();
        let error = Answers::new(&asked(0.9), &card, KnownClasses::default()).unwrap_err();
        assert!(error.contains("no threshold for a recall"), "{error}");
    }

    #[test]
    fn merged_classes_are_the_truth_of_their_members() {
        let mut answers =
            Answers::new(&parameters(), &card(&[50, 51]), KnownClasses::default()).unwrap();
        answers.merge = vec![MergedClass {
            class: 51,
            name: "positive".to_owned(),
            of: vec![2, 3],
        }];
        let answer = answers.by_model(&[1.0, 0.0]);
        assert_eq!(answers.truth(&cell(3, None), answer), 51);
        assert_eq!(answers.truth(&cell(4, None), answer), 4);
    }
}
