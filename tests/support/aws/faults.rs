//! Faults that are put in by rule and seed.
//!
//! What happens to the n-th try of a request follows from the seed, the request and n, not from what else is on its
//! way at that moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::call::Seen;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Refused with 503 before anything is done.
    SlowDown,
    /// Refused with 409 before anything is done, as when two write one object at a time.
    Conflict,
    /// Done, and the connection ends without an answer.
    AnswerLost,
}

/// Which requests a rule is about, beside those that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    All,
    Writes,
    /// Writes in the place of a known version, or of nothing.
    ConditionalWrites,
}

/// Puts a fault into some of the requests.
#[derive(Clone, Debug)]
pub struct Rule {
    pub fault: Fault,
    /// 0 to 1.
    pub probability: f64,
    pub only: Only,
    /// `s3`, `sqs`; empty: both. Other services are left alone.
    pub services: Vec<&'static str>,
    /// Empty: all.
    pub operations: Vec<&'static str>,
    /// First folders of keys. Empty: all.
    pub prefixes: Vec<&'static str>,
}

impl Rule {
    /// About all requests to S3 and SQS; narrowed by changing its fields.
    pub fn new(fault: Fault, probability: f64, only: Only) -> Self {
        Self {
            fault,
            probability,
            only,
            services: Vec::new(),
            operations: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    fn is_about(&self, seen: &Seen) -> bool {
        let call = &seen.call;
        let is_named = |named: &[&str], it: &str| named.is_empty() || named.contains(&it);
        let is_known = matches!(call.service.as_str(), "s3" | "sqs");
        let is_kind = match self.only {
            Only::All => true,
            Only::Writes => seen.is_write,
            Only::ConditionalWrites => seen.is_conditional,
        };
        is_known
            && is_kind
            && is_named(&self.services, &call.service)
            && is_named(&self.operations, &call.operation)
            && is_named(&self.prefixes, &call.prefix)
    }
}

/// What goes wrong, and the seed from which it follows when.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub seed: u64,
    /// The first rule whose draw hits decides.
    pub rules: Vec<Rule>,
}

impl Plan {
    /// Storms as they happen: 5 % of all requests are put off, 5 % of conditional writes meet another one, of 1 % of
    /// the writes nobody hears that they were done.
    pub fn storm(seed: u64) -> Self {
        let mut conflict = Rule::new(Fault::Conflict, 0.05, Only::ConditionalWrites);
        conflict.services = vec!["s3"];
        Self {
            seed,
            rules: vec![
                Rule::new(Fault::SlowDown, 0.05, Only::All),
                conflict,
                Rule::new(Fault::AnswerLost, 0.01, Only::Writes),
            ],
        }
    }
}

/// Draws for the requests that come.
#[derive(Debug, Default)]
pub(super) struct Draws {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    /// Tries of each request so far.
    tries: HashMap<String, u64>,
}

impl Draws {
    /// Follows another plan from now on.
    pub(super) fn follow(&self, plan: Plan) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            plan,
            tries: HashMap::new(),
        };
    }

    pub(super) fn draw(&self, seen: &Seen) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.plan.rules.is_empty() {
            return None;
        }
        let tries = state.tries.entry(seen.identity.clone()).or_default();
        *tries += 1;
        let mut random = random_of(state.plan.seed, &seen.identity, state.tries[&seen.identity]);
        let rules = state.plan.rules.iter();
        // Each rule draws, also when it is not about this request: rules don't shift each other's luck.
        let draws = rules.map(|it| (it, random.random::<f64>()));
        let hits = draws.filter(|(rule, drawn)| *drawn < rule.probability && rule.is_about(seen));
        hits.map(|(rule, _)| rule.fault).next()
    }
}

fn random_of(seed: u64, identity: &str, nth: u64) -> StdRng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(nth.to_le_bytes());
    hash.update(identity.as_bytes());
    StdRng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn seen(method: &str, key: usize, headers: &[(&str, &str)]) -> Seen {
        let uri = format!("/bucket/records/{key}.json");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Seen::of(&request.body(()).unwrap().into_parts().0)
    }

    fn drawn(plan: &Plan, requests: &[Seen]) -> Vec<Option<Fault>> {
        let draws = Draws::default();
        draws.follow(plan.clone());
        requests.iter().map(|it| draws.draw(it)).collect()
    }

    #[test]
    fn a_storm_hits_as_often_as_it_says() {
        let puts: Vec<Seen> = (0..20_000)
            .map(|it| seen("PUT", it, &[("if-match", "\"1\"")]))
            .collect();
        let hits = drawn(&Plan::storm(7), &puts);
        let share = |fault| {
            let n = hits.iter().filter(|it| **it == Some(fault)).count();
            n as f64 / hits.len() as f64
        };
        assert!((share(Fault::SlowDown) - 0.05).abs() < 0.005);
        assert!((share(Fault::Conflict) - 0.0475).abs() < 0.005);
        assert!((share(Fault::AnswerLost) - 0.009).abs() < 0.002);
    }

    #[test]
    fn reads_are_never_answered_as_writes() {
        let gets: Vec<Seen> = (0..2_000)
            .map(|it| seen("GET", it, &[("if-none-match", "\"1\"")]))
            .collect();
        let hits = drawn(&Plan::storm(7), &gets);
        assert!(hits.iter().flatten().all(|it| *it == Fault::SlowDown));
        assert!(hits.iter().flatten().count() > 50);
    }

    #[test]
    fn what_happens_to_a_request_does_not_follow_from_its_neighbours() {
        let all: Vec<Seen> = (0..200).map(|it| seen("PUT", it, &[])).collect();
        let turned: Vec<Seen> = all.iter().rev().cloned().collect();
        let mut back = drawn(&Plan::storm(3), &turned);
        back.reverse();
        assert_eq!(drawn(&Plan::storm(3), &all), back);
        assert_ne!(drawn(&Plan::storm(4), &all), back);
    }

    #[test]
    fn another_try_is_another_draw() {
        let one = seen("GET", 0, &[]);
        let always = Plan {
            seed: 1,
            rules: vec![Rule::new(Fault::SlowDown, 0.5, Only::All)],
        };
        let hits = drawn(&always, &vec![one; 64]);
        let n = hits.iter().flatten().count();
        assert!((16..48).contains(&n), "{n} of 64");
    }

    #[test]
    fn a_rule_keeps_to_what_it_names() {
        let mut rule = Rule::new(Fault::SlowDown, 1.0, Only::All);
        rule.prefixes = vec!["labels"];
        let plan = Plan {
            seed: 1,
            rules: vec![rule],
        };
        assert_eq!(drawn(&plan, &[seen("GET", 0, &[])]), [None]);
    }
}
