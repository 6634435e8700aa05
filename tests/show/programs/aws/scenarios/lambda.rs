//! Each function under the AWS Lambda runtime interface emulator: size, memory, init and warm time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::aws::Stack;
use cellmill_tests::aws::events::created;
use cellmill_tests::aws::notifications::redirect;
use cellmill_tests::aws::objects::Listed;
use cellmill_tests::aws::queues::Queue;
use cellmill_tests::aws::rie::{Rie, emulator, sqs_event};
use cellmill_tests::show::Figures;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::material::{objects, photographs};

const FUNCTIONS: [&str; 6] = ["ingest", "label", "assemble", "collect", "janitor", "api"];
const MAX_INIT_MS: f64 = 25.0;
/// As people count megabytes.
const MAX_ZIP_MB: f64 = 5.0;
const N_CASES: usize = 20;
/// Starts of each function: the middle one counts.
const N_STARTS: usize = 5;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("lambda")?;
    let emulator = emulator(&lab.state.join("rie"))?;
    let folder = photographs(lab.show, N_CASES, &place.join("data"))?;
    let stack = lab.stack().await?;
    let listed = stored(&stack, &objects(&folder)?).await?;
    for name in FUNCTIONS {
        let zip = lab.lambdas.join(format!("{name}.zip"));
        let bytes = fs::metadata(&zip).with_context(|| zip.display().to_string())?;
        let figure = |it: &str| format!("lambda.{name}.{it}");
        let mb = bytes.len() as f64 / 1e6;
        figures.at_most(&figure("zip"), mb, "MB", MAX_ZIP_MB);
        let bootstrap = unpacked(&zip, &place.join(name))?;
        let events = events(name, &stack, &listed);
        let settings = settings(&stack)?;
        let mut inits = Vec::new();
        for n in 0..N_STARTS {
            let log = place.join(format!("{name}-{n}.log"));
            let function = Rie::start(&emulator, &bootstrap, &settings, &log).await?;
            let is_last = n + 1 == N_STARTS;
            let given = if is_last { &events[..] } else { &events[..1] };
            let mut waited = Vec::new();
            for event in given {
                waited.push(function.invoke(event).await?.1.as_secs_f64() * 1e3);
            }
            let noted = function.noted()?;
            inits.push(noted.init_ms);
            if is_last {
                figures.told(&figure("cold"), waited[0], "ms, seen by the caller");
                figures.told(&figure("warm"), median(&noted.invoke_ms[1..]), "ms, median");
                figures.told(&figure("memory"), function.peak_mib()?, "MiB, the most");
            }
        }
        figures.at_most(&figure("init"), median(&inits), "ms, median", MAX_INIT_MS);
    }
    stack.down().await.map(drop)
}

/// Puts objects whose events nobody hears: the function under the emulator is to be the first that looks at them.
async fn stored(stack: &Stack, objects: &[(String, Vec<u8>)]) -> Result<Vec<Listed>> {
    let aws = stack.unseen();
    let nobody = Queue::make(&aws, &format!("{}-nobody", stack.prefix())).await?;
    let bucket = stack.bucket();
    redirect(&aws, bucket.name(), &nobody.arn().await?, &["img/", "csv/"]).await?;
    bucket.put_all(objects.to_vec()).await?;
    let mut listed = bucket.list("img/").await?;
    listed.extend(bucket.list("csv/").await?);
    Ok(listed)
}

/// What each function is invoked with, one after the other: the same kind of work each time, and none of it twice.
fn events(name: &str, stack: &Stack, listed: &[Listed]) -> Vec<Value> {
    let bucket = stack.bucket().name().to_owned();
    let of_objects = |prefix: &str| {
        let objects = listed.iter().filter(|it| it.key.starts_with(prefix));
        let messages = objects.zip(1..).map(|(it, n)| created(&bucket, it, n));
        messages.map(|it| sqs_event(&[it])).take(N_CASES).collect()
    };
    let many = |event: Value| vec![event; N_CASES];
    let hint = |hint: Value| many(sqs_event(&[hint.to_string()]));
    match name {
        "ingest" => of_objects("img/"),
        "label" => of_objects("csv/"),
        // Of jobs that are not there: a read, and nothing to do.
        "assemble" => hint(json!({ "v": 1, "kind": "data", "dir": "NoSuch" })),
        "collect" => hint(json!({ "v": 1, "kind": "data", "dir": "NoSuch", "unit": 0 })),
        "janitor" => many(json!({ "sweep": "jobs" })),
        _ => many(request("/api/v1/batches")),
    }
}

/// A request as an HTTP API hands it to a function.
fn request(path: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "host": "show", "accept": "application/json" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "show",
            "authorizer": { "iam": {
                "accessKey": "test",
                "accountId": "000000000000",
                "callerId": "show",
                "userArn": "arn:aws:iam::000000000000:user/show",
                "userId": "show",
            } },
            "domainName": "show",
            "domainPrefix": "show",
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "show",
            },
            "requestId": "show",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_262_400_000_u64,
        },
        "isBase64Encoded": false,
    })
}

fn settings(stack: &Stack) -> Result<Vec<(String, String)>> {
    let mut settings = stack.environment().to_vec();
    settings.push(("CELLMILL_LOG_FORMAT".to_owned(), "json".to_owned()));
    ensure!(!settings.is_empty(), "a function has settings");
    Ok(settings)
}

/// The one file of a zip.
fn unpacked(zip: &Path, to: &Path) -> Result<PathBuf> {
    let status = Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(zip)
        .arg(to)
        .status()
        .context("run python3")?;
    ensure!(status.success(), "{} can't be unpacked", zip.display());
    let bootstrap = to.join("bootstrap");
    let status = Command::new("chmod").arg("+x").arg(&bootstrap).status();
    ensure!(
        status.context("run chmod")?.success(),
        "no bootstrap in the zip"
    );
    Ok(bootstrap)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
