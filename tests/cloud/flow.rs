//! The whole way against the deployed stack: signed uploads, events of the bucket, queues, real functions, a real
//! worker, results by signed addresses.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A program of the workspace, as `tests/cloud/run` built it.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("CELLMILL_TEST_PROGRAMS");
    let folder = folder.expect("tests/cloud/run says where the programs are");
    PathBuf::from(folder).join(name)
}

/// A worker over the stack; ended when it is dropped.
struct Worker(Child);

impl Worker {
    fn start() -> Self {
        super::check_endpoint();
        let child = Command::new(program("worker-gpu"))
            .args(["--class", "cpu", "--device", "cpu", "--threads", "2"])
            .stdin(Stdio::null())
            .spawn()
            .expect("the worker starts");
        Self(child)
    }

    /// As ECS ends it: by SIGTERM.
    fn stop(mut self) -> (bool, Duration) {
        let begun = Instant::now();
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill runs").success());
        let status = self.0.wait().expect("the worker ends");
        (status.success(), begun.elapsed())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `cellmill` with `--json`; the endpoint is in the environment.
fn cellmill(arguments: &[&str]) -> Value {
    let output = Command::new(program("cellmill"))
        .args(arguments)
        .arg("--json")
        .output()
        .expect("cellmill runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cellmill {arguments:?}: {}\n{complaint}",
        output.status
    );
    serde_json::from_slice(&output.stdout).expect("its answer is JSON")
}

#[test]
fn the_demo_goes_the_whole_way_on_the_stack() {
    let endpoint = std::env::var("CELLMILL_ENDPOINT").expect("the stack has an endpoint");
    let worker = Worker::start();
    let report = cellmill(&["demo", "--endpoint", &endpoint, "--epochs", "6"]);
    assert_eq!(report["images"], 60, "{report}");
    let kinds = report["classes"].as_array().map_or(0, Vec::len);
    assert_eq!(kinds, 3, "{report}");
    let accuracy = report["accuracy"].as_f64().unwrap_or_default();
    let majority = report["majority_accuracy"].as_f64().unwrap_or(1.0);
    assert!(
        accuracy > majority + 0.2,
        "accuracy {accuracy}, the most frequent class alone {majority}"
    );
    for picture in ["sheet", "overlay"] {
        let path = report["pictures"][picture].as_str().expect("a path");
        let bytes = std::fs::metadata(path).expect("the picture is there").len();
        assert!(bytes > 10_000, "{path}: {bytes} bytes");
    }
    let dead = cellmill(&["dead", "ls"]);
    assert_eq!(dead, Value::Array(Vec::new()), "messages were given up");
    let (ended_well, took) = worker.stop();
    assert!(ended_well, "the worker ends with a failure");
    assert!(took < Duration::from_secs(30), "the worker took {took:?}");
}
