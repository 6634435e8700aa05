//! A function under the AWS Lambda runtime interface emulator.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::http;
use super::stack::free_port;
use crate::show::child::Running;
use crate::show::wait::wait_until;

/// A function that can be invoked.
#[derive(Debug)]
pub struct Rie {
    emulator: Running,
    url: String,
    http: reqwest::Client,
}

/// What the emulator noted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// From the start of the process until it asked for its first event.
    pub init_ms: f64,
    /// Of each invocation, the first one without its init.
    pub invoke_ms: Vec<f64>,
}

impl Rie {
    /// Starts a `bootstrap` with these settings. The process itself begins at the first invocation.
    pub async fn start(
        emulator: &Path,
        bootstrap: &Path,
        settings: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let (door, api) = (free_port()?, free_port()?);
        let mut command = Command::new(emulator);
        command
            .args(["--runtime-interface-emulator-address"])
            .arg(format!("127.0.0.1:{door}"))
            .args(["--runtime-api-address"])
            .arg(format!("127.0.0.1:{api}"))
            .arg(bootstrap)
            .current_dir(bootstrap.parent().context("a bootstrap lies in a folder")?)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "120")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        let emulator = Running::start(&mut command, log)?;
        let pause = Duration::from_millis(10);
        wait_until(
            "the emulator listens",
            Duration::from_secs(10),
            pause,
            async || {
                Ok(std::net::TcpStream::connect(("127.0.0.1", door))
                    .ok()
                    .map(drop))
            },
        )
        .await?;
        Ok(Self {
            emulator,
            url: format!("http://127.0.0.1:{door}/2015-03-31/functions/function/invocations"),
            http: http(),
        })
    }

    /// One invocation; its answer, and the time that a caller waited.
    pub async fn invoke(&self, event: &Value) -> Result<(Value, Duration)> {
        let begun = Instant::now();
        let asked = self.http.post(&self.url).body(event.to_string());
        let answer = asked.send().await.context("invoke a function")?;
        let status = answer.status();
        let text = answer.text().await.context("read a function's answer")?;
        let took = begun.elapsed();
        ensure!(status.is_success(), "the function ended: {status} {text}");
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        ensure!(
            answer.get("errorMessage").is_none(),
            "the function failed: {text}"
        );
        Ok((answer, took))
    }

    /// The most memory that the function had, in MiB.
    pub fn peak_mib(&self) -> Result<f64> {
        let children = Running::children_of(self.emulator.id())?;
        let function = children.first().context("the function runs")?;
        Running::peak_mib_of(*function)
    }

    pub fn noted(&self) -> Result<Noted> {
        Ok(Noted::read(&self.emulator.log()?))
    }
}

impl Drop for Rie {
    /// The function does not outlive its emulator.
    fn drop(&mut self) {
        for child in Running::children_of(self.emulator.id()).unwrap_or_default() {
            let _ = Command::new("kill")
                .args(["-KILL", &child.to_string()])
                .status();
        }
    }
}

impl Noted {
    fn read(log: &str) -> Self {
        let number_after = |line: &str, name: &str| -> Option<f64> {
            let rest = line.split_once(name)?.1;
            let digits = rest
                .trim_start()
                .split(|c: char| !c.is_ascii_digit() && c != '.');
            digits.into_iter().next()?.parse().ok()
        };
        let init = log
            .lines()
            .find_map(|it| number_after(it, "INIT REPORT(durationMs:"));
        let done = log.lines().filter(|it| it.contains("INVOKE RTDONE"));
        Self {
            init_ms: init.unwrap_or(f64::NAN),
            invoke_ms: done
                .filter_map(|it| number_after(it, "duration:"))
                .collect(),
        }
    }
}

/// Where the emulator is: `CELLMILL_TEST_RIE` names it, else a script fetches it.
pub fn emulator(into: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CELLMILL_TEST_RIE") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "there is no {}", path.display());
        return Ok(path);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/rie.sh");
    let output = Command::new(&script)
        .arg(into)
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// An event of SQS with these messages.
pub fn sqs_event(bodies: &[String]) -> Value {
    let record = |(n, body): (usize, &String)| {
        let mut id = String::new();
        let _ = write!(id, "00000000-0000-0000-0000-{n:012}");
        serde_json::json!({
            "messageId": id,
            "receiptHandle": "show",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1700000000000",
                "SenderId": "show",
                "ApproximateFirstReceiveTimestamp": "1700000000001",
            },
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:show",
            "awsRegion": "us-east-1",
        })
    };
    let records: Vec<Value> = bodies.iter().enumerate().map(record).collect();
    serde_json::json!({ "Records": records })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_and_invocations_are_read_from_the_log() {
        let log = "\
21 Nov 2026 15:36:52,966 [INFO] (rapid) INIT REPORT(durationMs: 18.678000)
21 Nov 2026 15:36:52,972 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 5.609000ms)
REPORT RequestId: 0	Init Duration: 0.23 ms	Duration: 24.31 ms	Billed Duration: 25 ms
21 Nov 2026 15:36:53,015 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 2.318000ms)
";
        let noted = Noted::read(log);
        assert_eq!(noted.invoke_ms, [5.609, 2.318]);
        assert!((noted.init_ms - 18.678).abs() < 1e-9);
    }
}
