//! List prices of AWS in dollars, by region, dated, read from a file. Free tiers are left out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file of prices that comes with the program.
pub(super) const PRICES: &str = include_str!("prices.json");

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceList {
    pub(super) v: u32,
    pub(super) date: String,
    pub(super) note: String,
    pub(super) regions: BTreeMap<String, Prices>,
}

/// Prices of one region.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    /// PUT, COPY, POST, LIST.
    pub(super) s3_put_per_1000: f64,
    /// GET, HEAD and the rest.
    pub(super) s3_get_per_1000: f64,
    /// Standard storage, cheaper with more of it. The last step has no end.
    pub(super) s3_gb_month: Vec<Step>,
    pub(super) sqs_per_million: f64,
    pub(super) lambda_per_million: f64,
    /// arm64.
    pub(super) lambda_gb_s: f64,
    pub(super) http_api_per_million: f64,
    pub(super) schedules_per_million: f64,
    pub(super) logs_gb: f64,
    /// By type.
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) fargate_vcpu_hour: f64,
    pub(super) fargate_gb_hour: f64,
    /// To the internet.
    pub(super) transfer_out_gb: f64,
}

/// A price up to an amount.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// `None`: without end.
    pub(super) up_to_gb: Option<f64>,
    pub(super) usd: f64,
}

/// A machine with a GPU, by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    pub(super) on_demand_hour: f64,
    pub(super) spot_hour: f64,
}

/// Why there is no price.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum PriceError {
    #[error("prices of version {v}; this program reads version 1")]
    Version { v: u32 },
    #[error("there are no prices for region `{region}`, only for {known}")]
    Region { region: String, known: String },
    #[error("there is no price for instance type `{instance}`, only for {known}")]
    Instance { instance: String, known: String },
}

impl PriceList {
    pub(super) fn of_region(&self, region: &str) -> Result<&Prices, PriceError> {
        if self.v != 1 {
            return Err(PriceError::Version { v: self.v });
        }
        self.regions.get(region).ok_or_else(|| PriceError::Region {
            region: region.to_owned(),
            known: listed(self.regions.keys()),
        })
    }
}

impl Prices {
    pub(super) fn instance(&self, name: &str) -> Result<Instance, PriceError> {
        let found = self.instances.get(name).copied();
        found.ok_or_else(|| PriceError::Instance {
            instance: name.to_owned(),
            known: listed(self.instances.keys()),
        })
    }

    /// A month of storage.
    pub(super) fn storage(&self, gb: f64) -> f64 {
        let mut dollars = 0.0;
        let mut below = 0.0;
        for step in &self.s3_gb_month {
            let end = step.up_to_gb.unwrap_or(f64::INFINITY);
            dollars += (gb.min(end) - below).max(0.0) * step.usd;
            below = end;
        }
        dollars
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.map(|it| format!("`{it}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_region_is_told_with_those_that_are_known() {
        let prices: PriceList = serde_json::from_str(PRICES).unwrap();
        let error = prices.of_region("mars-north-1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are no prices for region `mars-north-1`, only for `us-east-1`"
        );
        let prices = prices.of_region("us-east-1").unwrap();
        assert!(prices.instance("g4dn.xlarge").is_ok());
        assert!(prices.instance("abacus").is_err());
    }

    #[test]
    fn storage_gets_cheaper_step_by_step() {
        let list: PriceList = serde_json::from_str(PRICES).unwrap();
        let mut prices = list.regions["us-east-1"].clone();
        prices.s3_gb_month = vec![
            Step {
                up_to_gb: Some(100.0),
                usd: 0.5,
            },
            Step {
                up_to_gb: None,
                usd: 0.25,
            },
        ];
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(prices.storage(40.0), 20.0));
        assert!(close(prices.storage(140.0), 60.0));
    }
}
