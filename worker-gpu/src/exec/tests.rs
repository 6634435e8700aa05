//! Real children, mostly of the shell: what they leave, and every way in which they go wrong.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::formats::PredictedCell;
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{JobKind, ModelKey, ModelKind, ObjectKey};
use cellmill_core::model::TrainReport;
use cellmill_core::training::PredictParameters;
use cellmill_store::Put;
use cellmill_worker::{Algorithm as _, Context, Failure, Unit};

use super::*;
use crate::tests::{Lab, bench, training};

fn algorithm(command: &str) -> ExecAlgorithm {
    let options = ExecOptions {
        command: command.to_owned(),
        kinds: vec![JobKind::Train, JobKind::Predict],
        silence: Duration::from_secs(20),
        grace: Duration::from_secs(1),
    };
    ExecAlgorithm::new(bench(), options)
}

/// A folder for what children tell besides.
struct Notes(tempfile::TempDir);

impl Notes {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Waits until a child has written something.
    async fn read(&self, name: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match std::fs::read_to_string(self.path(name)) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => assert!(Instant::now() < until, "`{name}` never came"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn lab() -> (Lab, Unit) {
    let lab = Lab::plain(8, &[301, 302]).await;
    let unit = lab.unit(JobParameters::Train(training(&[301, 302])), 0, 1);
    (lab, unit)
}

/// How a unit ends that this command does.
async fn ended(command: &str) -> Result<std::collections::BTreeMap<String, bytes::Bytes>, Failure> {
    let (lab, unit) = lab().await;
    lab.try_run(&algorithm(command), &unit).await.0
}

fn error(failure: &Failure) -> String {
    cellmill_service::report(failure)
}

const WELL: &str = r#"
    read job
    out=$CELLMILL_FOLDER/outputs
    printf '%s' "$job" > "$CELLMILL_FOLDER/job.json"
    echo '{"percent":40,"eta_s":120,"step":"counts"}'
    wc -l < "$CELLMILL_FOLDER/inputs/cells.jsonl" > $out/model.txt
    echo '{"types":[301,302],"n_train":6,"n_test":2,"test":[[1,0],[1,0]],"epochs":[{"train_loss":0.5}]}' > $out/result.json
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_is_what_a_training_brings() {
    let files = ended(WELL).await.unwrap();
    assert_eq!(&files["model"][..], b"8\n", "a line for each cell");
    let report: TrainReport = serde_json::from_slice(&files["report"]).unwrap();
    assert_eq!(report.epochs.len(), 1);
    let card = report.card;
    assert_eq!(
        (card.family.as_str(), card.unit_class.as_str()),
        ("exec", "cpu")
    );
    assert!((card.test.unwrap().accuracy - 0.5).abs() < 1e-9);
    assert_eq!(card.training.unwrap().n_train, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_crashes_is_told_with_its_code_and_last_words() {
    let failure = ended("read job; echo one >&2; echo 'no such thing' >&2; exit 3")
        .await
        .unwrap_err();
    let text = error(&failure);
    assert!(matches!(failure, Failure::Temporary { .. }));
    assert!(
        text.contains("exit status: 3") && text.contains("one | no such thing"),
        "{text}"
    );
    let text = error(&ended("kill -SEGV $$").await.unwrap_err());
    assert!(text.contains("signal: 11"), "{text}");
    let text = error(&ended("/no/such/program").await.unwrap_err());
    assert!(
        text.contains("exit status: 127") && text.contains("not found"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_a_program_tells_may_be_final() {
    let told = |is_permanent: bool| {
        format!("echo '{{\"error\":\"needs 3 classes\",\"permanent\":{is_permanent}}}'; exit 1")
    };
    let failure = ended(&told(true)).await.unwrap_err();
    assert!(matches!(failure, Failure::Permanent { .. }));
    assert_eq!(error(&failure), "needs 3 classes");
    assert!(matches!(
        ended(&told(false)).await.unwrap_err(),
        Failure::Temporary { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_messages_are_passed_over() {
    let noise = r#"echo 'Epoch 1/3'; echo '{"percent":"x"}'; head -c 300000 /dev/zero | tr '\0' 'x'; echo; printf '\377\n';"#;
    let files = ended(&format!("{noise}{WELL}")).await.unwrap();
    assert!(files.contains_key("model"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_should_have_left_is_named() {
    for (command, told) in [
        ("true", "left no `outputs/model`"),
        (
            "echo 1 > $CELLMILL_FOLDER/outputs/model",
            "left no `outputs/result.json`",
        ),
        (
            "cd $CELLMILL_FOLDER/outputs; echo 1 > model; echo '{' > result.json",
            "`outputs/result.json`",
        ),
        (
            "cd $CELLMILL_FOLDER/outputs; ln -s /etc/passwd model; echo '{}' > result.json",
            "no plain file",
        ),
        (
            "cd $CELLMILL_FOLDER/outputs; echo 1 > model; echo '{\"n_train\":1,\"n_test\":9,\"test\":[[1,0],[0,1]]}' > result.json",
            "counts 2 cells",
        ),
    ] {
        let failure = ended(command).await.unwrap_err();
        assert!(matches!(failure, Failure::Permanent { .. }), "{command}");
        assert!(error(&failure).contains(told), "{command}: {failure}");
    }
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead: somebody will look after it.
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|it| !it.contains(") Z "))
}

async fn dies(pid: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_alive(pid) {
        assert!(Instant::now() < until, "{pid} lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ignores every plea, and so does its child.
fn stubborn(notes: &Notes) -> String {
    let shown = |it: &Path| it.display().to_string();
    let (child, own) = (shown(&notes.path("child")), shown(&notes.path("own")));
    format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {child}; sleep 1000 & wait; sleep 1000' & echo $$ > {own}; sleep 1000; sleep 1000"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_hangs_is_ended_with_its_children() {
    let (lab, unit) = lab().await;
    let notes = Notes::new();
    let mut hangs = algorithm(&stubborn(&notes));
    hangs.options.silence = Duration::from_millis(700);
    let failure = lab.try_run(&hangs, &unit).await.0.unwrap_err();
    assert!(matches!(failure, Failure::Temporary { .. }));
    assert!(error(&failure).contains("said nothing for"), "{failure}");
    for name in ["own", "child"] {
        dies(&notes.read(name).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_unit_is_not_wanted_any_more_is_asked_and_then_killed() {
    let (lab, unit) = lab().await;
    let notes = Notes::new();
    let said = notes.path("said").display().to_string();
    let polite = algorithm(&format!("read job; read line; echo \"$line\" > {said}"));
    let stubborn = algorithm(&stubborn(&notes));
    // What the loop does when a heartbeat sees the cancel: the future is dropped.
    let mut context = Context::unsupervised(lab.store.clone(), &unit);
    let dropped = tokio::time::timeout(Duration::from_secs(2), stubborn.run(&unit, &mut context));
    assert!(dropped.await.is_err());
    for name in ["own", "child"] {
        dies(&notes.read(name).await).await;
    }
    // The shell dies of the TERM that comes with the line, unless it looks at the line first.
    let polite = ExecAlgorithm::new(
        bench(),
        ExecOptions {
            command: format!("trap '' TERM; {}", polite.options.command),
            ..polite.options
        },
    );
    let dropped = tokio::time::timeout(Duration::from_secs(2), polite.run(&unit, &mut context));
    assert!(dropped.await.is_err());
    assert_eq!(notes.read("said").await, "{\"cancel\":true}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_running_does_not_hold_its_unit() {
    let notes = Notes::new();
    let child = notes.path("child").display().to_string();
    let leaves = format!(
        "{WELL}\nsh -c 'echo $$ > {child}; sleep 1000' & while [ ! -s {child} ]; do sleep 0.05; done"
    );
    let begun = Instant::now();
    assert!(ended(&leaves).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(30));
    dies(&notes.read("child").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_durable_and_the_next_attempt_gets_it() {
    let (lab, mut unit) = lab().await;
    let saves = r#"
        read job
        cd $CELLMILL_FOLDER
        for n in 1 2 3; do echo step $n > checkpoints/weights.bin; echo '{"checkpoint":"weights.bin"}'; sleep 0.3; done
        echo '{"checkpoint":"../job.json"}'; echo '{"checkpoint":"gone"}'
        exit 1
    "#;
    assert!(lab.try_run(&algorithm(saves), &unit).await.0.is_err());
    let place = |number| ObjectKey::UnitOutput {
        unit: unit.key.clone(),
        attempt: 1,
        file: cellmill_core::checkpoint::file_name(number, "weights.bin"),
    };
    assert_eq!(
        &lab.store.get_bytes(&place(3)).await.unwrap()[..],
        b"step 3\n"
    );
    assert!(lab.store.head(&place(4)).await.unwrap().is_none());

    let named = |number| Checkpoint {
        key: place(number).to_path(),
        sha256: cellmill_core::ids::sha256_hex(format!("step {number}\n").as_bytes()),
        percent: 40,
        is_best: false,
    };
    // The last can't be read any more.
    let checkpoints = vec![named(2), named(3), named(4)];
    unit.attempt = 2;
    unit.checkpoints = checkpoints;
    let notes = Notes::new();
    let found = notes.path("found").display().to_string();
    let resumes =
        format!("read job; cat $CELLMILL_FOLDER/checkpoints/* > {found}; echo \"$job\" >> {found}");
    assert!(lab.try_run(&algorithm(&resumes), &unit).await.0.is_err());
    let found = notes.read("found").await;
    assert!(found.starts_with("step 3\n{"), "{found}");
    assert!(found.contains(r#"weights.bin","checkpoints":"#), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_made_of_the_answers_by_number() {
    let (lab, trained) = lab().await;
    let files = lab.try_run(&algorithm(WELL), &trained).await.0.unwrap();
    let card = lab.register(&files).await;
    let key = ObjectKey::Model(ModelKey::of_number(ModelKind::Classifier, card.mid));
    lab.store
        .put_bytes(&key, files["model"].clone(), Put::Overwrite)
        .await
        .unwrap();
    let parameters = PredictParameters {
        ddir: lab.dir.clone(),
        did: 1,
        mid: card.mid,
        types: Vec::new(),
        is_labelled: true,
        binary: false,
        target_recall: None,
        min_side: None,
        filter_mid: None,
    };
    let unit = lab.unit(JobParameters::Predict(parameters), 1, 1);
    let answers = |lines: &str| {
        format!(
            "read job; cat $CELLMILL_FOLDER/inputs/model >&2; printf '{lines}' > $CELLMILL_FOLDER/outputs/answers.jsonl"
        )
    };
    let good = answers(r#"{"at":1,"class":302,"score":0.98765}\n{"at":0,"class":302}\n"#);
    let files = lab.try_run(&algorithm(&good), &unit).await.0.unwrap();
    let cells: Vec<PredictedCell> = files["cells"]
        .split(|it| *it == b'\n')
        .filter(|it| !it.is_empty())
        .map(|it| serde_json::from_slice(it).unwrap())
        .collect();
    let seen: Vec<_> = cells
        .iter()
        .map(|it| (it.true_type, it.predict, it.score))
        .collect();
    assert_eq!(seen, [(301, 302, None), (302, 302, Some(0.99))]);
    assert!(cells[0].url.starts_with("projects/ek1roy1R/predict/301/"));
    for (lines, told) in [
        (r#"{"at":4,"class":1}"#, "there is no cell 4"),
        (r#"{"at":0,"class":1,"score":2}"#, "between 0 and 1"),
        (r#"{"class":1}"#, "line 1"),
    ] {
        let failure = lab
            .try_run(&algorithm(&answers(lines)), &unit)
            .await
            .0
            .unwrap_err();
        assert!(error(&failure).contains(told), "{failure}");
    }
}
