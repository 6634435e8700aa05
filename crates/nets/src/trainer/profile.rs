//! Where the time of a training goes.
//!
//! A step is some milliseconds and a look at the clock some nanoseconds, so the parts are always measured. Single
//! events are kept only when a trace was asked for.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The parts of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The next batch is changed and normalised, beside the step.
    Augment,
    /// The network waits for its batch.
    Wait,
    Forward,
    Backward,
    Optimiser,
    /// The validation part is judged.
    Validate,
}

impl Part {
    pub const ALL: [Self; 6] = [
        Self::Augment,
        Self::Wait,
        Self::Forward,
        Self::Backward,
        Self::Optimiser,
        Self::Validate,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Augment => "augment",
            Self::Wait => "wait",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimiser => "optimiser",
            Self::Validate => "validate",
        }
    }
}

/// Time by part, of the epochs that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    nanos: [u64; Part::ALL.len()],
    /// Of all passes over the training part, with everything in them but validation.
    loop_nanos: u64,
    /// Pictures that were learned from, each as often as it was.
    pub pictures: u64,
    pub steps: u64,
}

impl Profile {
    pub const fn of(&self, part: Part) -> Duration {
        Duration::from_nanos(self.nanos[part as usize])
    }

    /// Time of the training loop: steps, waiting, and what is between them; without validation.
    pub const fn looped(&self) -> Duration {
        Duration::from_nanos(self.loop_nanos)
    }

    /// Time in the network and its optimiser.
    pub fn computed(&self) -> Duration {
        self.of(Part::Forward) + self.of(Part::Backward) + self.of(Part::Optimiser)
    }

    fn add(&mut self, part: Part, took: Duration) {
        self.nanos[part as usize] += nanos(took);
    }
}

/// One part of one step, for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    pub part: Part,
    /// From 1.
    pub epoch: u32,
    /// Steps of the training before it.
    pub step: u64,
    /// Since the trainer was made.
    pub at: Duration,
    pub took: Duration,
}

/// Events that a trace holds at most: about 10 MB of text.
const MAX_EVENTS: usize = 100_000;
/// Steps of later epochs that a trace shows, about: enough to see a change over time.
const LATER_STEPS: u64 = 2_000;

/// Measures a trainer.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    pub(super) profile: Profile,
    trace: Option<Trace>,
    epoch: u32,
    step: u64,
}

#[derive(Debug)]
struct Trace {
    events: Vec<TraceEvent>,
    /// After the first epoch every so many steps are kept.
    every: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            profile: Profile::default(),
            trace: None,
            epoch: 1,
            step: 0,
        }
    }

    /// From now on events are kept, of a training of so many steps.
    pub(super) fn trace(&mut self, n_steps: u64) {
        self.trace = Some(Trace {
            events: Vec::new(),
            every: n_steps.div_ceil(LATER_STEPS).max(1),
        });
    }

    pub(super) fn events(&self) -> &[TraceEvent] {
        self.trace.as_ref().map_or(&[], |it| &it.events)
    }

    /// Which step begins; epochs from 1.
    pub(super) const fn at_step(&mut self, epoch: u32, step: u64) {
        (self.epoch, self.step) = (epoch, step);
    }

    #[expect(clippy::unused_self, reason = "the one place that looks at a clock")]
    pub(super) fn now(&self) -> Instant {
        Instant::now()
    }

    /// A part ended that began then; gives the time now, when the next begins.
    pub(super) fn took(&mut self, part: Part, begun: Instant) -> Instant {
        let now = Instant::now();
        self.add(part, begun, now - begun);
        now
    }

    /// A part that was measured elsewhere.
    pub(super) fn add(&mut self, part: Part, begun: Instant, took: Duration) {
        self.profile.add(part, took);
        let Some(trace) = &mut self.trace else {
            return;
        };
        let is_shown = self.epoch == 1 || self.step.is_multiple_of(trace.every);
        if is_shown && trace.events.len() < MAX_EVENTS {
            trace.events.push(TraceEvent {
                part,
                epoch: self.epoch,
                step: self.step,
                at: begun.saturating_duration_since(self.begun),
                took,
            });
        }
    }

    /// A pass over the training part ended.
    pub(super) fn looped(&mut self, took: Duration, pictures: usize, steps: usize) {
        self.profile.loop_nanos += nanos(took);
        self.profile.pictures += pictures as u64;
        self.profile.steps += steps as u64;
    }
}

fn nanos(it: Duration) -> u64 {
    u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_shows_the_first_epoch_and_then_every_so_many_steps_and_is_bounded() {
        let mut clock = Clock::new();
        let begun = clock.now();
        clock.took(Part::Forward, begun);
        assert!(clock.events().is_empty(), "nobody asked");
        clock.trace(3 * LATER_STEPS);
        for step in 0..100 {
            clock.at_step(1 + u32::from(step >= 40), step);
            clock.add(Part::Backward, begun, Duration::from_nanos(5));
        }
        let shown: Vec<u64> = clock.events().iter().map(|it| it.step).collect();
        let expected: Vec<u64> = (0..40).chain((42..100).step_by(3)).collect();
        assert_eq!(shown, expected);
        assert_eq!(clock.profile.of(Part::Backward), Duration::from_nanos(500));
        clock.at_step(1, 0);
        for _ in 0..MAX_EVENTS + 5 {
            clock.add(Part::Wait, begun, Duration::ZERO);
        }
        assert_eq!(clock.events().len(), MAX_EVENTS);
    }
}
