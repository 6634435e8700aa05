//! `examples/exec-worker`: a program as an algorithm of the real worker.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cellmill_tests::show::child::Running;
use cellmill_tests::show::wait::wait_until;
use serde_json::json;

use crate::lab::{LEASE_S, LIMIT, Lab, N_CELLS, example, program};

/// A real worker beside the server.
fn worker(lab: &Lab, name: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(program("worker-gpu"));
    command.args(["--store", &format!("file://{}", lab.root().display())]);
    command.args(["--no-preannotate", "--threads", "1"]);
    command.args(arguments);
    command.env("CELLMILL_LEASE_S", LEASE_S);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    lab.beside(name, &mut command)
}

/// A data set that a worker of Cellmill's own cut.
async fn with_cells(lab: &Lab) -> Running {
    let own = worker(lab, "own", &["--kinds", "data"]);
    let new = json!({"batches": ["b1"], "dir": "DataAAAA", "parameter_type": 1});
    lab.client().post("/api/v1/datasets", &new).await.unwrap();
    lab.done("data", "DataAAAA").await;
    own
}

#[tokio::test]
async fn it_trains_and_predicts_as_its_readme_says() {
    let lab = Lab::up(&[]).await;
    let _own = with_cells(&lab).await;
    let command = format!("python3 {}", example("exec-worker/colours.py").display());
    let kinds = [
        "--class",
        "colours",
        "--kinds",
        "train,predict",
        "--exec",
        &command,
    ];
    let _worker = worker(&lab, "colours", &kinds);

    let new = json!({"kind": "train", "class": "colours", "dataset": "DataAAAA", "dir": "TrainAAA", "types": [1, 7]});
    let project = lab.client().post("/api/v1/projects", &new).await.unwrap();
    let job = lab.done("train", "TrainAAA").await;
    let card = &job["report"]["card"];
    assert_eq!(card["unit_class"], "colours");
    assert_eq!(card["training"]["n_train"], N_CELLS - N_CELLS / 5);
    assert_eq!(card["test"]["accuracy"], 1.0, "two colours are told apart");

    let new =
        json!({"kind": "predict", "dataset": "DataAAAA", "dir": "PredAAAA", "mid": project["mid"]});
    lab.client().post("/api/v1/projects", &new).await.unwrap();
    let job = lab.done("predict", "PredAAAA").await;
    let half = N_CELLS / 2;
    let right = |class: u32| json!({"type": class, "total": half, "correct": half});
    assert_eq!(job["result"], json!([right(1), right(7)]));
}

fn is_alive(pid: &str) -> bool {
    let stat = Path::new("/proc").join(pid).join("stat");
    std::fs::read_to_string(stat).is_ok_and(|it| !it.contains(") Z "))
}

/// Waits until the program has written its number.
async fn started(at: &Path) -> String {
    wait_until(
        "the program runs",
        LIMIT,
        Duration::from_millis(20),
        async || {
            let text = std::fs::read_to_string(at).unwrap_or_default();
            Ok(text.ends_with('\n').then(|| text.trim().to_owned()))
        },
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_cancel_ends_the_program_and_a_dead_worker_closes_its_input() {
    let lab = Lab::up(&[]).await;
    let _own = with_cells(&lab).await;
    let folder = tempfile::tempdir().unwrap();
    let note = |name: &str| folder.path().join(name);
    // Deaf to every plea but the end of its input, which it says.
    let command = format!(
        "trap '' TERM; read job; echo $$ > {}/$$; mv {0}/$$ {0}/pid; while read line; do echo \"$line\" >> {0}/lines; done; echo end >> {0}/lines; exit 1",
        folder.path().display()
    );
    let kinds = ["--class", "slow", "--kinds", "train", "--exec", &command];
    let running = worker(&lab, "slow", &kinds);
    let new = |dir: &str| json!({"kind": "train", "class": "slow", "dataset": "DataAAAA", "dir": dir, "types": [1, 7]});

    lab.client()
        .post("/api/v1/projects", &new("TrainAAA"))
        .await
        .unwrap();
    let pid = started(&note("pid")).await;
    lab.client()
        .post("/api/v1/jobs/train/TrainAAA/cancel", &json!({}))
        .await
        .unwrap();
    let pause = Duration::from_millis(20);
    wait_until("the program is gone", LIMIT, pause, async || {
        Ok((!is_alive(&pid)).then_some(()))
    })
    .await
    .unwrap();
    let lines = std::fs::read_to_string(note("lines")).unwrap();
    assert!(lines.starts_with("{\"cancel\":true}\n"), "{lines}");
    let job = lab.client().job_of("train", "TrainAAA").await.unwrap();
    assert_eq!(job["state"], "cancelled");

    std::fs::remove_file(note("pid")).unwrap();
    std::fs::remove_file(note("lines")).unwrap();
    lab.client()
        .post("/api/v1/projects", &new("TrainBBB"))
        .await
        .unwrap();
    let pid = started(&note("pid")).await;
    running.kill().unwrap();
    wait_until("the program is gone", LIMIT, pause, async || {
        Ok((!is_alive(&pid)).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(std::fs::read_to_string(note("lines")).unwrap(), "end\n");
}
