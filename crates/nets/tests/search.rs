//! Searches: the best on the validation part wins, they repeat and resume to the bit, and leave out what does not fit.
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{
    Device, OpenDevice, Outcome, Samples, Search, StepReport, TrainError, TrainOptions, Trial,
};
use std::ops::ControlFlow;
use std::time::Duration;

fn cpu() -> OpenDevice {
    Device::Cpu.open().unwrap()
}

/// Noise with a blob in one of two colours at a random place; the colour is the class.
fn blobs(n: usize, seed: u64) -> Samples {
    let mut samples = Samples::new(16);
    for at in 0..n {
        let mut rng = Rng::new(seed, Purpose::Synthetic, [at as u64, 1]);
        let (y, x) = (rng.below(9), rng.below(9));
        let mut pixels: Vec<u8> = (0..16 * 16 * 3).map(|_| 90 + rng.below(20) as u8).collect();
        for place in 0..49 {
            pixels[((y + place / 7) * 16 + x + place % 7) * 3 + at % 2] = 230;
        }
        samples.push(&pixels, at % 2).unwrap();
    }
    samples
}

/// Five networks that differ in how fast they learn: the middle one does it best.
fn trials() -> Vec<(TrainOptions, f64)> {
    [1e-8, 1e-7, 3e-3, 1e-6, 1e-7]
        .into_iter()
        .enumerate()
        .map(|(at, learning_rate)| {
            let options = TrainOptions {
                side: 16,
                features: 8,
                epochs: 8,
                batch: 16,
                warm_up_epochs: 0,
                learning_rate,
                seed: at as u64,
                ..TrainOptions::default()
            };
            (options, 1.0 + at as f64)
        })
        .collect()
}

fn search() -> Search {
    Search::new(trials(), blobs(64, 1), blobs(24, 2), &cpu(), None)
}

fn go_on(_: StepReport) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The winner's place, the bytes of its network, and what was told of all.
fn finish(mut search: Search) -> (usize, Vec<u8>, Vec<Trial>) {
    while search.at().is_some() {
        search.epoch(&mut go_on).unwrap().unwrap();
    }
    let (at, trainer, mut trials) = search.finish().unwrap();
    for it in &mut trials {
        it.spent = Duration::ZERO;
    }
    (at, trainer.finish().unwrap().to_bytes().unwrap(), trials)
}

#[test]
fn the_network_with_the_best_validation_is_trained_to_its_end_and_the_others_are_not() {
    let longer = trials().into_iter().map(|(options, cost)| {
        let options = TrainOptions {
            epochs: 16,
            batch: 8,
            ..options
        };
        (options, cost)
    });
    let (train, validation) = (blobs(160, 1), blobs(40, 2));
    let (at, _, trials) = finish(Search::new(
        longer.collect(),
        train,
        validation,
        &cpu(),
        None,
    ));
    assert_eq!(at, 2);
    let best = trials[at].best().unwrap();
    let f1 = |it: &Trial| it.best().unwrap().confusion.macro_f1();
    assert!(trials.iter().all(|it| f1(it) <= f1(&trials[at])));
    assert!(best.confusion.accuracy() > 0.9, "{best:?}");
    let done: Vec<usize> = trials.iter().map(|it| it.reports.len()).collect();
    assert_eq!(done[2], 16);
    assert_eq!(done.iter().sum::<usize>(), 16 + 8 + 4 + 2 + 2, "{done:?}");
    let outcomes = trials.iter().filter(|it| it.outcome == Outcome::Open);
    assert_eq!(outcomes.count(), 1);
}

/// Stopped after every epoch, the search goes on from its checkpoint to the same bits.
#[test]
fn a_resumed_search_ends_as_the_uninterrupted_one() {
    let expected = finish(search());
    let mut stopped = search();
    let mut n_stops = 0;
    while stopped.at().is_some() {
        let checkpoint = stopped.checkpoint().unwrap();
        let (train, validation) = (blobs(64, 1), blobs(24, 2));
        stopped = Search::resume(trials(), train, validation, &cpu(), None, &checkpoint).unwrap();
        let broken_off = stopped.epoch(&mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(broken_off, None);
        stopped.epoch(&mut go_on).unwrap().unwrap();
        n_stops += 1;
    }
    assert_eq!(n_stops, 16);
    assert_eq!(finish(stopped), expected);
}

#[test]
fn a_checkpoint_of_another_search_is_refused_by_name() {
    let mut first = search();
    first.epoch(&mut go_on).unwrap();
    let checkpoint = first.checkpoint().unwrap();
    let resume = |trials: Vec<(TrainOptions, f64)>, train: Samples| {
        Search::resume(trials, train, blobs(24, 2), &cpu(), None, &checkpoint)
    };
    let error = resume(trials()[..4].to_vec(), blobs(64, 1)).unwrap_err();
    assert!(matches!(
        error,
        TrainError::OtherTraining {
            what: "the settings"
        }
    ));
    let error = resume(trials(), blobs(64, 3)).unwrap_err();
    assert!(matches!(
        error,
        TrainError::OtherTraining {
            what: "the samples"
        }
    ));
    assert!(resume(trials(), blobs(64, 1)).is_ok());
}

#[test]
fn what_does_not_fit_into_the_time_is_left_out_and_the_rest_is_told_as_done_by_its_cost() {
    let mut search = search();
    assert!(search.done(0.0) <= 0.0);
    search.epoch(&mut go_on).unwrap();
    let before = search.done(0.0);
    assert!(before > 0.0 && search.done(0.5) > before && before < 0.1);
    search.fit_into(Duration::ZERO);
    let too_slow = search
        .trials()
        .iter()
        .filter(|it| it.outcome == Outcome::TooSlow);
    assert_eq!(too_slow.count(), 4, "all but the one that was begun");
    while search.at().is_some() {
        search.epoch(&mut go_on).unwrap();
    }
    assert!((search.done(0.0) - 1.0).abs() < 1e-9);
    assert_eq!(search.finish().unwrap().0, 0);
}
