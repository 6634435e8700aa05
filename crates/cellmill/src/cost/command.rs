//! The command: what somebody has, and what it takes.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Console, Error, Exit};

use super::bill::{Bill, Rates};
use super::counts::{COUNTS, Counts, Stage};
use super::estimate::{Usage, estimate};
use super::plan::Plan;
use super::prices::{PRICES, PriceList};
use super::{file, table};

/// Reckon what images cost on AWS, stage by stage, and what they take at home
///
/// Requests, Lambda, worker hours, storage and dollars on AWS; disk space and CPU hours on one machine of your own.
///
/// One row a stage: sending the images (`upload`), the functions `ingest` and `label`, a data set of all images,
/// trainings, predictions of all cells, what runs when nobody does anything (`standing`), and a month of storage
/// of everything that is left. Counts were taken at a proxy in front of the endpoint and are dated; so are the
/// prices. Free tiers are not counted, so a small lab pays less. It asks no server.
///
/// Examples:
///   cellmill cost --images 1000000 --cells-per-image 30
///   cellmill cost --images 20000 --cells-per-image 30 --trainings 10 --gpu-hours 2 --spot
///   cellmill cost --images 1000000 --cells-per-image 30 --no-loose-cells
///   cellmill cost --images 1000 --cells-per-image 5 --prices my-prices.json --region eu-central-1
///
/// A price file has the form of the one that the program brings; print that with `cellmill cost --print prices`.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CostArgs {
    /// Images in all
    #[arg(long, value_name = "N", required_unless_present = "print", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    images: Option<u64>,
    /// Cells of an image, on average
    #[arg(long, value_name = "M", required_unless_present = "print", value_parser = parse_amount)]
    cells_per_image: Option<f64>,
    /// Does an image have a CSV of points?
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    csv_per_image: u8,
    /// Size of an image file in MiB, on average
    #[arg(long, value_name = "X", default_value_t = 2.0, value_parser = parse_amount)]
    image_mib: f64,
    /// Data sets of all images
    #[arg(long, value_name = "D", default_value_t = 1)]
    data_sets: u32,
    /// Cells only in packs (cache = 0), not as loose files too: one request a cell less
    #[arg(long)]
    no_loose_cells: bool,
    /// Trainings on all cells
    #[arg(long, value_name = "T", default_value_t = 1)]
    trainings: u32,
    /// Hours that one training takes on the GPU
    #[arg(long, value_name = "H", default_value_t = 1.0, value_parser = parse_amount)]
    gpu_hours: f64,
    /// Predictions of all cells
    #[arg(long, value_name = "P", default_value_t = 1)]
    predictions: u32,
    /// Machine of the GPU workers
    #[arg(long, value_name = "TYPE", default_value = "g4dn.xlarge")]
    instance: String,
    /// GPU workers are spot instances, not on demand
    #[arg(long)]
    spot: bool,
    /// GiB that people fetch from the bucket to their own machines in a month
    #[arg(long, value_name = "G", default_value_t = 0.0, value_parser = parse_amount)]
    fetched_gib: f64,
    /// Region of the prices
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    region: String,
    /// Prices of your own
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Counts of your own
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
    /// Print a file of the program, to begin one of your own with
    #[arg(long, value_name = "FILE")]
    print: Option<BuiltIn>,
}

/// What the program brings.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum BuiltIn {
    Prices,
    Counts,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) images: f64,
    pub(super) cells: f64,
    pub(super) csvs: f64,
    pub(super) region: String,
    pub(super) counts: Source,
    pub(super) prices: PriceSource,
    pub(super) aws: Aws,
    pub(super) standalone: Home,
    pub(super) per_image: PerImage,
    pub(super) per_million_images: PerMillion,
}

/// Where the counts are from.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    pub(super) date: String,
    pub(super) measured: bool,
    pub(super) how: String,
}

/// Where the prices are from.
#[derive(Debug, Serialize)]
pub(super) struct PriceSource {
    pub(super) date: String,
    pub(super) note: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Aws {
    pub(super) stages: Vec<Row>,
    pub(super) sum: Row,
}

/// A stage on AWS.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<Stage>,
    #[serde(flatten)]
    pub(super) usage: Usage,
    pub(super) bill: Bill,
    pub(super) dollars: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Home {
    pub(super) stages: Vec<HomeRow>,
    pub(super) sum: HomeRow,
}

/// A stage on one machine.
#[derive(Debug, Serialize)]
pub(super) struct HomeRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<Stage>,
    /// 10^9 bytes, as disks are sold.
    pub(super) disk_gb: f64,
    pub(super) cpu_hours: f64,
}

/// Requests of the functions for an image with its CSV, what clients send not counted.
#[derive(Debug, Serialize)]
pub(super) struct PerImage {
    pub(super) s3: f64,
    pub(super) sqs: f64,
}

/// Dollars.
#[derive(Debug, Serialize)]
pub(super) struct PerMillion {
    pub(super) all: f64,
    pub(super) upload_ingest_label: f64,
}

const MIB: f64 = 1_048_576.0;

/// Reckons and answers.
pub fn run(args: &CostArgs, console: &mut Console) -> Result<Exit, Error> {
    if let Some(file) = args.print {
        console.text(match file {
            BuiltIn::Prices => PRICES,
            BuiltIn::Counts => COUNTS,
        })?;
        return Ok(Exit::Ok);
    }
    let answer = answer(args)?;
    console.answer(&answer, table::show)?;
    Ok(Exit::Ok)
}

