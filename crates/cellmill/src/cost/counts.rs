//! What each thing takes in each stage: requests, time, bytes. Counted, dated, read from a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::Cut;

/// The file of counts that comes with the program.
pub(super) const COUNTS: &str = include_str!("counts.json");

/// A row of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Asking for signed addresses, and sending.
    Upload,
    /// The function `ingest`: images.
    Ingest,
    /// The function `label`: points.
    Label,
    DataSet,
    Training,
    Prediction,
    /// What runs when nobody does anything: the janitor, polls of empty queues.
    Standing,
    /// A month of everything that is left.
    Storage,
}

/// What a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Thing {
    Image,
    Csv,
    Cell,
    /// A cell that is written as a file of its own.
    LooseCell,
    Job,
    Unit,
    Heartbeat,
    Month,
}

/// Invocations and time of one function for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LambdaUse {
    /// Less than one where a batch brings several.
    pub(super) invocations: f64,
    /// Of the thing, not of the invocation.
    pub(super) ms: f64,
}

/// What one thing takes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Footprint {
    /// PUT, COPY, POST, LIST.
    pub(super) s3_put: f64,
    /// GET, HEAD.
    pub(super) s3_get: f64,
    pub(super) sqs: f64,
    /// Requests to the HTTP API.
    pub(super) http_api: f64,
    /// Invocations by schedule.
    pub(super) schedules: f64,
    /// By the name of the function.
    pub(super) lambda: BTreeMap<String, LambdaUse>,
    /// Seconds of a worker without a GPU.
    pub(super) cpu_worker_s: f64,
    /// Seconds of a worker with a GPU.
    pub(super) gpu_worker_s: f64,
    pub(super) log_bytes: f64,
    /// What stays in the bucket.
    pub(super) bytes: f64,
    /// Seconds of one core when everything runs on one machine without a GPU.
    pub(super) home_cpu_s: f64,
}

/// A worker without a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CpuWorker {
    pub(super) vcpu: f64,
    pub(super) gib: f64,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) v: u32,
    /// False: read from the code, not counted.
    pub(super) measured: bool,
    pub(super) date: String,
    /// How the counts were made.
    pub(super) how: String,
    pub(super) heartbeat_s: f64,
    pub(super) images_per_unit: f64,
    pub(super) cells_per_unit: f64,
    pub(super) cpu_worker: CpuWorker,
    /// Memory of each function in MiB.
    pub(super) functions_mib: BTreeMap<String, f64>,
    pub(super) stages: BTreeMap<Stage, BTreeMap<Thing, Footprint>>,
}

/// What a reader of the counts must know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CountsError {
    #[error("function `{function}` of stage `{stage:?}` has no memory in `functions_mib`")]
    NoMemory { function: String, stage: Stage },
    #[error("counts of version {v}; this program reads version 1")]
    Version { v: u32 },
    #[error("`{name}` must be above 0")]
    NotPositive { name: &'static str },
}

impl Counts {
    pub(super) fn cut(&self) -> Cut {
        Cut {
            images_per_unit: self.images_per_unit,
            cells_per_unit: self.cells_per_unit,
        }
    }

    /// Can it be reckoned with?
    pub(super) fn check(&self) -> Result<(), CountsError> {
        if self.v != 1 {
            return Err(CountsError::Version { v: self.v });
        }
        for (name, value) in [
            ("heartbeat_s", self.heartbeat_s),
            ("images_per_unit", self.images_per_unit),
            ("cells_per_unit", self.cells_per_unit),
        ] {
            if value <= 0.0 {
                return Err(CountsError::NotPositive { name });
            }
        }
        for (stage, things) in &self.stages {
            let used = things.values().flat_map(|it| it.lambda.keys());
            for function in used {
                if !self.functions_mib.contains_key(function) {
                    return Err(CountsError::NoMemory {
                        function: function.clone(),
                        stage: *stage,
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_that_come_with_the_program_can_be_reckoned_with() {
        let counts: Counts = serde_json::from_str(COUNTS).unwrap();
        assert_eq!(counts.check(), Ok(()));
        for stage in [
            Stage::Upload,
            Stage::Ingest,
            Stage::Label,
            Stage::DataSet,
            Stage::Training,
            Stage::Prediction,
            Stage::Standing,
        ] {
            assert!(counts.stages.contains_key(&stage), "{stage:?}");
        }
    }

    #[test]
    fn a_function_without_memory_is_told() {
        let mut counts: Counts = serde_json::from_str(COUNTS).unwrap();
        counts.functions_mib.remove("ingest");
        let error = counts.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "function `ingest` of stage `Ingest` has no memory in `functions_mib`"
        );
    }
}
