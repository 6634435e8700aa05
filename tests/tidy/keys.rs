//! Keys are built and parsed only in `core::keys` (invariant 2).

use std::fs;
use std::path::{Path, PathBuf};

/// How keys begin. A text in code that begins so is a key spelled by hand.
const BEGINNINGS: &[&str] = &[
    "\"img/",
    "\"csv/",
    "\"scratch/",
    "\"records/",
    "\"labels/",
    "\"classes/",
    "\"datasets/",
    "\"projects/",
    "\"indexes/",
    "\"units/",
    "\"active/",
    "\"ids/",
    "\"cache/",
    "\"uploads/",
    "\"workers/",
    "\"audit/",
    "\"erased/",
    "\"masks/",
    "\"modules/",
];

/// Code that may spell them, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("crates/core/src/keys", "the one place"),
    (
        "crates/core/src/triggers.rs",
        "prefixes of the trigger graph, checked against the keys below",
    ),
    (
        "crates/core/src/label/layers.rs",
        "layers are named `csv/<date>`, which is no key",
    ),
    (
        "crates/core/src/formats/paths.rs",
        "reads paths of old files, which begin with a root",
    ),
    (
        "crates/store/src/folder",
        "fsync is skipped below `cache/`, which can be made again",
    ),
    (
        "crates/cellmill/src/synth",
        "writes a folder of a person, not a bucket",
    ),
    (
        "crates/cellmill/src/import",
        "reads a folder of a person and tells what it should look like",
    ),
    (
        "crates/cellmill/src/eval",
        "reads the truth from a folder of a person",
    ),
];

#[test]
fn keys_are_spelled_in_one_place() {
    let mut problems = Vec::new();
    for folder in ["crates", "functions", "worker-gpu"] {
        visit(&super::root().join(folder), &mut |path| {
            let shown = path
                .strip_prefix(super::root())
                .expect("below the root")
                .display()
                .to_string();
            let is_exempt = EXEMPT.iter().any(|(it, _)| shown.starts_with(it));
            if is_exempt
                || !shown.contains("/src/")
                || shown.contains("/tests")
                || shown.ends_with("suite.rs")
            {
                return;
            }
            let text = fs::read_to_string(path).expect("a source file is text");
            for (at, line) in code_lines(&text) {
                if BEGINNINGS.iter().any(|it| line.contains(it)) {
                    problems.push(format!("{shown}:{at}: {}", line.trim()));
                }
            }
        });
    }
    assert!(
        problems.is_empty(),
        "use core::keys instead:\n{}",
        problems.join("\n")
    );
}

/// Lines that are neither comments nor tests; tests stand at the end of a file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn visit(folder: &Path, file: &mut impl FnMut(&PathBuf)) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, file);
        } else if path.extension().is_some_and(|it| it == "rs") {
            file(&path);
        }
    }
}
