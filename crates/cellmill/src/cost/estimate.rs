//! From what is done to what it takes: counts times how often.

use serde::Serialize;

use super::counts::{Counts, Footprint, Stage};
use super::plan::Plan;

/// The stages that the counts speak of, in the order in which they come.
const STAGES: [Stage; 7] = [
    Stage::Upload,
    Stage::Ingest,
    Stage::Label,
    Stage::DataSet,
    Stage::Training,
    Stage::Prediction,
    Stage::Standing,
];

/// What is billed by the GB is billed by 2^30 bytes.
const GB: f64 = 1_073_741_824.0;

/// What one stage takes, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) s3_put: f64,
    pub(super) s3_get: f64,
    pub(super) sqs: f64,
    pub(super) http_api: f64,
    pub(super) schedules: f64,
    pub(super) lambda_requests: f64,
    pub(super) lambda_gb_s: f64,
    pub(super) cpu_worker_hours: f64,
    pub(super) gpu_worker_hours: f64,
    pub(super) log_gb: f64,
    pub(super) storage_gb_months: f64,
    pub(super) transfer_out_gb: f64,
    /// Standalone: what stays on the disk, in bytes.
    #[serde(skip)]
    pub(super) bytes: f64,
    /// Standalone: hours of one core.
    #[serde(skip)]
    pub(super) home_cpu_hours: f64,
}

/// What every stage takes; the storage of what all of them leave is the last one.
pub(super) fn estimate(plan: &Plan, counts: &Counts) -> Vec<(Stage, Usage)> {
    let mut all: Vec<(Stage, Usage)> = STAGES
        .into_iter()
        .map(|stage| (stage, of_stage(stage, plan, counts)))
        .collect();
    let kept: f64 = all.iter().map(|(_, it)| it.bytes).sum();
    let storage = Usage {
        storage_gb_months: kept / GB,
        transfer_out_gb: plan.fetched_bytes / GB,
        ..Usage::default()
    };
    all.push((Stage::Storage, storage));
    all
}

fn of_stage(stage: Stage, plan: &Plan, counts: &Counts) -> Usage {
    let mut usage = Usage::default();
    let things = counts.stages.get(&stage);
    for (thing, footprint) in things.into_iter().flatten() {
        let times = plan.times(stage, *thing, counts.cut());
        usage.take(footprint, times, counts);
    }
    usage.gpu_worker_hours += plan.gpu_seconds(stage) / 3600.0;
    if stage == Stage::Upload {
        usage.bytes += plan.images * plan.image_bytes;
    }
    let heartbeat = things.and_then(|it| it.get(&super::counts::Thing::Heartbeat));
    if let Some(footprint) = heartbeat {
        let worked_s = (usage.cpu_worker_hours + usage.gpu_worker_hours) * 3600.0;
        usage.take(footprint, worked_s / counts.heartbeat_s, counts);
    }
    usage
}

impl Usage {
    /// Adds a footprint as often as it comes.
    fn take(&mut self, footprint: &Footprint, times: f64, counts: &Counts) {
        self.s3_put += times * footprint.s3_put;
        self.s3_get += times * footprint.s3_get;
        self.sqs += times * footprint.sqs;
        self.http_api += times * footprint.http_api;
        self.schedules += times * footprint.schedules;
        self.cpu_worker_hours += times * footprint.cpu_worker_s / 3600.0;
        self.gpu_worker_hours += times * footprint.gpu_worker_s / 3600.0;
        self.log_gb += times * footprint.log_bytes / GB;
        self.bytes += times * footprint.bytes;
        self.home_cpu_hours += times * footprint.home_cpu_s / 3600.0;
        for (function, it) in &footprint.lambda {
            let gib = counts.functions_mib.get(function).copied().unwrap_or(0.0) / 1024.0;
            self.lambda_requests += times * it.invocations;
            self.lambda_gb_s += times * it.ms / 1000.0 * gib;
        }
    }

