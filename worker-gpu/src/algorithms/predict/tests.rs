//! Painted cells, a trained model, and what it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use cellmill_core::formats::PredictedCell;
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{ModelKey, ModelKind, ObjectKey};
use cellmill_core::model::{ModelCard, ModelState};
use cellmill_core::training::{MergedClass, PredictParameters, TrainParameters};
use cellmill_store::{Decision, Put};

use super::PredictAlgorithm;
use crate::algorithms::train::TrainAlgorithm;
use crate::tests::{Lab, bench, permanent, prediction, trained, training};

async fn train(lab: &Lab, parameters: TrainParameters) -> ModelCard {
    let unit = lab.unit(JobParameters::Train(parameters), 0, 1);
    let (files, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
    lab.register(&files.unwrap()).await
}

async fn try_predict(
    lab: &Lab,
    parameters: PredictParameters,
    unit: u32,
    attempt: u32,
) -> Result<BTreeMap<String, Bytes>, cellmill_worker::Failure> {
    let unit = lab.unit(JobParameters::Predict(parameters), unit, attempt);
    lab.try_run(&PredictAlgorithm::new(bench()), &unit).await.0
}

async fn predict(lab: &Lab, parameters: PredictParameters, unit: u32) -> Vec<PredictedCell> {
    let files = try_predict(lab, parameters, unit, 1).await.unwrap();
    let lines = files["cells"]
        .split(|it| *it == b'\n')
        .filter(|it| !it.is_empty());
    lines
        .map(|it| serde_json::from_slice(it).unwrap())
        .collect()
}

#[tokio::test]
async fn every_cell_gets_its_class_in_the_order_of_the_piece() {
    let lab = Lab::plain(160, &[301, 302]).await;
    lab.register(trained().await).await;
    let mut n_right = 0;
    for piece in &lab.pieces {
        let cells = predict(&lab, prediction(100), piece.piece).await;
        assert_eq!(cells.len(), piece.cells.len());
        for (cell, input) in cells.iter().zip(&piece.cells) {
            assert_eq!((cell.true_type, cell.crop), (input.class, Some(input.crop)));
            let url = format!("projects/ek1roy1R/predict/{}/{}", input.class, input.name);
            assert_eq!(cell.url, url);
            assert!(lab.store.head(&cell.url).await.unwrap().is_some());
            let (score, fine) = (cell.score.unwrap(), cell.probability.unwrap());
            assert!((0.5..=1.0).contains(&fine) && (score - fine).abs() <= 0.005 + 1e-9);
            n_right += usize::from(cell.predict == input.class);
        }
    }
    assert!(n_right > 144, "{n_right} of 160");
    let bytes = |attempt| try_predict(&lab, prediction(100), 1, attempt);
    assert_eq!(bytes(1).await.unwrap(), bytes(2).await.unwrap());
    let unlabelled = PredictParameters {
        is_labelled: false,
        ..prediction(100)
    };
    let cells = predict(&lab, unlabelled, 0).await;
    assert!(cells.iter().all(|it| it.true_type == it.predict));
}

#[tokio::test]
async fn filters_answer_before_the_model() {
    let lab = Lab::plain(120, &[301, 302]).await;
    lab.register(trained().await).await;
    let filter = TrainParameters {
        mid: 101,
        resize: 24,
        ..training(&[301, 302])
    };
    train(&lab, filter).await;
    let parameters = PredictParameters {
        min_side: Some(10),
        filter_mid: Some(101),
        ..prediction(100)
    };
    let cells = predict(&lab, parameters, 0).await;
    let alone = predict(&lab, prediction(100), 0).await;
    let of_filter = predict(&lab, prediction(101), 0).await;
    let mut counts = BTreeMap::new();
    for (at, cell) in cells.iter().enumerate() {
        let input = &lab.pieces[0].cells[at];
        assert_eq!(cell.true_type, input.class);
        let expected = if input.kernel.unwrap().height() < 10 {
            assert_eq!(cell.score, Some(1.0));
            201
        } else if of_filter[at].predict == 302 {
            assert_eq!(cell.score, of_filter[at].score);
            200
        } else {
            alone[at].predict
        };
        assert_eq!(cell.predict, expected, "cell {at}");
        *counts.entry(expected).or_insert(0) += 1;
    }
    assert!(
        [200, 201, 301].iter().all(|it| counts[it] > 5),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_two_class_model_keeps_the_recall_that_is_asked_for() {
    let lab = Lab::plain(120, &[301, 302]).await;
    let merged = |class, name: &str, of: u32| MergedClass {
        class,
        name: name.to_owned(),
        of: vec![of],
    };
    let parameters = TrainParameters {
        merge: vec![merged(50, "negative", 301), merged(51, "positive", 302)],
        ..training(&[50, 51])
    };
    train(&lab, parameters).await;
    let binary = PredictParameters {
        binary: true,
        target_recall: Some(1.0),
        ..prediction(100)
    };
    let cells = predict(&lab, binary.clone(), 0).await;
    for (cell, input) in cells.iter().zip(&lab.pieces[0].cells) {
        assert_eq!(cell.true_type, if input.class == 301 { 50 } else { 51 });
        assert!([50, 51].contains(&cell.predict));
    }
    let too_high = PredictParameters {
        target_recall: Some(1.5),
        ..binary
    };
    let what = permanent(try_predict(&lab, too_high, 0, 1).await);
    assert!(what.contains("up to a recall of 1"), "{what}");
}

#[tokio::test]
async fn a_model_that_can_not_answer_is_told_with_the_next_step() {
    let lab = Lab::plain(80, &[301, 302]).await;
    let told = async |parameters| permanent(try_predict(&lab, parameters, 0, 1).await);
    let what = told(prediction(7)).await;
    assert!(
        what.contains("model 7 is not there") && what.contains("hint:"),
        "{what}"
    );
    let card = lab.register(trained().await).await;
    let what = told(PredictParameters {
        binary: true,
        ..prediction(100)
    });
    assert!(what.await.contains("301 (301), 302 (302)"));
    let what = permanent(try_predict(&lab, prediction(100), 9, 1).await);
    assert!(what.contains("piece 9"), "{what}");

    let key = ModelKey::of_number(ModelKind::Classifier, 100);
    let cut = vec![0; card.bytes as usize];
    lab.store
        .put_bytes(&card.file, cut, Put::Overwrite)
        .await
        .unwrap();
    assert!(told(prediction(100)).await.contains("another sha256"));
    lab.store.delete(&card.file).await.unwrap();
    assert!(told(prediction(100)).await.contains("it is not there"));
    lab.store
        .swap::<ModelCard>(&ObjectKey::ModelCard(key), |card| {
            let mut card = card.unwrap().clone();
            card.state = ModelState::Uploading;
            Decision::Write(card)
        })
        .await
        .unwrap();
    assert!(told(prediction(100)).await.contains("not uploaded yet"));
}
