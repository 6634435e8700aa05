//! Trainings: they learn what can be learned and nothing else, repeat to the bit, stop and go on, and refuse
//! what can't be with a reason.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{
    Augment, ClassWeights, Classifier, Device, EpochReport, OpenDevice, ProfilePart, Samples,
    Scored, StepReport, TrainError, TrainOptions, Trainer,
};
use std::ops::ControlFlow;

fn cpu() -> OpenDevice {
    Device::Cpu.open().unwrap()
}

/// Noise with a blob in one of three colours at a random place; the colour is the class.
fn blobs(n: usize, side: usize, seed: u64) -> Samples {
    let mut samples = Samples::new(side);
    for at in 0..n {
        let mut rng = Rng::new(seed, Purpose::Synthetic, [at as u64, 1]);
        let class = at % 3;
        let (y, x) = (rng.below(side - 7), rng.below(side - 7));
        let mut pixels: Vec<u8> = (0..side * side * 3)
            .map(|_| 90 + rng.below(20) as u8)
            .collect();
        for dy in 0..7 {
            for dx in 0..7 {
                pixels[((y + dy) * side + x + dx) * 3 + class] = 230;
            }
        }
        samples.push(&pixels, class).unwrap();
    }
    samples
}

fn options() -> TrainOptions {
    TrainOptions {
        side: 16,
        n_classes: 3,
        features: 16,
        epochs: 4,
        batch: 16,
        seed: 5,
        ..TrainOptions::default()
    }
}

fn go_on(_: StepReport) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn finish(mut trainer: Trainer) -> (Vec<EpochReport>, Vec<u8>) {
    let mut reports = Vec::new();
    while !trainer.is_finished() {
        reports.push(trainer.epoch(&mut go_on).unwrap().unwrap());
    }
    (reports, trainer.finish().unwrap().to_bytes().unwrap())
}

fn trained(options: &TrainOptions) -> (Vec<EpochReport>, Vec<u8>) {
    finish(Trainer::new(options.clone(), blobs(90, 16, 1), blobs(30, 16, 2), &cpu()).unwrap())
}

#[test]
fn a_plain_problem_is_learned_in_a_few_epochs_and_held_out_pictures_prove_it() {
    let options = TrainOptions {
        epochs: 10,
        ..options()
    };
    let (train, validation) = (blobs(480, 16, 1), blobs(90, 16, 2));
    let trainer = Trainer::new(options, train, validation, &cpu()).unwrap();
    let (reports, bytes) = finish(trainer);
    let best = reports.iter().rev().find(|it| it.is_best).unwrap();
    assert!(best.confusion.accuracy() > 0.95, "{reports:#?}");
    let mut classifier = Classifier::from_bytes(&bytes, &cpu()).unwrap();
    let held_out = blobs(90, 16, 3);
    let scored = classifier.predict(&held_out, 32).unwrap();
    let right = scored
        .iter()
        .zip(held_out.labels())
        .filter(|(it, label)| it.class() == **label)
        .count();
    assert!(right > 85, "{right} of 90");
}