    /// Adds what another stage takes.
    pub(super) fn add(&mut self, other: &Self) {
        self.s3_put += other.s3_put;
        self.s3_get += other.s3_get;
        self.sqs += other.sqs;
        self.http_api += other.http_api;
        self.schedules += other.schedules;
        self.lambda_requests += other.lambda_requests;
        self.lambda_gb_s += other.lambda_gb_s;
        self.cpu_worker_hours += other.cpu_worker_hours;
        self.gpu_worker_hours += other.gpu_worker_hours;
        self.log_gb += other.log_gb;
        self.storage_gb_months += other.storage_gb_months;
        self.transfer_out_gb += other.transfer_out_gb;
        self.bytes += other.bytes;
        self.home_cpu_hours += other.home_cpu_hours;
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::COUNTS;
    use super::*;

    /// Round numbers, so that everything can be reckoned by hand.
    fn counts() -> Counts {
        let mut counts: Counts = serde_json::from_str(COUNTS).unwrap();
        counts.heartbeat_s = 15.0;
        counts.images_per_unit = 64.0;
        counts.functions_mib = [("ingest".to_owned(), 2048.0)].into();
        let stages = r#"{
            "upload": { "image": { "s3_put": 2 }, "csv": { "s3_put": 1 } },
            "ingest": { "image": { "s3_get": 5, "sqs": 2, "bytes": 1073741.824,
                        "lambda": { "ingest": { "invocations": 0.5, "ms": 100 } } } },
            "data_set": { "unit": { "sqs": 3, "cpu_worker_s": 30 },
                          "loose_cell": { "s3_put": 1 },
                          "heartbeat": { "s3_put": 1, "s3_get": 1 } },
            "training": { "heartbeat": { "s3_get": 1 } }
        }"#;
        counts.stages = serde_json::from_str(stages).unwrap();
        counts
    }

    fn plan() -> Plan {
        Plan {
            images: 1000.0,
            cells_per_image: 10.0,
            csv_per_image: 1.0,
            image_bytes: 1_073_741.824,
            data_sets: 1.0,
            writes_loose_cells: true,
            trainings: 2.0,
            gpu_hours: 0.5,
            predictions: 0.0,
            fetched_bytes: 0.0,
        }
    }

    fn of(stage: Stage, plan: &Plan) -> Usage {
        let all = estimate(plan, &counts());
        all.into_iter()
            .find(|(it, _)| *it == stage)
            .map(|(_, usage)| usage)
            .unwrap()
    }

    #[track_caller]
    fn check(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value}, not {expected}");
    }

    #[test]
    fn a_thousand_images_by_hand() {
        let plan = plan();
        check(of(Stage::Upload, &plan).s3_put, 3000.0);
        let ingest = of(Stage::Ingest, &plan);
        check(ingest.s3_get, 5000.0);
        check(ingest.sqs, 2000.0);
        check(ingest.lambda_requests, 500.0);
        // 100 s of 2 GiB.
        check(ingest.lambda_gb_s, 200.0);
        // The images themselves and as much beside them.
        check(of(Stage::Storage, &plan).storage_gb_months, 2.0);
    }

    #[test]
    fn heartbeats_follow_from_the_time_that_workers_work() {
        let plan = plan();
        let data_set = of(Stage::DataSet, &plan);
        // 1000 images are 16 units of 30 s: 480 s, 32 heartbeats; 10,000 loose cells.
        check(data_set.cpu_worker_hours, 480.0 / 3600.0);
        check(data_set.s3_get, 32.0);
        check(data_set.s3_put, 10_032.0);
        check(data_set.sqs, 48.0);
        // Two trainings of half an hour: 240 heartbeats.
        let training = of(Stage::Training, &plan);
        check(training.gpu_worker_hours, 1.0);
        check(training.s3_get, 240.0);
    }

    #[test]
    fn without_loose_cells_only_packs_are_written() {
        let plan = Plan {
            writes_loose_cells: false,
            ..plan()
        };
        check(of(Stage::DataSet, &plan).s3_put, 32.0);
    }

    #[test]
    fn the_sum_is_of_all_stages() {
        let all = estimate(&plan(), &counts());
        let mut sum = Usage::default();
        for (_, usage) in &all {
            sum.add(usage);
        }
        check(sum.s3_put, 3000.0 + 10_032.0);
        check(sum.s3_get, 5000.0 + 32.0 + 240.0);
        check(sum.storage_gb_months, 2.0);
    }
}
