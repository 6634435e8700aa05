//! Dollars for what is used.

use serde::Serialize;

use super::counts::CpuWorker;
use super::estimate::Usage;
use super::prices::{Instance, Prices};

/// What is paid for, apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Bill {
    pub(super) s3_requests: f64,
    pub(super) sqs: f64,
    pub(super) lambda: f64,
    pub(super) http_api: f64,
    pub(super) schedules: f64,
    pub(super) workers: f64,
    pub(super) logs: f64,
    pub(super) storage: f64,
    pub(super) transfer: f64,
}

/// How work is paid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates<'a> {
    pub(super) prices: &'a Prices,
    pub(super) instance: Instance,
    pub(super) is_spot: bool,
    pub(super) cpu_worker: CpuWorker,
}

impl Rates<'_> {
    pub(super) fn bill(&self, usage: &Usage) -> Bill {
        let prices = self.prices;
        let gpu_hour = if self.is_spot {
            self.instance.spot_hour
        } else {
            self.instance.on_demand_hour
        };
        let cpu_hour = self.cpu_worker.vcpu * prices.fargate_vcpu_hour
            + self.cpu_worker.gib * prices.fargate_gb_hour;
        let million = |n: f64, usd: f64| n / 1e6 * usd;
        Bill {
            s3_requests: usage.s3_put / 1000.0 * prices.s3_put_per_1000
                + usage.s3_get / 1000.0 * prices.s3_get_per_1000,
            sqs: million(usage.sqs, prices.sqs_per_million),
            lambda: million(usage.lambda_requests, prices.lambda_per_million)
                + usage.lambda_gb_s * prices.lambda_gb_s,
            http_api: million(usage.http_api, prices.http_api_per_million),
            schedules: million(usage.schedules, prices.schedules_per_million),
            workers: usage.gpu_worker_hours * gpu_hour + usage.cpu_worker_hours * cpu_hour,
            logs: usage.log_gb * prices.logs_gb,
            storage: prices.storage(usage.storage_gb_months),
            transfer: usage.transfer_out_gb * prices.transfer_out_gb,
        }
    }
}

impl Bill {
    pub(super) fn dollars(&self) -> f64 {
        self.s3_requests
            + self.sqs
            + self.lambda
            + self.http_api
            + self.schedules
            + self.workers
            + self.logs
            + self.storage
            + self.transfer
    }
}

#[cfg(test)]
mod tests {
    use super::super::prices::{PRICES, PriceList};
    use super::*;

    #[test]
    fn a_bill_by_hand() {
        let list: PriceList = serde_json::from_str(PRICES).unwrap();
        let prices = Prices {
            s3_put_per_1000: 0.005,
            s3_get_per_1000: 0.0004,
            sqs_per_million: 0.4,
            lambda_per_million: 0.2,
            lambda_gb_s: 0.00001,
            fargate_vcpu_hour: 0.04,
            fargate_gb_hour: 0.005,
            ..list.regions["us-east-1"].clone()
        };
        let mut rates = Rates {
            prices: &prices,
            instance: Instance {
                on_demand_hour: 0.5,
                spot_hour: 0.2,
            },
            is_spot: false,
            cpu_worker: CpuWorker {
                vcpu: 4.0,
                gib: 16.0,
            },
        };
        let usage = Usage {
            s3_put: 1e6,
            s3_get: 1e6,
            sqs: 1e6,
            lambda_requests: 1e6,
            lambda_gb_s: 100_000.0,
            gpu_worker_hours: 10.0,
            cpu_worker_hours: 10.0,
            ..Usage::default()
        };
        let bill = rates.bill(&usage);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, not {b}");
        close(bill.s3_requests, 5.4);
        close(bill.sqs, 0.4);
        close(bill.lambda, 1.2);
        // 10 x 0.5, and 10 x (4 x 0.04 + 16 x 0.005).
        close(bill.workers, 7.4);
        close(bill.dollars(), 14.4);
        rates.is_spot = true;
        close(rates.bill(&usage).workers, 4.4);
    }
}
