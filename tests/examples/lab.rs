//! A running `cellmill up` with photographs in which two kinds of cells differ by their colour.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cellmill_tests::show::child::Running;
use cellmill_tests::show::http::{Client, Sent, Upload};
use cellmill_tests::show::process::{Mill, Program};
use cellmill_vision::{RgbImage, encode_png};
use serde_json::Value;
use tempfile::TempDir;

/// What one step may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// Of all processes, the shortest that is allowed.
pub(crate) const LEASE_S: &str = "5";

const CASES: [&str; 3] = ["c1", "c2", "c3"];
/// Centres of cells, the first half of them pale (class 1), the others dark (class 7).
const CELLS: [(u32, u32); 6] = [
    (60, 60),
    (180, 70),
    (300, 60),
    (70, 200),
    (190, 210),
    (310, 200),
];
/// Over all images.
pub(crate) const N_CELLS: u64 = (CASES.len() * 2 * CELLS.len()) as u64;

pub(crate) struct Lab {
    mill: Mill,
    program: Program,
    folder: TempDir,
}

impl Lab {
    /// Two images in each of three cases of batch `b1`, with points; no worker of its own.
    pub(crate) async fn up(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::at(&program("cellmill")).unwrap();
        let settings = [
            settings,
            &[("CELLMILL_WORKERS", "0"), ("CELLMILL_LEASE_S", LEASE_S)],
        ]
        .concat();
        let root = folder.path().join("root");
        let mill = Mill::up_with(&program, &root, &settings).await.unwrap();
        let lab = Self {
            mill,
            program,
            folder,
        };
        let mut keys = Vec::new();
        for (n, case) in CASES.iter().flat_map(|it| [it, it]).enumerate() {
            let variant = n as u32;
            let image = picture(variant);
            keys.push(lab.send(case, None, &format!("f{n}.png"), &image).await);
            let points = points(variant);
            lab.send(
                case,
                Some("2026-1-2"),
                &format!("f{n}.csv"),
                points.as_bytes(),
            )
            .await;
        }
        for key in keys {
            let state = lab.client().decided(&key, LIMIT).await.unwrap();
            assert_eq!(state.state, "ok", "{key}: {}", state.code);
        }
        lab
    }

    async fn send(&self, case: &str, date: Option<&str>, name: &str, content: &[u8]) -> String {
        let file = Upload {
            root: "hospital",
            batch: "b1",
            case,
            date,
            name,
            label_type: None,
            content,
        };
        match self.client().upload(&file).await.unwrap() {
            Sent::Stored(key) => key,
            Sent::Refused(code) => panic!("{name}: {code}"),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        self.mill.client()
    }

    pub(crate) fn root(&self) -> &Path {
        self.mill.root()
    }

    pub(crate) fn url(&self) -> &str {
        self.mill.url()
    }

    /// Starts a program beside the server; what it says is in `<name>.log`.
    pub(crate) fn beside(&self, name: &str, command: &mut Command) -> Running {
        let log = self.folder.path().join(format!("{name}.log"));
        Running::start(command, &log).unwrap()
    }

    /// Waits until a job is done; panics with its error when it ends otherwise.
    pub(crate) async fn done(&self, kind: &str, dir: &str) -> Value {
        let ends = ["done", "failed", "cancelled"];
        let job = self.client().job_of_in(kind, dir, &ends, LIMIT).await;
        let job = job.unwrap();
        assert_eq!(job["state"], "done", "{}", job["error"]);
        job
    }

    /// Everything under the root agrees with everything else.
    pub(crate) async fn verify(&self) {
        let root = self.root().to_str().unwrap();
        let ran = self.program.run(&["verify", "--root", root]).await.unwrap();
        ran.must_be_ok("verify").unwrap();
    }
}

/// Where `tests/examples/run` says that the programs are, else beside this one.
pub(crate) fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("CELLMILL_TEST_PROGRAMS") {
        return PathBuf::from(folder).join(name);
    }
    let own = std::env::current_exe().unwrap();
    // target/debug/deps/examples-<hash>
    own.parent().unwrap().with_file_name(name)
}

/// A file of `examples/`.
pub(crate) fn example(path: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().join("examples").join(path)
}

fn picture(variant: u32) -> Vec<u8> {
    let mut image = RgbImage::filled(380, 280, [226, 216, 231]);
    for (n, (cx, cy)) in CELLS.iter().enumerate() {
        let shade = (variant * 5 + n as u32 * 3) as u8;
        let colour = if n < 3 {
            [200 - shade, 150, 190]
        } else {
            [90 + shade, 50, 120]
        };
        for y in 0..image.height {
            for x in 0..image.width {
                if x.abs_diff(*cx).pow(2) + y.abs_diff(*cy).pow(2) <= 22 * 22 {
                    let at = (y * image.width + x) as usize * 3;
                    image.data[at..at + 3].copy_from_slice(&colour);
                }
            }
        }
    }
    encode_png(&image)
}

fn points(variant: u32) -> String {
    let mut csv = "X,Y,Type\n".to_owned();
    for (n, (x, y)) in CELLS.iter().enumerate() {
        let class = if n < 3 { 1 } else { 7 };
        writeln!(csv, "{},{y},{class}", x + variant % 3).unwrap();
    }
    csv
}
