//! The dependency table: who may know whom, inside and outside.

use std::process::Command;

use serde_json::Value;

/// Inside, as in DESIGN 2. A package missing here fails the test. `worker` may use `service` for reports.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cellmill-core", &[]),
    ("cellmill-aws", &[]),
    ("cellmill-store", &["cellmill-core", "cellmill-aws"]),
    ("cellmill-queue", &["cellmill-core", "cellmill-aws"]),
    ("cellmill-service", &["cellmill-core"]),
    ("cellmill-vision", &["cellmill-core"]),
    ("cellmill-nets", &["cellmill-core"]),
    ("cellmill-retrieval", &["cellmill-core"]),
    (
        "cellmill-worker",
        &[
            "cellmill-core",
            "cellmill-store",
            "cellmill-queue",
            "cellmill-service",
        ],
    ),
    (
        "cellmill-api",
        &[
            "cellmill-core",
            "cellmill-store",
            "cellmill-queue",
            "cellmill-service",
            "cellmill-vision",
            "cellmill-retrieval",
        ],
    ),
    ("cellmill-fn-ingest", FUNCTION),
    ("cellmill-fn-label", FUNCTION),
    ("cellmill-fn-assemble", FUNCTION),
    ("cellmill-fn-collect", FUNCTION),
    ("cellmill-fn-janitor", FUNCTION),
    (
        "cellmill-fn-api",
        &[
            "cellmill-api",
            "cellmill-aws",
            "cellmill-core",
            "cellmill-lambda",
            "cellmill-store",
            "cellmill-queue",
            "cellmill-service",
        ],
    ),
    // The shell around the functions: it alone knows Lambda's messages.
    (
        "cellmill-lambda",
        &[
            "cellmill-core",
            "cellmill-store",
            "cellmill-queue",
            "cellmill-service",
        ],
    ),
    (
        "cellmill-worker-gpu",
        &[
            "cellmill-aws",
            "cellmill-core",
            "cellmill-store",
            "cellmill-queue",
            "cellmill-service",
            "cellmill-worker",
            "cellmill-vision",
            "cellmill-nets",
            "cellmill-retrieval",
        ],
    ),
    // Outside of the crates: what a third party sees is the SDK.
    ("example-sdk-worker", &["cellmill-worker"]),
    ("cellmill", &["*"]),
    ("cellmill-tests", &["*"]),
    ("cellmill-simulation", &["*"]),
];

const FUNCTION: &[&str] = &[
    "cellmill-core",
    "cellmill-lambda",
    "cellmill-store",
    "cellmill-queue",
    "cellmill-service",
    "cellmill-vision",
    "cellmill-retrieval",
];

/// Outside crates that only the named packages may list.
const WALLED: &[(&str, &[&str])] = &[
    ("candle-core", &["cellmill-nets"]),
    ("candle-nn", &["cellmill-nets"]),
    ("axum", &["cellmill-api"]),
    ("utoipa", &["cellmill-api"]),
    ("object_store", &["cellmill-store"]),
    ("notify", &["cellmill-store"]),
    ("rusqlite", &["cellmill-queue"]),
    ("image", &["cellmill-vision"]),
    // What `torch.save` writes is a zip.
    ("zip", &["cellmill-vision", "cellmill-nets"]),
    ("zune-jpeg", &["cellmill-vision"]),
    // `store` names it only to choose the TLS of object_store's client.
    (
        "reqwest",
        &[
            "cellmill",
            "cellmill-service",
            "cellmill-store",
            "cellmill-tests",
            // Only for the agent of ECS, which sits beside the container.
            "cellmill-worker-gpu",
        ],
    ),
    ("aws-config", &["cellmill-aws"]),
    // The shows sign by hand.
    ("aws-sigv4", &["cellmill-aws", "cellmill-tests"]),
    ("aws-sdk-s3", &["cellmill-store", "cellmill-tests"]),
    ("aws-sdk-sqs", &["cellmill-queue"]),
    ("lambda_runtime", &["cellmill-lambda"]),
    ("aws_lambda_events", &["cellmill-lambda"]),
    ("lambda_http", &["cellmill-fn-api"]),
    (
        "clap",
        &[
            "cellmill",
            "cellmill-worker-gpu",
            "cellmill-simulation",
            "cellmill-tests",
        ],
    ),
];

/// `core` sees nothing that could read a clock, a file or a socket.
const CORE_MAY_USE: &[&str] = &[
    "chrono",
    "csv",
    "csv-core",
    "percent-encoding",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
];

#[test]
fn dependencies_follow_the_table() {
    let packages = packages();
    let names: Vec<&str> = packages.iter().map(name).collect();
    let mut problems = Vec::new();
    for package in &packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(it, _)| *it == name(package)) else {
            problems.push(format!("`{}` is not in the table", name(package)));
            continue;
        };
        for on in dependencies(package).filter(|it| names.contains(it)) {
            if !allowed.contains(&on) && !allowed.contains(&"*") {
                problems.push(format!("`{}` may not depend on `{on}`", name(package)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn outside_crates_stay_behind_their_walls() {
    let mut problems = Vec::new();
    for package in &packages() {
        for on in dependencies(package) {
            let is_walled_off = WALLED
                .iter()
                .any(|(it, users)| *it == on && !users.contains(&name(package)));
            let is_impure = name(package) == "cellmill-core" && !CORE_MAY_USE.contains(&on);
            if is_walled_off || is_impure {
                problems.push(format!("`{on}` is walled off from `{}`", name(package)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(super::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages")
        .clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a package has a name")
}

/// What the package's own code is made of; tests may use more.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"]
        .as_array()
        .expect("cargo metadata lists dependencies");
    all.iter().filter(|it| it["kind"] != "dev").map(name)
}
