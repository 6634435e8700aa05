//! Counts of requests: what the proxy writes down, and what can be done with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::faults::Fault;
use super::operation::{Charge, charge};

/// What is counted of one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All that came, those answered by a fault included.
    pub requests: u64,
    /// Bytes of bodies that came from callers.
    pub bytes_in: u64,
    /// Bytes of bodies that went to callers.
    pub bytes_out: u64,
    /// Answers that the content is as it was: reads that cost a request and no bytes.
    pub not_modified: u64,
    /// Refusals by the upstream.
    pub refused: u64,
    /// Failures of the upstream.
    pub failed: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub injected: BTreeMap<Fault, u64>,
}

/// One kind of request and its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub call: Call,
    #[serde(flatten)]
    pub tally: Tally,
}

/// A snapshot of the counts, as rows in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub rows: Vec<Row>,
}

impl Counts {
    fn of(tallies: &BTreeMap<Call, Tally>) -> Self {
        let row = |(call, tally): (&Call, &Tally)| Row {
            call: call.clone(),
            tally: tally.clone(),
        };
        Self {
            rows: tallies.iter().map(row).collect(),
        }
    }

    /// What came after `earlier` was taken. Rows in which nothing came are left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before: BTreeMap<&Call, &Tally> = earlier
            .rows
            .iter()
            .map(|it| (&it.call, &it.tally))
            .collect();
        let rows = self.rows.iter().map(|row| Row {
            call: row.call.clone(),
            tally: match before.get(&row.call) {
                Some(before) => row.tally.minus(before),
                None => row.tally.clone(),
            },
        });
        Self {
            rows: rows.filter(|it| it.tally != Tally::default()).collect(),
        }
    }

    /// The rows of which `wanted` is true.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Call) -> bool) -> Self {
        let rows = self.rows.iter().filter(|it| wanted(&it.call));
        Self {
            rows: rows.cloned().collect(),
        }
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.rows.iter().map(|it| it.tally.requests).sum()
    }

    /// Requests to a service.
    pub fn of_service(&self, service: &str) -> u64 {
        self.only(|it| it.service == service).requests()
    }

    /// Requests to S3 that are charged as `wanted`.
    pub fn charged(&self, wanted: Charge) -> u64 {
        self.only(|it| it.service == "s3" && charge(&it.operation) == wanted)
            .requests()
    }

    /// How often a fault was put in.
    pub fn injected(&self, fault: Fault) -> u64 {
        let of_row = |it: &Row| it.tally.injected.get(&fault).copied().unwrap_or(0);
        self.rows.iter().map(of_row).sum()
    }
}

impl Tally {
    fn minus(&self, earlier: &Self) -> Self {
        let injected = self.injected.iter().map(|(fault, n)| {
            let before = earlier.injected.get(fault).copied().unwrap_or(0);
            (*fault, n.saturating_sub(before))
        });
        // A reset in between makes the earlier one the larger.
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            bytes_in: self.bytes_in.saturating_sub(earlier.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(earlier.bytes_out),
            not_modified: self.not_modified.saturating_sub(earlier.not_modified),
            refused: self.refused.saturating_sub(earlier.refused),
            failed: self.failed.saturating_sub(earlier.failed),
            injected: injected.filter(|(_, n)| *n > 0).collect(),
        }
    }
}

/// Where the proxy writes its counts down.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tallies: Mutex<BTreeMap<Call, Tally>>,
}

impl Ledger {
    pub(super) fn add(&self, call: &Call, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.held();
        match tallies.get_mut(call) {
            Some(tally) => change(tally),
            None => change(tallies.entry(call.clone()).or_default()),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.held())
    }

    pub(super) fn reset(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Call, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(service: &str, operation: &str, prefix: &str) -> Call {
        Call {
            service: service.to_owned(),
            operation: operation.to_owned(),
            prefix: prefix.to_owned(),
            caller: String::new(),
            is_signed_url: false,
        }
    }

    #[test]
    fn counts_can_be_subtracted_and_read_again() {
        let ledger = Ledger::default();
        let (get, put) = (
            call("s3", "GetObject", "img"),
            call("s3", "PutObject", "records"),
        );
        ledger.add(&get, |it| it.requests += 2);
        let before = ledger.counts();
        ledger.add(&get, |it| it.requests += 1);
        ledger.add(&put, |it| {
            it.requests += 4;
            it.injected.insert(Fault::SlowDown, 1);
        });
        let since = ledger.counts().since(&before);
        assert_eq!(since.requests(), 5);
        assert_eq!(since.charged(Charge::Put), 4);
        assert_eq!(since.charged(Charge::Get), 1);
        assert_eq!(since.injected(Fault::SlowDown), 1);
        assert_eq!(since.only(|it| it.prefix == "img").requests(), 1);
        let text = serde_json::to_string(&since).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), since);
        assert_eq!(since.since(&since).rows, []);
    }

    #[test]
    fn requests_of_other_services_are_not_charged_as_those_of_s3() {
        let ledger = Ledger::default();
        ledger.add(&call("sqs", "SendMessage", ""), |it| it.requests += 3);
        assert_eq!(ledger.counts().of_service("sqs"), 3);
        assert_eq!(ledger.counts().charged(Charge::Get), 0);
        ledger.reset();
        assert_eq!(ledger.counts(), Counts::default());
    }
}
