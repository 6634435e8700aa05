//! Functions of a stack: invoked, counted, given other settings.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Ask, Aws};

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

/// Invocations of a function so far, by the reports in its log: also those by queues.
pub async fn invoked(aws: &Aws, function: &str) -> Result<Invoked> {
    let mut durations = Vec::new();
    let mut next = None::<String>;
    loop {
        let mut asked = json!({
            "logGroupName": format!("/aws/lambda/{function}"),
            "filterPattern": "REPORT",
        });
        if let Some(next) = &next {
            asked["nextToken"] = json!(next);
        }
        let page = aws
            .json("logs", "Logs_20140328.FilterLogEvents", &asked)
            .await?;
        let events = page["events"].as_array().into_iter().flatten();
        durations.extend(events.filter_map(|it| duration_ms(it["message"].as_str()?)));
        match page["nextToken"].as_str() {
            Some(token) => next = Some(token.to_owned()),
            None => break,
        }
    }
    let n = durations.len() as f64;
    let sum: f64 = durations.iter().sum();
    Ok(Invoked {
        n,
        mean_ms: if n > 0.0 { sum / n } else { 0.0 },
    })
}

/// The time in the report of an invocation.
fn duration_ms(line: &str) -> Option<f64> {
    let fields = line.strip_prefix("REPORT ")?.split('\t');
    let text = fields
        .into_iter()
        .find_map(|it| it.trim().strip_prefix("Duration: "))?;
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_its_duration() {
        let line =
            "REPORT RequestId: 1\tDuration: 12.5 ms\tBilled Duration: 13 ms\tMemory Size: 2048 MB";
        assert_eq!(duration_ms(line), Some(12.5));
        assert_eq!(duration_ms("START RequestId: 1 REPORT"), None);
    }
}
