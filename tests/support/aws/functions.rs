//! Functions of a stack: invoked, counted, given other settings.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Ask, Aws};
use super::objects::element;

/// Invocations and their time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Invoked {
    pub n: f64,
    pub mean_ms: f64,
}

/// Invokes a function and waits for its answer. A function that failed is an error.
pub async fn invoke(aws: &Aws, function: &str, payload: &Value) -> Result<Value> {
    let ask = Ask {
        service: "lambda",
        method: Method::POST,
        path: format!("/2015-03-31/functions/{function}/invocations"),
        body: payload.to_string().into_bytes(),
        ..Ask::default()
    };
    let answer = aws.send(ask).await?.into_ok(function)?.json()?;
    ensure!(
        answer.get("errorMessage").is_none(),
        "{function} failed: {answer}"
    );
    Ok(answer)
}

/// Gives a function further variables; those that it has stay.
pub async fn configure(aws: &Aws, function: &str, variables: &[(&str, &str)]) -> Result<()> {
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let ask = Ask {
        service: "lambda",
        path: path.clone(),
        ..Ask::default()
    };
    let known = aws.send(ask).await?.into_ok(function)?.json()?;
    let mut all = known["Environment"]["Variables"].clone();
    let all = match all.as_object_mut() {
        Some(all) => all,
        None => &mut serde_json::Map::new(),
    };
    for (name, value) in variables {
        all.insert((*name).to_owned(), json!(value));
    }
    let ask = Ask {
        service: "lambda",
        method: Method::PUT,
        path,
        headers: vec![("content-type", "application/json".to_owned())],
        body: json!({ "Environment": { "Variables": all } })
            .to_string()
            .into_bytes(),
        ..Ask::default()
    };
    aws.send(ask).await?.into_ok(function).map(drop)
}

/// Invocations of a function so far, as AWS counts them.
pub async fn invoked(aws: &Aws, function: &str) -> Result<Invoked> {
    let n = metric(aws, function, "Invocations").await?;
    let ms = metric(aws, function, "Duration").await?;
    Ok(Invoked {
        n,
        mean_ms: if n > 0.0 { ms / n } else { 0.0 },
    })
}

/// The sum of a metric of the last and the next hours: no run lasts so long.
async fn metric(aws: &Aws, function: &str, name: &str) -> Result<f64> {
    let ask = Ask {
        service: "monitoring",
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![(
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        )],
        body: form(&[
            ("Action", "GetMetricStatistics"),
            ("Version", "2010-08-01"),
            ("Namespace", "AWS/Lambda"),
            ("MetricName", name),
            ("Dimensions.member.1.Name", "FunctionName"),
            ("Dimensions.member.1.Value", function),
            ("StartTime", "2000-01-01T00:00:00Z"),
            ("EndTime", "2100-01-01T00:00:00Z"),
            // A century in one step.
            ("Period", "3155760000"),
            ("Statistics.member.1", "Sum"),
        ]),
        ..Ask::default()
    };
    let xml = aws.send(ask).await?.into_ok(name)?.text();
    let mut sum = 0.0;
    for point in xml.split("<member>").skip(1) {
        let text = element(point, "Sum").context("a point of a metric has a sum")?;
        sum += text.parse::<f64>().context("a sum is a number")?;
    }
    Ok(sum)
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let pairs = fields.iter().map(|(name, value)| {
        let value = super::client::encoded(value);
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&").into_bytes()
}
