//! The answer for people.

use crate::cli::table::Table;
use crate::cli::{Console, Error};

use super::command::{Answer, HomeRow, Row};
use super::counts::Stage;

pub(super) fn show(console: &mut Console, answer: &Answer) -> Result<(), Error> {
    console.line(format_args!(
        "{} images with {} cells and {} CSVs",
        count(answer.images),
        count(answer.cells),
        count(answer.csvs)
    ))?;
    console.line("")?;
    console.line(format_args!("On AWS, {}", answer.region))?;
    console.line(aws(answer))?;
    console.line("")?;
    console.line("On one machine, standalone")?;
    console.line(home(answer))?;
    console.line("")?;
    let per_million = &answer.per_million_images;
    console.line(format_args!(
        "{} dollars per million images; {} for upload, ingest and label alone, with {:.1} S3 and {:.1} SQS requests an image",
        dollars(per_million.all),
        dollars(per_million.upload_ingest_label),
        answer.per_image.s3,
        answer.per_image.sqs,
    ))?;
    let counted = if answer.counts.measured {
        "counted"
    } else {
        "NOT YET MEASURED"
    };
    console.line(format_args!(
        "counts of {}, {counted}: {}",
        answer.counts.date, answer.counts.how
    ))?;
    console.line(format_args!(
        "prices of {}: {}",
        answer.prices.date, answer.prices.note
    ))
}

fn aws(answer: &Answer) -> String {
    let mut table = Table::new([
        "stage",
        "S3 PUT, LIST",
        "S3 GET, HEAD",
        "SQS",
        "Lambda",
        "Lambda GB-s",
        "worker h",
        "GB-months",
        "dollars",
    ]);
    let mut row = |name: &str, it: &Row| {
        let usage = &it.usage;
        table.row([
            name.to_owned(),
            count(usage.s3_put),
            count(usage.s3_get),
            count(usage.sqs),
            count(usage.lambda_requests),
            count(usage.lambda_gb_s),
            hours(usage.cpu_worker_hours + usage.gpu_worker_hours),
            hours(usage.storage_gb_months),
            dollars(it.dollars),
        ]);
    };
    for it in &answer.aws.stages {
        row(it.stage.map_or("", name), it);
    }
    row("sum", &answer.aws.sum);
    table.render()
}

fn home(answer: &Answer) -> String {
    let mut table = Table::new(["stage", "disk GB", "CPU h"]);
    let mut row = |name: &str, it: &HomeRow| {
        table.row([name.to_owned(), hours(it.disk_gb), hours(it.cpu_hours)]);
    };
    for it in &answer.standalone.stages {
        row(it.stage.map_or("", name), it);
    }
    row("sum", &answer.standalone.sum);
    table.render()
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Upload => "upload",
        Stage::Ingest => "ingest",
        Stage::Label => "label",
        Stage::DataSet => "data set",
        Stage::Training => "training",
        Stage::Prediction => "prediction",
        Stage::Standing => "standing, a month",
        Stage::Storage => "storage, a month",
    }
}

/// `12 345`, `1.23 M`; nothing where there is nothing.
fn count(n: f64) -> String {
    if n >= 9_999_999.5 {
        return format!("{:.1} M", n / 1e6);
    }
    if n < 0.5 {
        return "-".to_owned();
    }
    let digits = format!("{n:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

fn hours(n: f64) -> String {
    if n < 0.005 {
        return "-".to_owned();
    }
    format!("{n:.2}")
}

fn dollars(n: f64) -> String {
    format!("{n:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let shown = [0.2, 999.0, 12_345.0, 1_234_567.0, 12_345_678.0].map(count);
        assert_eq!(shown, ["-", "999", "12 345", "1 234 567", "12.3 M"]);
    }
}
