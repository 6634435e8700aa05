//! The bytes of a classifier: they come back as they went, and what is not one of ours is refused.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use cellmill_nets::{
    Classifier, Device, FileError, OpenDevice, PredictError, Samples, TrainOptions, Trainer,
};
use std::ops::ControlFlow;

fn cpu() -> OpenDevice {
    Device::Cpu.open().unwrap()
}

fn samples(n: usize) -> Samples {
    let pixels = (0..n * 16 * 16 * 3)
        .map(|it| (it * it % 253) as u8)
        .collect();
    Samples::try_new(16, pixels, (0..n).map(|it| it % 2).collect()).unwrap()
}

fn classifier() -> Classifier {
    let options = TrainOptions {
        side: 16,
        features: 8,
        epochs: 1,
        batch: 4,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(options, samples(8), samples(2), &cpu()).unwrap();
    trainer.epoch(&mut |_| ControlFlow::Continue(())).unwrap();
    trainer.finish().unwrap()
}

/// The header's length, its JSON, and the values of a safetensors file.
fn parts(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&bytes[8..8 + size]).unwrap(),
        bytes[8 + size..].to_vec(),
    )
}

fn whole(header: &serde_json::Value, values: &[u8]) -> Vec<u8> {
    let text = header.to_string().into_bytes();
    [&(text.len() as u64).to_le_bytes(), text.as_slice(), values].concat()
}

/// The file with another description.
fn described(bytes: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let (mut header, values) = parts(bytes);
    let text = header["__metadata__"]["cellmill"].as_str().unwrap();
    let mut description = serde_json::from_str(text).unwrap();
    change(&mut description);
    header["__metadata__"]["cellmill"] = description.to_string().into();
    whole(&header, &values)
}

fn refused(bytes: &[u8]) -> FileError {
    Classifier::from_bytes(bytes, &cpu()).unwrap_err()
}

#[test]
fn a_classifier_comes_back_from_its_bytes_with_the_same_answers() {
    let mut first = classifier();
    let bytes = first.to_bytes().unwrap();
    assert_eq!(bytes, first.to_bytes().unwrap());
    let mut second = Classifier::from_bytes(&bytes, &cpu()).unwrap();
    assert_eq!(first.spec(), second.spec());
    assert_eq!(bytes, second.to_bytes().unwrap());
    let answers = first.predict(&samples(7), 3).unwrap();
    assert_eq!(answers, second.predict(&samples(7), 3).unwrap());
    assert_eq!(
        (
            answers.len(),
            answers[0].logits.len(),
            answers[0].features.len()
        ),
        (7, 2, 8)
    );
    let (header, _) = parts(&bytes);
    assert_eq!(header["__metadata__"].as_object().unwrap().len(), 1);
    assert_eq!(
        header["stem.0.weight"]["shape"],
        serde_json::json!([16, 3, 3, 3])
    );
}

/// Other batches may differ in the last bits; beyond them they must not.
#[test]
fn the_size_of_a_batch_does_not_change_an_answer() {
    let mut it = classifier();
    let (one, all) = (
        it.predict(&samples(9), 1).unwrap(),
        it.predict(&samples(9), 9).unwrap(),
    );
    for (one, all) in one.iter().zip(&all) {
        let pairs = one
            .logits
            .iter()
            .chain(&one.features)
            .zip(all.logits.iter().chain(&all.features));
        for (a, b) in pairs {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let mut it = classifier();
    assert!(matches!(
        it.predict(&samples(2), 0),
        Err(PredictError::Batch)
    ));
    let large = Samples::try_new(32, vec![0; 32 * 32 * 3], vec![0]).unwrap();
    let error = it.predict(&large, 4).unwrap_err().to_string();
    assert!(
        error.contains("side 32") && error.contains("resize the crops to 16 x 16"),
        "{error}"
    );
    assert!(matches!(
        it.predict_pixels(&[0; 100], 4, &mut |_| ()),
        Err(PredictError::Cut { .. })
    ));
    assert_eq!(it.predict(&Samples::new(16), 4).unwrap(), []);
}

#[test]
fn a_cut_file_is_refused_wherever_it_ends() {
    let bytes = classifier().to_bytes().unwrap();
    for keep in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = refused(&bytes[..keep]);
        assert!(
            matches!(error, FileError::Malformed { .. }),
            "{keep}: {error}"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(refused(&longer), FileError::Malformed { .. }));
}

/// The length, the description and places all over the header, each hit with three changes: an error or a
/// network, never a panic.
#[test]
fn a_damaged_header_never_panics() {
    let mut bytes = classifier().to_bytes().unwrap();
    for at in (0..400).chain((400..8000).step_by(197)) {
        for change in [0x01, 0x20, 0x80] {
            bytes[at] ^= change;
            let _ = Classifier::from_bytes(&bytes, &cpu());
            bytes[at] ^= change;
        }
    }
}

#[test]
fn a_description_that_cannot_be_is_refused_with_its_problems() {
    let bytes = classifier().to_bytes().unwrap();
    let wide = described(&bytes, |it| {
        it["architecture"]["features"] = 1_000_000_000.into();
    });
    let error = refused(&wide).to_string();
    assert!(
        error.contains("features is 1000000000, it goes from 1 to 4096"),
        "{error}"
    );
    let error = refused(&described(&bytes, |it| it["v"] = 2.into())).to_string();
    assert!(error.contains("version is 2"), "{error}");
    let flat = described(&bytes, |it| it["normalisation"]["deviation"][1] = 0.into());
    assert!(matches!(refused(&flat), FileError::Impossible { .. }));
    let unknown = described(&bytes, |it| it["colour"] = 1.into());
    assert!(matches!(refused(&unknown), FileError::Description { .. }));
    let (mut header, values) = parts(&bytes);
    header["__metadata__"] = serde_json::json!({ "format": "pt" });
    let error = refused(&whole(&header, &values)).to_string();
    assert!(error.contains("only files that Cellmill wrote"), "{error}");
}

#[test]
fn tensors_that_are_missing_strange_or_of_another_shape_are_named() {
    let bytes = classifier().to_bytes().unwrap();
    let (header, values) = parts(&bytes);

    let mut renamed = header.clone();
    let tensor = renamed
        .as_object_mut()
        .unwrap()
        .remove("classes.bias")
        .unwrap();
    renamed["classes.bies"] = tensor;
    let error = refused(&whole(&renamed, &values)).to_string();
    assert_eq!(error, "tensor `classes.bias` is missing");

    let more = described(&bytes, |it| it["architecture"]["n_classes"] = 3.into());
    let error = refused(&more).to_string();
    assert_eq!(
        error,
        "tensor `classes.weight` is F32 [2, 8], the network needs F32 [3, 8]"
    );

    let mut kind = header.clone();
    kind["classes.bias"]["dtype"] = "I32".into();
    let error = refused(&whole(&kind, &values)).to_string();
    assert!(error.contains("`classes.bias` is I32 [2]"), "{error}");

    let begin = header["classes.bias"]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut infinite = values.clone();
    infinite[begin..begin + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(
        refused(&whole(&header, &infinite)),
        FileError::NotFinite { .. }
    ));
}
