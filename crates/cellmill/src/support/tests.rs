//! The bundle of a whole server, searched for what was planted.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use cellmill_api::views::{FileKind, FileTree, KeyState, NewDataset, UploadFile};
use cellmill_core::ids::{BatchId, Dir, sha256_hex};
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use cellmill_queue::letters::send_letter;
use cellmill_queue::{Outgoing, QueueName};
use cellmill_service::Shutdown;
use cellmill_store::Store;
use cellmill_vision::{RgbImage, encode_png};
use chrono::{DateTime, Utc};
use clap::Parser as _;

use super::SupportArgs;
use super::bundle::Bundle;
use super::command::gather;
use crate::cli::{Cli, Command};
use crate::client::{Client, SignedRequest};
use crate::standalone::{Running, UpOptions, open_queue, start};

const DIR: &str = "DkxD9Kjl";
/// Planted where people write: in names, descriptions, messages.
const PATIENT: &str = "Zhang";
/// Planted where programs write.
const SECRET: &str = "s3cret";

async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}, after a minute"));
}

/// A server whose only job waits for a worker that never comes.
async fn server(root: &Path) -> (Running, Client) {
    let options = UpOptions {
        root: root.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        workers: Some(0),
    };
    let running = start(options, Shutdown::new()).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address)).unwrap();
    (running, client)
}

async fn plant_image(client: &Client) {
    let png = encode_png(&RgbImage::filled(64, 48, [200, 100, 50]));
    let file = UploadFile {
        root: FileTree::Hospital,
        kind: FileKind::Image,
        batch: "ZhangLab".to_owned(),
        case: "ZhangSan".to_owned(),
        date: None,
        name: "Zhang San 1961.png".to_owned(),
        bytes: png.len() as u64,
        sha256: sha256_hex(&png),
        content_type: None,
        label_type: None,
        part: None,
    };
    let answer = client.ask_uploads(&[file]).await.unwrap().remove(0);
    let key = answer.key.clone().unwrap();
    let n_bytes = png.len() as u64;
    let signed = SignedRequest::of(&answer);
    client.put(&signed, n_bytes, png.into()).await.unwrap();
    let keys = [key];
    wait_until("the image is not checked", || async {
        client.status(&keys).await.unwrap()[0].state == KeyState::Ok
    })
    .await;
}

async fn plant_job(client: &Client) {
    let new = NewDataset {
        description: "slides of Zhang San".to_owned(),
        dir: Some(Dir::parse(DIR).unwrap()),
        batches: vec![BatchId::parse("ZhangLab").unwrap()],
        parameter_type: 0,
        ..NewDataset::default()
    };
    client.create_dataset(&new).await.unwrap();
    wait_until("the job is not cut into units", || async {
        client.job(JobKind::Data, DIR).await.unwrap().state == JobState::Queued
    })
    .await;
}

async fn plant_letter(root: &Path) {
    let store = Store::open_folder(root).await.unwrap();
    let queue = open_queue(&store).unwrap();
    let name = QueueName::from_static("preannotate");
    let body = r#"{"images":["img/ZhangLab/ZhangSan/Images/Zhang San 1961.png"]}"#;
    queue.send(&name, &[Outgoing::now(body)]).await.unwrap();
    let received = queue.receive(&name, 1, Duration::from_mins(1), Duration::ZERO);
    let message = received.await.unwrap().remove(0);
    let reason =
        "`Zhang San 1961.png` is cut; login password=s3cret, GET http://me:s3cret@h/x?token=s3cret";
    let letter = send_letter(&*queue, &name, &message, reason.to_owned());
    letter.await.unwrap();
    queue.delete(&name, &[message.receipt]).await.unwrap();
}

fn args(url: &str, root: &Path, more: &[&str]) -> SupportArgs {
    let root = root.to_str().unwrap();
    let fixed = ["cellmill", "support", "--endpoint", url, "--root", root];
    match Cli::parse_from(fixed.iter().chain(more)).command {
        Command::Support(args) => args,
        other => panic!("{other:?}"),
    }
}

async fn bundle(url: &str, root: &Path, more: &[&str]) -> Bundle {
    let args = args(url, root, more);
    gather(&args, DateTime::<Utc>::UNIX_EPOCH).await.unwrap()
}

/// Entries are stored as they are, so a text of one is found in the whole.
fn holds(bundle: &Bundle, text: &str) -> bool {
    bundle
        .zip
        .windows(text.len())
        .any(|it| it.eq_ignore_ascii_case(text.as_bytes()))
}

#[tokio::test]
async fn a_bundle_tells_of_the_work_and_neither_of_patients_nor_of_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (running, client) = server(root).await;
    plant_image(&client).await;
    plant_job(&client).await;
    plant_letter(root).await;
    let url = client.url().to_owned();

    let told = bundle(&url, root, &[]).await;
    let names: Vec<&str> = told.files.iter().map(|it| it.name.as_str()).collect();
    for name in [
        "version.json",
        "settings.json",
        "health.json",
        "metrics.txt",
        "workers.json",
        "jobs.json",
        "dead.json",
        "disk.json",
        "jobs/DkxD9Kjl-data/job.json",
        "jobs/DkxD9Kjl-data/record.json",
        "jobs/DkxD9Kjl-data/units.json",
        "jobs/DkxD9Kjl-data/why.json",
        "jobs/DkxD9Kjl-data/log.txt",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for useful in [
        "no live worker serves class `cpu`",
        "cellmill_units_waiting{class=\"cpu\"} 1",
        "queue.sqlite",
        "assembled into 1 units",
        "is cut; login password=***",
    ] {
        assert!(holds(&told, useful), "{useful}: {:#?}", told.left_out);
    }
    let signing = std::fs::read(root.join(".cellmill/secret")).unwrap();
    assert!(!told.zip.windows(signing.len()).any(|it| it == signing));
    for planted in [PATIENT, "1961", SECRET] {
        assert!(!holds(&told, planted), "{planted}");
    }

    let told = bundle(&url, root, &["--with-names"]).await;
    assert!(holds(&told, "slides of Zhang San") && !holds(&told, SECRET));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_server_and_a_home_it_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens on port 1.
    let nobody = "http://127.0.0.1:1";
    let more = ["--job", "train/DkxD9Kjl"];
    let told = bundle(nobody, &folder.path().join("never"), &more).await;
    let names: Vec<&str> = told.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["settings.json", "version.json"]);
    let left_out = |text: &str| told.left_out.iter().any(|it| it.what.contains(text));
    assert!(left_out("the server knows") && left_out("the home knows"));
}

#[test]
fn jobs_are_named_by_kind_and_directory() {
    let args = args("http://h", Path::new("/x"), &["--job", "train/DkxD9Kjl"]);
    assert_eq!(args.jobs, [(JobKind::Train, Dir::parse(DIR).unwrap())]);
    for bad in ["DkxD9Kjl", "cook/DkxD9Kjl", "train/a b"] {
        assert!(Cli::try_parse_from(["cellmill", "support", "--job", bad]).is_err());
    }
}