/// Labels that have nothing to do with the pictures: what is right among 300 has mean 100 and deviation 8,
/// whatever the network says. More would mean that training sees the labels that it is measured by.
#[test]
fn shuffled_labels_teach_nothing_about_held_out_pictures() {
    let shuffled = |n: usize, seed: u64| {
        let plain = blobs(n, 16, seed);
        let order = Rng::new(seed, Purpose::Synthetic, [0, 2]).permutation(n);
        let labels = order.iter().map(|it| plain.labels()[*it]).collect();
        Samples::try_new(16, plain.pixels().to_vec(), labels).unwrap()
    };
    let trainer = Trainer::new(options(), shuffled(150, 1), shuffled(300, 2), &cpu()).unwrap();
    for report in finish(trainer).0 {
        let right = report.confusion.n_correct();
        assert!((60..=140).contains(&right), "{right} of 300");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_one_others() {
    let first = trained(&options());
    assert_eq!(first, trained(&options()));
    let other = TrainOptions {
        seed: 6,
        ..options()
    };
    assert_ne!(first.1, trained(&other).1);
}

/// Side 40 and batch 32, so that convolutions have more rows than one task and products are cut.
#[test]
fn the_number_of_threads_does_not_move_a_bit() {
    let options = TrainOptions {
        side: 40,
        epochs: 2,
        batch: 32,
        ..options()
    };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let data = [blobs(67, 40, 1), blobs(20, 40, 2)];
            let [train, validation] = data;
            let trained = finish(Trainer::new(options.clone(), train, validation, &cpu()).unwrap());
            let mut classifier = Classifier::from_bytes(&trained.1, &cpu()).unwrap();
            (trained, classifier.predict(&blobs(33, 40, 3), 32).unwrap())
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert!(one == run(threads), "{threads} threads");
    }
}

#[test]
fn a_resumed_training_ends_as_the_uninterrupted_one() {
    let expected = trained(&options());
    for stop in 0..4 {
        let data = || (blobs(90, 16, 1), blobs(30, 16, 2));
        let (train, validation) = data();
        let mut first = Trainer::new(options(), train, validation, &cpu()).unwrap();
        let mut reports: Vec<_> = (0..stop)
            .map(|_| first.epoch(&mut go_on).unwrap().unwrap())
            .collect();
        let checkpoint = first.checkpoint().unwrap();
        assert_eq!(checkpoint, first.checkpoint().unwrap());
        drop(first);
        let (train, validation) = data();
        let second = Trainer::resume(options(), train, validation, &cpu(), &checkpoint).unwrap();
        assert_eq!(second.epochs_done(), stop);
        let (rest, bytes) = finish(second);
        reports.extend(rest);
        assert_eq!(
            (&reports, &bytes),
            (&expected.0, &expected.1),
            "stopped after {stop}"
        );
    }
}

/// What is judged and kept is the average, which is another network than the last step left; a training with averages
/// and mixed pictures repeats, resumes and is taken back to the bit like any other.
#[test]
fn averages_and_mixed_pictures_resume_to_the_same_bits() {
    let it = TrainOptions {
        ema: Some(0.9),
        mixup: 0.4,
        ..options()
    };
    let expected = trained(&it);
    let plain = TrainOptions {
        ema: None,
        ..it.clone()
    };
    assert_ne!(expected.1, trained(&plain).1);
    let loss = |it: &EpochReport| it.train_loss.to_bits();
    let losses: Vec<u64> = expected.0.iter().map(loss).collect();
    let plain: Vec<u64> = trained(&plain).0.iter().map(loss).collect();
    assert_eq!(losses, plain, "the average does not touch what is learned");
    assert_ne!(
        plain,
        trained(&options()).0.iter().map(loss).collect::<Vec<_>>()
    );
    let data = || (blobs(90, 16, 1), blobs(30, 16, 2));
    let (train, validation) = data();
    let mut first = Trainer::new(it.clone(), train, validation, &cpu()).unwrap();
    let mut reports = vec![first.epoch(&mut go_on).unwrap().unwrap()];
    let broken_off = first.epoch(&mut |it| match it.step {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(broken_off.unwrap(), None);
    let checkpoint = first.checkpoint().unwrap();
    let (train, validation) = data();
    let second = Trainer::resume(it, train, validation, &cpu(), &checkpoint).unwrap();
    let (rest, bytes) = finish(second);
    reports.extend(rest);
    assert_eq!((reports, bytes), expected);
}

#[test]
fn the_profile_adds_up_and_an_epoch_taken_back_is_not_in_it() {
    let mut trainer = Trainer::new(options(), blobs(90, 16, 1), blobs(30, 16, 2), &cpu()).unwrap();
    trainer.keep_trace();
    trainer.epoch(&mut go_on).unwrap();
    let profile = *trainer.profile();
    assert_eq!((profile.pictures, profile.steps), (90, 6));
    assert!(profile.computed() <= profile.looped() && profile.looped() <= trainer.spent());
    let n_of = |part: ProfilePart| trainer.trace().iter().filter(|it| it.part == part).count();
    assert_eq!(n_of(ProfilePart::Forward), 6);
    assert_eq!(n_of(ProfilePart::Augment), 5, "beside the steps before");
    assert_eq!(n_of(ProfilePart::Validate), 1);
    trainer.epoch(&mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(*trainer.profile(), profile);
}

#[test]
fn an_interrupted_epoch_has_never_been() {
    let expected = trained(&options());
    let mut trainer = Trainer::new(options(), blobs(90, 16, 1), blobs(30, 16, 2), &cpu()).unwrap();
    for stop_at in [1, 3, 6] {
        let mut seen = 0;
        let interrupted = trainer.epoch(&mut |it| {
            seen += 1;
            assert_eq!((it.step, it.n_steps), (seen, 6));
            if it.step == stop_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(interrupted.unwrap(), None);
        assert_eq!((seen, trainer.epochs_done()), (stop_at, 0));
    }
    assert_eq!(finish(trainer), expected);
}

#[test]
fn a_checkpoint_of_another_training_is_refused_by_name() {
    let trainer = |options: TrainOptions| {
        Trainer::new(options, blobs(9, 16, 1), Samples::new(16), &cpu()).unwrap()
    };
    let checkpoint = trainer(options()).checkpoint().unwrap();
    let resume =
        |options, train| Trainer::resume(options, train, Samples::new(16), &cpu(), &checkpoint);
    let other = TrainOptions {
        learning_rate: 1e-3,
        ..options()
    };
    let error = resume(other, blobs(9, 16, 1)).unwrap_err().to_string();
    assert!(error.contains("the settings differ"), "{error}");
    let error = resume(options(), blobs(9, 16, 2)).unwrap_err().to_string();
    assert!(error.contains("the samples differ"), "{error}");
    assert!(resume(options(), blobs(9, 16, 1)).is_ok());
    let cut = &checkpoint[..checkpoint.len() - 1];
    let error =
        Trainer::resume(options(), blobs(9, 16, 1), Samples::new(16), &cpu(), cut).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint(_)), "{error}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_a_reason() {
    let refused = |options: TrainOptions, train: Samples, validation: Samples| {
        Trainer::new(options, train, validation, &cpu())
            .unwrap_err()
            .to_string()
    };
    let none = Samples::new(16);
    let two = TrainOptions {
        n_classes: 2,
        ..options()
    };
    let error = refused(two.clone(), blobs(9, 16, 1), none.clone());
    assert!(
        error.contains("a training picture has class 2") && error.contains("2 classes"),
        "{error}"
    );
    let error = refused(two, blobs(2, 16, 1), blobs(9, 16, 1));
    assert!(error.contains("a validation picture"), "{error}");
    let error = refused(options(), blobs(9, 20, 1), none.clone());
    assert!(
        error.contains("side 20") && error.contains("hint:"),
        "{error}"
    );
    let error = refused(options(), blobs(1, 16, 1), none.clone());
    assert!(error.contains("1 training pictures are too few"), "{error}");
    let error = refused(options(), blobs(9, 16, 1).subset(&[1, 4, 7]), none.clone());
    assert!(
        error.contains("all training pictures are of class 1"),
        "{error}"
    );
    let wrong = TrainOptions {
        epochs: 0,
        ..options()
    };
    assert!(refused(wrong, blobs(9, 16, 1), none).contains("epochs is 0"));
}

#[test]
fn a_loss_that_is_no_number_ends_the_epoch_and_takes_it_back() {
    let wild = TrainOptions {
        learning_rate: 10.0,
        weight_decay: 10.0,
        warm_up_epochs: 0,
        epochs: 300,
        ..options()
    };
    let mut trainer = Trainer::new(wild, blobs(30, 16, 1), Samples::new(16), &cpu()).unwrap();
    let error = loop {
        match trainer.epoch(&mut go_on) {
            Ok(_) => assert!(!trainer.is_finished(), "it was to diverge"),
            Err(error) => break error,
        }
    };
    let text = error.to_string();
    assert!(matches!(error, TrainError::Diverged { .. }), "{text}");
    assert!(text.contains("hint: lower the learning rate"), "{text}");
}

/// 39 pictures in batches of 16 leave 7 over: they join the batch before. 40 leave half a batch: it stands alone.
#[test]
fn a_last_batch_of_less_than_half_joins_the_one_before() {
    for (n, batch, expected) in [
        (33, 16, 2),
        (34, 16, 2),
        (39, 16, 2),
        (40, 16, 3),
        (32, 16, 2),
        (3, 2, 1),
        (2, 16, 1),
        (5, 4096, 1),
    ] {
        let it = TrainOptions {
            batch,
            epochs: 1,
            ..options()
        };
        let mut trainer = Trainer::new(it, blobs(n, 16, 1), Samples::new(16), &cpu()).unwrap();
        assert_eq!(trainer.n_steps(), expected, "{n} in batches of {batch}");
        let report = trainer.epoch(&mut go_on).unwrap().unwrap();
        assert!(report.train_loss.is_finite() && report.validation_loss.is_none());
    }
}

#[test]
fn without_a_validation_part_the_last_epoch_is_the_best() {
    let mut trainer = Trainer::new(options(), blobs(30, 16, 1), Samples::new(16), &cpu()).unwrap();
    while !trainer.is_finished() {
        assert!(trainer.epoch(&mut go_on).unwrap().unwrap().is_best);
    }
    assert_eq!(trainer.best_epoch(), Some(4));
    assert!(matches!(
        trainer.epoch(&mut go_on),
        Err(TrainError::Finished { epochs: 4 })
    ));
}

#[test]
fn patience_ends_a_training_that_no_longer_gets_better() {
    let it = TrainOptions {
        epochs: 200,
        patience: Some(2),
        // Nothing moves but the running statistics, so nothing gets better for long.
        learning_rate: 1e-8,
        weight_decay: 0.0,
        augment: Augment::NONE,
        class_weights: ClassWeights::None,
        ..options()
    };
    let mut trainer = Trainer::new(it, blobs(60, 16, 1), blobs(30, 16, 2), &cpu()).unwrap();
    while !trainer.is_finished() {
        trainer.epoch(&mut go_on).unwrap();
    }
    let (done, best) = (trainer.epochs_done(), trainer.best_epoch().unwrap());
    assert_eq!(done, best + 2);
    assert!(done < 200);
}

#[test]
fn grey_classifiers_see_grey_whatever_they_are_given() {
    let it = TrainOptions {
        gray: true,
        epochs: 2,
        ..options()
    };
    let (_, bytes) = trained(&it);
    let mut classifier = Classifier::from_bytes(&bytes, &cpu()).unwrap();
    let colour = blobs(5, 16, 3);
    let logits = |it: Vec<Scored>| it.into_iter().map(|it| it.logits).collect::<Vec<_>>();
    let (a, b) = (
        classifier.predict(&colour, 5).unwrap(),
        classifier.predict(&colour.to_grey(), 5).unwrap(),
    );
    assert_eq!(logits(a), logits(b));
}

/// The answer to a picture and to the same picture turned are the same views in another order.
#[test]
fn the_mean_over_all_views_is_that_of_each_alone_and_knows_no_up() {
    let (_, bytes) = trained(&options());
    let mut classifier = Classifier::from_bytes(&bytes, &cpu()).unwrap();
    let samples = blobs(7, 16, 3);
    let turned = |view: usize| -> Vec<u8> {
        let side = 16;
        let show = |picture: &[u8]| -> Vec<u8> {
            let shown = |y: usize, x: usize| {
                let x = if view >= 4 { side - 1 - x } else { x };
                let (mut y, mut x) = (y, x);
                for _ in 0..view % 4 {
                    (y, x) = (x, side - 1 - y);
                }
                picture[(y * side + x) * 3..][..3].to_vec()
            };
            let places = (0..side).flat_map(|y| (0..side).map(move |x| (y, x)));
            places.flat_map(|(y, x)| shown(y, x)).collect()
        };
        samples
            .pixels()
            .chunks(16 * 16 * 3)
            .flat_map(show)
            .collect()
    };
    let mut all = |pixels: &[u8], n_views: usize| {
        let mut rows = Vec::new();
        let mut each = |it: Scored| rows.push(it);
        classifier
            .predict_views(pixels, 7, n_views, &mut each)
            .unwrap();
        rows
    };
    let views: Vec<Vec<Scored>> = (0..8).map(|it| all(&turned(it), 1)).collect();
    let mean = all(samples.pixels(), 8);
    for (at, row) in mean.iter().enumerate() {
        assert_eq!(row.features, views[0][at].features);
        for class in 0..3 {
            let sum = views
                .iter()
                .fold(0.0_f32, |sum, it| sum + it[at].logits[class]);
            assert_eq!(row.logits[class].to_bits(), (sum / 8.0).to_bits());
        }
    }
    for (a, b) in mean.iter().zip(all(&turned(5), 8)) {
        let apart = a.logits.iter().zip(&b.logits).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-4, "{a:?} {b:?}");
    }
}
