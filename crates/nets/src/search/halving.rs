//! Who goes on, and how long: successive halving (Jamieson and Talwalkar 2016). Pure.

use crate::options::TrainOptions;
use crate::trainer::EpochReport;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::time::Duration;

/// A network that is tried, and how far it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub options: TrainOptions,
    /// About what an epoch takes, in any unit: for how much is left to do, and what fits into a time.
    pub cost: f64,
    /// Of all its epochs.
    pub reports: Vec<EpochReport>,
    pub outcome: Outcome,
    /// Time that its epochs took.
    pub spent: Duration,
}

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in the race, or was when it ended.
    Open,
    /// Not in the better half when all had come this far.
    Dropped,
    /// It would not have fitted into the time.
    TooSlow,
}

impl Trial {
    pub(super) const fn new(options: TrainOptions, cost: f64) -> Self {
        Self {
            options,
            cost,
            reports: Vec::new(),
            outcome: Outcome::Open,
            spent: Duration::ZERO,
        }
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&EpochReport> {
        self.reports.iter().rev().find(|it| it.is_best)
    }

    pub(super) const fn epochs_done(&self) -> u32 {
        self.reports.len() as u32
    }

    /// Will nothing more come of it before this epoch? So when it came there, or its patience ran out.
    fn is_through(&self, until: u32) -> bool {
        let since = self.epochs_done() - self.best().map_or(0, |it| it.epoch);
        let is_patient = self.options.patience.is_none_or(|it| since < it);
        self.epochs_done() >= until || !(is_patient || self.reports.is_empty())
    }
}

/// Places of the open trials, in their order.
pub(super) fn open(trials: &[Trial]) -> Vec<usize> {
    let open = (0..trials.len()).filter(|it| trials[*it].outcome == Outcome::Open);
    open.collect()
}

/// The trial whose turn it is; `None` when all is done.
pub(super) fn next(trials: &[Trial]) -> Option<usize> {
    let open = open(trials);
    let until = milestone(epochs(trials), open.len());
    open.into_iter().find(|it| !trials[*it].is_through(until))
}

/// Drops the worse half, when all open trials came to where they are compared. Gives the places of those that were.
pub(super) fn halve(trials: &mut [Trial]) -> Vec<usize> {
    let mut dropped = Vec::new();
    loop {
        let mut open = open(trials);
        let until = milestone(epochs(trials), open.len());
        if open.len() < 2 || !open.iter().all(|it| trials[*it].is_through(until)) {
            return dropped;
        }
        open.sort_by(|a, b| better_first(&trials[*a], &trials[*b]).then(a.cmp(b)));
        for worse in open.split_off(open.len().div_ceil(2)) {
            trials[worse].outcome = Outcome::Dropped;
            dropped.push(worse);
        }
    }
}

/// By macro-F1 on the validation part, then by less loss.
pub(super) fn better_first(a: &Trial, b: &Trial) -> Ordering {
    let score = |it: &Trial| {
        let best = it.best();
        let f1 = best.map_or(f64::NEG_INFINITY, |it| it.confusion.macro_f1());
        let loss = best.and_then(|it| it.validation_loss);
        (f1, loss.unwrap_or(f64::INFINITY))
    };
    let ((a_f1, a_loss), (b_f1, b_loss)) = (score(a), score(b));
    b_f1.total_cmp(&a_f1).then(a_loss.total_cmp(&b_loss))
}

fn epochs(trials: &[Trial]) -> u32 {
    trials.first().map_or(0, |it| it.options.epochs)
}

/// Epochs after which so many open trials are compared: the last one has all of them, two have half, four a quarter.
fn milestone(epochs: u32, n_open: usize) -> u32 {
    let halvings = usize::BITS - n_open.saturating_sub(1).leading_zeros();
    (epochs >> halvings.min(31)).max(1).min(epochs)
}

/// What is left to do, in the unit of cost, if the dearest win.
pub(super) fn cost_left(trials: &[Trial]) -> f64 {
    let state = |it: usize| (trials[it].cost, f64::from(trials[it].epochs_done()));
    let mut open: Vec<(f64, f64)> = open(trials).into_iter().map(state).collect();
    open.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut left = 0.0;
    loop {
        let until = f64::from(milestone(epochs(trials), open.len()));
        for (cost, came) in &mut open {
            left += *cost * (until - *came).max(0.0);
            *came = came.max(until);
        }
        if open.len() < 2 {
            return left;
        }
        open.truncate(open.len().div_ceil(2));
    }
}

/// Takes for the cost of an epoch what it took, and for trials that were not begun what their cost says beside that.
pub(super) fn learn_costs(trials: &mut [Trial]) {
    let (mut took, mut thought) = (0.0, 0.0);
    for it in trials.iter().filter(|it| !it.reports.is_empty()) {
        took += it.spent.as_secs_f64() / f64::from(it.epochs_done());
        thought += it.cost;
    }
    if took <= 0.0 || thought <= 0.0 {
        return;
    }
    for it in trials {
        it.cost = if it.reports.is_empty() {
            it.cost * took / thought
        } else {
            it.spent.as_secs_f64() / f64::from(it.epochs_done())
        };
    }
}

/// Leaves out trials that were not begun, the dearest first, until the rest fits into so many units of cost. One
/// stays, whatever it takes.
pub(super) fn fit_into(trials: &mut [Trial], left: f64) {
    while cost_left(trials) > left {
        let open = open(trials);
        let fresh = open.iter().filter(|it| trials[**it].reports.is_empty());
        let dearest = fresh.max_by(|a, b| trials[**a].cost.total_cmp(&trials[**b].cost));
        match dearest {
            Some(&at) if open.len() > 1 => trials[at].outcome = Outcome::TooSlow,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellmill_core::metrics::Confusion;

    fn trial(cost: f64, epochs: u32) -> Trial {
        let options = TrainOptions {
            epochs,
            ..TrainOptions::default()
        };
        Trial::new(options, cost)
    }

    /// An epoch in which so many of ten were right.
    fn came(it: &mut Trial, n_right: usize, loss: f64) {
        let mut confusion = Confusion::new(2);
        for at in 0..10 {
            let truth = at % 2;
            confusion.add(truth, if at < n_right { truth } else { 1 - truth });
        }
        let is_first = it.reports.is_empty();
        it.reports.push(EpochReport {
            epoch: it.epochs_done() + 1,
            learning_rate: 1.0,
            train_loss: 1.0,
            train_accuracy: 0.5,
            validation_loss: Some(loss),
            confusion,
            is_best: is_first,
        });
        it.spent += Duration::from_secs(3);
    }

    #[test]
    fn the_better_half_goes_on_and_the_winner_is_trained_to_its_end() {
        let mut trials: Vec<Trial> = (1..=5).map(|it| trial(f64::from(it), 16)).collect();
        let rights = [6, 9, 7, 9, 2];
        let mut turns = Vec::new();
        while let Some(at) = next(&trials) {
            turns.push(at);
            // Of two that are equally right the fourth has less loss.
            came(&mut trials[at], rights[at], if at == 3 { 0.1 } else { 0.2 });
            halve(&mut trials);
        }
        // 16 / 8 epochs each, then 16 / 4 of three, 16 / 2 of two, all of the winner.
        let done: Vec<u32> = trials.iter().map(Trial::epochs_done).collect();
        assert_eq!(done, [2, 8, 4, 16, 2]);
        assert_eq!(turns[..6], [0, 0, 1, 1, 2, 2]);
        assert_eq!(open(&trials), [3]);
        assert!(cost_left(&trials) <= 0.0);
    }

    #[test]
    fn one_epoch_is_the_least_and_ties_go_to_the_first() {
        let mut trials = vec![trial(1.0, 2); 8];
        while let Some(at) = next(&trials) {
            came(&mut trials[at], 5, 0.3);
            halve(&mut trials);
        }
        let done: Vec<u32> = trials.iter().map(Trial::epochs_done).collect();
        assert_eq!(done, [2, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_dearest_first_and_what_was_begun_stays() {
        let mut trials: Vec<Trial> = [1.0, 2.0, 8.0, 4.0].map(|it| trial(it, 4)).to_vec();
        // 1 each, 1 more of the dearest two, 2 more of the dearest.
        assert!((cost_left(&trials) - (15.0 + 12.0 + 16.0)).abs() < 1e-9);
        came(&mut trials[0], 5, 0.3);
        learn_costs(&mut trials);
        // An epoch of cost 1 took three seconds.
        assert!((trials[3].cost - 12.0).abs() < 1e-9);
        // All four need 126 s, three 57 s and two 27 s.
        fit_into(&mut trials, 60.0);
        assert_eq!(open(&trials), [0, 1, 3]);
        fit_into(&mut trials, 1.0);
        assert_eq!(open(&trials), [0]);
        assert_eq!(trials[1].outcome, Outcome::TooSlow);
    }

    #[test]
    fn a_trial_whose_patience_ran_out_waits_for_the_others() {
        let mut trials = vec![trial(1.0, 8), trial(1.0, 8)];
        trials[0].options.patience = Some(1);
        came(&mut trials[0], 9, 0.2);
        assert_eq!(next(&trials), Some(0));
        came(&mut trials[0], 8, 0.2);
        assert_eq!(next(&trials), Some(1), "its second epoch was no better");
    }
}
