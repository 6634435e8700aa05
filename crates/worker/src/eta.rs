//! How long something will take, from how fast it went.

use std::time::Duration;

/// Speed is averaged over about this time, so that one slow image does not double the estimate and a change
/// of pace is believed soon.
const MEMORY: Duration = Duration::from_secs(20);

/// An estimate of the time that is left, from the progress so far. Pure: the caller says how much time passed.
///
/// ```
/// use std::time::Duration;
/// use cellmill_worker::Eta;
/// let mut eta = Eta::default();
/// eta.reached(0.25, Duration::from_secs(10));
/// assert_eq!(eta.remaining(Duration::from_secs(10)), Some(Duration::from_secs(30)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Eta {
    /// The part that is done, 0 to 1, and when that was reached.
    done: f64,
    at: Duration,
    /// Parts a second, smoothed; 0 as long as nothing is done.
    speed: f64,
}

impl Eta {
    /// Of something that begins with the part `done` (0 to 1), which says nothing about the speed.
    pub fn resumed_at(done: f64) -> Self {
        Self {
            done: done.clamp(0.0, 1.0),
            ..Self::default()
        }
    }

    /// The part `done` (0 to 1) was reached `elapsed` after the start. What falls behind or stands still is
    /// ignored: the time since the last progress counts when the next one comes.
    pub fn reached(&mut self, done: f64, elapsed: Duration) {
        let done = done.clamp(0.0, 1.0);
        let seconds = elapsed.saturating_sub(self.at).as_secs_f64();
        if !(done > self.done && seconds > 0.0) {
            return;
        }
        let speed = (done - self.done) / seconds;
        if self.speed == 0.0 {
            self.speed = speed;
        } else {
            let weight = 1.0 - (-seconds / MEMORY.as_secs_f64()).exp();
            self.speed += weight * (speed - self.speed);
        }
        self.done = done;
        self.at = elapsed;
    }

    /// What is left, `elapsed` after the start; `None` before anything is done.
    ///
    /// It counts down between two steps, but a step that takes longer than expected slows the whole estimate
    /// instead of letting it reach zero.
    pub fn remaining(&self, elapsed: Duration) -> Option<Duration> {
        if self.speed <= 0.0 {
            return None;
        }
        let left = (1.0 - self.done) / self.speed;
        let since = elapsed.saturating_sub(self.at).as_secs_f64();
        let seconds = if left <= 0.0 {
            0.0
        } else {
            (left - since).max(left * since / (left + since))
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn left(eta: &Eta, at: f64) -> f64 {
        eta.remaining(seconds(at)).unwrap().as_secs_f64()
    }

    /// Reaches `steps` parts of `of`, one every `pace` seconds, from part `from` at `start`.
    fn walk(eta: &mut Eta, from: u32, steps: u32, of: u32, start: f64, pace: f64) -> f64 {
        let mut at = start;
        for step in 1..=steps {
            at += pace;
            eta.reached(f64::from(from + step) / f64::from(of), seconds(at));
        }
        at
    }

    #[test]
    fn nothing_is_estimated_before_something_is_done() {
        let mut eta = Eta::default();
        assert_eq!(eta.remaining(seconds(100.0)), None);
        eta.reached(0.0, seconds(5.0));
        assert_eq!(eta.remaining(seconds(100.0)), None);
    }

    #[test]
    fn a_steady_pace_is_estimated_exactly() {
        let mut eta = Eta::default();
        let at = walk(&mut eta, 0, 30, 100, 0.0, 2.0);
        assert!((left(&eta, at) - 140.0).abs() < 1e-6);
    }

    #[test]
    fn one_slow_step_moves_the_estimate_less_than_a_lasting_change() {
        let mut eta = Eta::default();
        let at = walk(&mut eta, 0, 50, 100, 0.0, 1.0);
        let at = walk(&mut eta, 50, 1, 100, at, 4.0);
        assert!((50.0..65.0).contains(&left(&eta, at)), "{}", left(&eta, at));
        let at = walk(&mut eta, 51, 29, 100, at, 4.0);
        assert!((70.0..81.0).contains(&left(&eta, at)), "{}", left(&eta, at));
    }

    #[test]
    fn it_counts_down_between_steps_and_never_reaches_zero_before_the_end() {
        let mut eta = Eta::default();
        eta.reached(0.5, seconds(10.0));
        assert!((left(&eta, 12.0) - 8.0).abs() < 1e-9);
        assert!(left(&eta, 25.0) > 3.0);
        eta.reached(1.0, seconds(30.0));
        assert!(left(&eta, 31.0) < 1e-9);
    }

    #[test]
    fn going_back_or_past_the_end_does_no_harm() {
        let mut eta = Eta::default();
        eta.reached(0.5, seconds(10.0));
        let before = eta;
        eta.reached(0.2, seconds(11.0));
        eta.reached(0.6, seconds(9.0));
        assert_eq!(eta, before);
        eta.reached(7.0, seconds(20.0));
        assert!(left(&eta, 20.0) < 1e-9);
    }
}
