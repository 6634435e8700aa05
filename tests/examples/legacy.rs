//! `examples/legacy-worker`: a worker of the predecessor's kind, in Python.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use cellmill_tests::show::child::Running;
use serde_json::{Value, json};

use crate::lab::{LIMIT, Lab, N_CELLS, example};

fn worker(root: &str, url: &str, jobs: u32) -> Command {
    let mut command = Command::new("python3");
    command.arg(example("legacy-worker/worker.py"));
    command.args(["--root", root, "--url", url, "--poll", "0.1"]);
    command.args(["--jobs", &jobs.to_string()]);
    // Nothing is left in the repository.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[tokio::test]
async fn it_cuts_trains_and_predicts_over_the_shared_folder() {
    let lab = Lab::up(&[("CELLMILL_LEGACY_WORKERS", "on")]).await;
    let root = lab.root().to_str().unwrap();
    let weights = lab.root().join("modules/detector/points.weights");
    std::fs::create_dir_all(weights.parent().unwrap()).unwrap();
    std::fs::write(weights, "cuts at points, so there is nothing to weigh").unwrap();
    let model = json!({"mtype": 7, "file": "detector/points.weights"});
    let model = lab
        .client()
        .post("/api/v1/models/legacy", &model)
        .await
        .unwrap();
    let mut running = lab.beside("worker", &mut worker(root, lab.url(), 3));

    let new = json!({"batches": ["b1"], "dir": "DataAAAA", "parameter_type": 1, "parameter_mid": model["mid"]});
    lab.client().post("/api/v1/datasets", &new).await.unwrap();
    let job = lab.done("data", "DataAAAA").await;
    assert_eq!(job["result"]["rows"], N_CELLS);

    let new = json!({"kind": "train", "dataset": "DataAAAA", "dir": "TrainAAA", "class": "legacy", "types": [1, 7]});
    let project = lab.client().post("/api/v1/projects", &new).await.unwrap();
    let job = lab.done("train", "TrainAAA").await;
    assert_eq!(job["result"]["n_train"], N_CELLS - N_CELLS.div_ceil(5));
    assert!(
        job["result"]["evaluate_value"].as_f64().unwrap() > 0.99,
        "{job}"
    );

    let new =
        json!({"kind": "predict", "dataset": "DataAAAA", "dir": "PredAAAA", "mid": project["mid"]});
    lab.client().post("/api/v1/projects", &new).await.unwrap();
    let job = lab.done("predict", "PredAAAA").await;
    let half = N_CELLS / 2;
    let right = |class: u32| json!({"type": class, "total": half, "correct": half});
    assert_eq!(job["result"], json!([right(1), right(7)]));

    assert_eq!(
        running.ended(LIMIT).await.unwrap(),
        Some(0),
        "{}",
        said(&running)
    );
    let log = lab
        .client()
        .get("/api1/joblog", &[("id", "1"), ("type", "1")])
        .await
        .unwrap();
    assert!(
        log["data"]
            .as_str()
            .unwrap()
            .contains("36 cells of 6 images"),
        "{log}"
    );
    let percent = lab
        .client()
        .get("/api1/jobpercent", &[("id", "2"), ("type", "3")])
        .await
        .unwrap();
    assert_eq!(
        percent["data"],
        json!({"percent": 100, "ETA": 0, "status": 5})
    );
    lab.verify().await;
}

fn said(running: &Running) -> String {
    running.log().unwrap_or_default()
}

/// A server that writes down what it is asked, and always answers the same.
fn stub(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let answered = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let body = body_of(&mut stream);
            let n_bytes = answer.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {n_bytes}\r\nconnection: close\r\n\r\n{answer}"
            )
            .unwrap();
            body
        };
        answers.into_iter().map(answered).collect()
    });
    (url, asked)
}

fn body_of(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let n = stream.read(&mut piece).unwrap();
        text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() >= length {
            let line = head.lines().next().unwrap();
            return format!("{line}\n{body}");
        }
    }
}