fn answer(args: &CostArgs) -> Result<Answer, Error> {
    let plan = args.plan();
    let counts: Counts = file::read(args.counts.as_deref(), COUNTS)?;
    counts.check().map_err(|error| unusable(&error, None))?;
    let list: PriceList = file::read(args.prices.as_deref(), PRICES)?;
    let own =
        "`cellmill cost --print prices` shows the form; give a file of your own with --prices FILE";
    let prices = list
        .of_region(&args.region)
        .map_err(|error| unusable(&error, Some(own)))?;
    let rates = Rates {
        prices,
        instance: prices
            .instance(&args.instance)
            .map_err(|error| unusable(&error, Some(own)))?,
        is_spot: args.spot,
        cpu_worker: counts.cpu_worker,
    };
    let stages = estimate(&plan, &counts);
    let mut sum = Usage::default();
    for (_, usage) in &stages {
        sum.add(usage);
    }
    let row = |stage, usage: &Usage| {
        let bill = rates.bill(usage);
        Row {
            stage,
            usage: usage.clone(),
            dollars: bill.dollars(),
            bill,
        }
    };
    let home = |stage, usage: &Usage| HomeRow {
        stage,
        disk_gb: usage.bytes / 1e9,
        cpu_hours: usage.home_cpu_hours,
    };
    let functions = |it: &Usage| [it.s3_put + it.s3_get, it.sqs];
    let of = |wanted: &[Stage]| {
        let mut sum = Usage::default();
        for (_, usage) in stages.iter().filter(|(it, _)| wanted.contains(it)) {
            sum.add(usage);
        }
        sum
    };
    let [s3, sqs] = functions(&of(&[Stage::Ingest, Stage::Label])).map(|it| it / plan.images);
    let first = rates
        .bill(&of(&[Stage::Upload, Stage::Ingest, Stage::Label]))
        .dollars();
    // The bill of the sum is that of its parts: only storage is priced by steps, and only one stage has any.
    let sum_row = row(None, &sum);
    Ok(Answer {
        images: plan.images,
        cells: plan.cells(),
        csvs: plan.images * plan.csv_per_image,
        region: args.region.clone(),
        per_image: PerImage { s3, sqs },
        per_million_images: PerMillion {
            all: sum_row.dollars / plan.images * 1e6,
            upload_ingest_label: first / plan.images * 1e6,
        },
        aws: Aws {
            stages: stages
                .iter()
                .map(|(it, usage)| row(Some(*it), usage))
                .collect(),
            sum: sum_row,
        },
        standalone: Home {
            stages: stages
                .iter()
                // At home nothing runs by the month, and the disk is where the stages left it.
                .filter(|(it, _)| !matches!(it, Stage::Standing | Stage::Storage))
                .map(|(it, usage)| home(Some(*it), usage))
                .collect(),
            sum: home(None, &sum),
        },
        counts: Source {
            date: counts.date,
            measured: counts.measured,
            how: counts.how,
        },
        prices: PriceSource {
            date: list.date.clone(),
            note: list.note.clone(),
        },
    })
}

fn unusable(error: &dyn std::error::Error, hint: Option<&str>) -> Error {
    Error::Usage {
        what: error.to_string(),
        hint: hint.map(str::to_owned),
    }
}

impl CostArgs {
    fn plan(&self) -> Plan {
        Plan {
            images: self.images.unwrap_or(1) as f64,
            cells_per_image: self.cells_per_image.unwrap_or(0.0),
            csv_per_image: f64::from(self.csv_per_image),
            image_bytes: self.image_mib * MIB,
            data_sets: f64::from(self.data_sets),
            writes_loose_cells: !self.no_loose_cells,
            trainings: f64::from(self.trainings),
            gpu_hours: self.gpu_hours,
            predictions: f64::from(self.predictions),
            fetched_bytes: self.fetched_gib * MIB * 1024.0,
        }
    }
}

fn parse_amount(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok();
    let usable = parsed.filter(|it| (0.0..=1e9).contains(it));
    usable.ok_or_else(|| format!("`{text}` is not a number from 0 to 1000000000"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CostArgs,
    }

    fn args(line: &str) -> CostArgs {
        let words = std::iter::once("cost").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args
    }

    #[test]
    fn the_sum_is_what_the_stages_cost() {
        let answer = answer(&args("--images 1000000 --cells-per-image 30")).unwrap();
        let stages: f64 = answer.aws.stages.iter().map(|it| it.dollars).sum();
        assert!((stages - answer.aws.sum.dollars).abs() < 1e-6);
        assert!((answer.per_million_images.all - stages).abs() < 1e-6);
        assert!(answer.standalone.sum.disk_gb > 2000.0);
    }

    #[test]
    fn more_images_cost_more_and_packs_alone_cost_less() {
        let dollars = |line: &str| answer(&args(line)).unwrap().aws.sum.dollars;
        let some = dollars("--images 100000 --cells-per-image 30");
        assert!(dollars("--images 200000 --cells-per-image 30") > some);
        assert!(dollars("--images 100000 --cells-per-image 30 --no-loose-cells") < some);
        assert!(dollars("--images 100000 --cells-per-image 30 --spot") < some);
    }

    #[test]
    fn an_unknown_region_is_a_clear_error() {
        let error = answer(&args("--images 1 --cells-per-image 1 --region mars")).unwrap_err();
        assert!(error.to_string().contains("no prices for region `mars`"));
        assert!(error.hint().unwrap().contains("--print prices"));
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn nonsense_is_no_amount() {
        for text in ["-1", "nan", "many", "1e12"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn help_teaches_by_example() {
        use clap::CommandFactory as _;
        let help = Line::command().render_long_help().to_string();
        assert!(help.contains("cellmill cost --images 1000000 --cells-per-image 30"));
        assert!(help.contains("Free tiers are not counted"));
    }
}
