//! What a worker is made of and what can be chosen about it.

use std::sync::Arc;
use std::time::Duration;

use cellmill_core::ids::WorkerId;
use cellmill_core::job::DEFAULT_WINDOW;
use cellmill_core::keys::JobKind;
use cellmill_core::messages::UnitClass;
use cellmill_core::timing::Timing;
use cellmill_queue::Queue;
use cellmill_store::Store;

use crate::Meter;

/// The homes that a worker works in.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The bucket.
    pub store: Store,
    /// Where hints come from.
    pub queue: Arc<dyn Queue>,
}

/// What can be chosen about a worker; the defaults fit.
#[derive(Clone, Debug)]
pub struct Options {
    /// One per process start: it stands in the records of its units and names `workers/<id>.json`.
    pub id: WorkerId,
    /// The classes of units it serves.
    pub classes: Vec<UnitClass>,
    /// The kinds of units it takes, all that its algorithms do when empty.
    pub kinds: Vec<JobKind>,
    /// What it computes on, for people.
    pub device: String,
    /// Lease and heartbeat; all processes over one store must agree.
    pub timing: Timing,
    /// How many units of a job are released at once; all processes over one store must agree.
    pub window: usize,
    /// Units at the same time in this process: 1.
    pub concurrency: usize,
    /// How long a unit may take to stop at shutdown before it is handed back without it: 20 s, so that
    /// the whole ends within 30 s.
    pub grace: Duration,
    /// What reads the machine's state for `workers/<id>.json`; none by itself.
    pub meter: Option<Arc<Meter>>,
}

impl Options {
    /// The defaults for a worker of this id: class `cpu`, one unit at a time.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            classes: vec![UnitClass::cpu()],
            kinds: Vec::new(),
            device: "cpu".to_owned(),
            timing: Timing::default(),
            window: DEFAULT_WINDOW,
            concurrency: 1,
            grace: Duration::from_secs(20),
            meter: None,
        }
    }
}

/// An id that no other process start has: `<prefix>-<ulid>`. What ids may not hold is left out of the prefix.
pub fn fresh_id(prefix: &str) -> WorkerId {
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let prefix: String = prefix.chars().filter(is_allowed).take(40).collect();
    let id = format!("{prefix}-{}", ulid::Ulid::generate());
    WorkerId::parse(id.trim_start_matches('-'))
        .expect("letters, digits and `-`, at most 67 of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_differ_and_keep_what_can_be_kept_of_the_prefix() {
        let id = fresh_id("lab.host/1");
        assert!(id.as_str().starts_with("labhost1-"), "{id}");
        assert_ne!(id, fresh_id("lab.host/1"));
        assert!(!fresh_id("病").as_str().starts_with('-'));
        fresh_id(&"x".repeat(300));
    }
}