#[tokio::test]
async fn its_requests_are_the_vectors_of_the_predecessor() {
    const NOTHING: &str = r#"{"status":0,"data":{"id":0,"status":0,"dir":""}}"#;
    const JOB: &str = r#"{"status":0,"data":{"id":12,"status":1,"dir":"DkxD9Kjl"}}"#;
    const OK: &str = r#"{"status":0,"data":"ok"}"#;
    let (url, asked) = stub(vec![NOTHING, NOTHING, JOB, OK]);
    let root = tempfile::tempdir().unwrap();
    // It has no csv and img, so the worker refuses the job.
    let mut command = worker(root.path().to_str().unwrap(), &url, 1);
    let log = root.path().join("worker.log");
    let mut running = Running::start(&mut command, &log).unwrap();
    assert_eq!(
        running.ended(LIMIT).await.unwrap(),
        Some(0),
        "{}",
        said(&running)
    );
    let asked = asked.join().unwrap();
    assert_eq!(
        asked,
        [
            "POST /api1/job HTTP/1.1\n{\"id\":0,\"status\":1,\"type\":1,\"mtype\":7}",
            "POST /api1/job HTTP/1.1\n{\"id\":0,\"status\":1,\"type\":2,\"mtype\":5}",
            "POST /api1/job HTTP/1.1\n{\"id\":0,\"status\":1,\"type\":3,\"mtype\":5}",
            "POST /api1/jobresult HTTP/1.1\n{\"id\":12,\"status\":3,\"percent\":0,\"ETA\":0,\"type\":3}",
        ]
    );
}

#[tokio::test]
async fn its_split_is_the_predecessors() {
    let mut command = Command::new("python3");
    command
        .args(["-m", "doctest"])
        .arg(example("legacy-worker/split.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = command.output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stdout)
    );
}

/// A picture that Rust wrote is read, cropped and written by the example's codec, and read back here.
#[tokio::test]
async fn its_codec_keeps_every_pixel() {
    use cellmill_vision::{RgbImage, encode_png};
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from.png"), folder.path().join("to.png"));
    let mut image = RgbImage::filled(37, 23, [0, 0, 0]);
    for (at, byte) in image.data.iter_mut().enumerate() {
        *byte = (at * at / 7) as u8;
    }
    std::fs::write(&from, encode_png(&image)).unwrap();
    let code = "import sys, png; png.write(sys.argv[2], png.read(sys.argv[1]).crop(5, 3, 35, 20))";
    let mut command = Command::new("python3");
    command.args(["-c", code]).args([&from, &to]);
    command.current_dir(example("legacy-worker"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = command.output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&to).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (30, 17));
    let row = |y: usize| &image.data[((y + 3) * 37 + 5) * 3..((y + 3) * 37 + 35) * 3];
    let expected: Vec<u8> = (0..17).flat_map(|y| row(y).to_vec()).collect();
    assert_eq!(pixels, expected);
}

/// Kept small: what a job says when its worker gives up reaches the person who asks.
#[tokio::test]
async fn what_it_can_not_do_is_said() {
    let lab = Lab::up(&[("CELLMILL_LEGACY_WORKERS", "on")]).await;
    let root = lab.root().to_str().unwrap();
    std::fs::create_dir_all(lab.root().join("modules/detector")).unwrap();
    std::fs::write(lab.root().join("modules/detector/y.weights"), "x").unwrap();
    let model = json!({"mtype": 7, "file": "detector/y.weights"});
    let model: Value = lab
        .client()
        .post("/api/v1/models/legacy", &model)
        .await
        .unwrap();
    let new = json!({"batches": ["b1"], "dir": "DataAAAA", "parameter_type": 0, "parameter_mid": model["mid"]});
    lab.client().post("/api/v1/datasets", &new).await.unwrap();
    let mut running = lab.beside("worker", &mut worker(root, lab.url(), 1));
    let job = lab
        .client()
        .job_in("DataAAAA", &["failed"], LIMIT)
        .await
        .unwrap();
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("this worker has no detector"), "{error}");
    assert_eq!(running.ended(LIMIT).await.unwrap(), Some(0));
}
