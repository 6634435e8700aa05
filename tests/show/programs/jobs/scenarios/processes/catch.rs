//! Catching a worker in the middle of a unit: it is stopped, and only then looked at, so that a hit is a hit.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use cellmill_tests::show::frozen::{freeze, holds_a_lock, thaw};

use super::plan::Harm;
use super::stage::Stage;
use super::{Calm, JOBS};
use crate::programs::process_of;
use crate::records::{number, owner, read, state, unit_paths};

const LOOK: Duration = Duration::from_millis(2);
/// How long a worker runs between two looks for its last output.
const STEP: Duration = Duration::from_micros(150);
/// Of so many looks for outputs, one is at the record itself.
const LOOKS_AT_RECORD: u32 = 50;
/// A worker that takes this long to its last output is left alone.
const MAX_STEPPING: Duration = Duration::from_secs(10);

/// A worker that stands still in the middle of a unit.
#[derive(Clone, Debug)]
pub(super) struct Caught {
    pub(super) process: u32,
    /// The record of its unit.
    pub(super) unit: PathBuf,
    pub(super) attempt: u64,
    /// All outputs are written, the commit is not.
    pub(super) is_before_commit: bool,
}

/// What one looks at again and again, read only when it was written.
#[derive(Debug, Default)]
pub(super) struct Looked {
    known: HashMap<PathBuf, (u64, Option<Caught>)>,
    /// Units that were disturbed: the third loss would end one, rightly.
    done: BTreeSet<PathBuf>,
}

/// Stops a worker as `harm` wants it; `None` when all jobs ended first. Blocking.
pub(super) fn catch(
    stage: &Stage,
    harm: &Harm,
    calm: Calm,
    looked: &mut Looked,
) -> Result<Option<Caught>> {
    let n_before = harm.after * calm.n_units as f64;
    while !stage.is_over()? {
        let (n_claimed, held) = looked.look(&stage.root)?;
        let held = held
            .into_iter()
            .find(|it| stage.is_at_work(it.process) && !looked.done.contains(&it.unit));
        let Some(held) = held.filter(|_| n_claimed as f64 >= n_before) else {
            std::thread::sleep(LOOK);
            continue;
        };
        if harm.before_commit {
            wait_for_outputs(&held)?;
        } else {
            std::thread::sleep(calm.unit.mul_f64(harm.depth));
        }
        freeze(held.process)?;
        let caught = if !is_held(&held)? {
            None
        } else if harm.before_commit {
            step_to_commit(&held)?
        } else {
            Some(held.clone())
        };
        if let Some(caught) = caught {
            looked.done.insert(caught.unit.clone());
            return Ok(Some(caught));
        }
        thaw(held.process)?;
    }
    Ok(None)
}

impl Looked {
    /// How many units were claimed so far, and those that are held now.
    fn look(&mut self, root: &Path) -> Result<(usize, Vec<Caught>)> {
        let mut n_claimed = 0;
        let mut held = Vec::new();
        for dir in JOBS {
            for path in unit_paths(root, dir)?.into_values() {
                n_claimed += 1;
                let Ok(metadata) = path.metadata() else {
                    continue;
                };
                // Every write of a record is a new file.
                let known = self.known.get(&path).filter(|it| it.0 == metadata.ino());
                let holder = match known {
                    Some((_, holder)) => holder.clone(),
                    None => holder(&path)?,
                };
                held.extend(holder.clone());
                self.known.insert(path, (metadata.ino(), holder));
            }
        }
        Ok((n_claimed, held))
    }
}

fn holder(path: &Path) -> Result<Option<Caught>> {
    let Some(unit) = read(path)?.filter(|it| state(it) == "leased") else {
        return Ok(None);
    };
    Ok(process_of(owner(&unit)).map(|process| Caught {
        process,
        unit: path.to_owned(),
        attempt: number(&unit, "attempt"),
        is_before_commit: false,
    }))
}

/// Is the unit still this worker's, by a fresh look?
fn is_held(held: &Caught) -> Result<bool> {
    let now = holder(&held.unit)?;
    Ok(now.is_some_and(|it| (it.process, it.attempt) == (held.process, held.attempt)))
}

/// Where the outputs of the attempt lie.
fn folder(held: &Caught) -> PathBuf {
    let unit = held.unit.with_extension("");
    unit.join(format!("{:05}", held.attempt))
}

/// Waits until the worker begins to write what it found, or has lost the unit. Then little is left to step through.
fn wait_for_outputs(held: &Caught) -> Result<()> {
    let folder = folder(held);
    let mut n_looks = 0_u32;
    while !folder.exists() {
        n_looks += 1;
        if n_looks.is_multiple_of(LOOKS_AT_RECORD) && !is_held(held)? {
            break;
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Lets a stopped worker go on in small steps until its last output is there, and its commit is not. It holds no
/// lock then, so that others can take the unit over.
fn step_to_commit(held: &Caught) -> Result<Option<Caught>> {
    // A worker writes the log of an attempt last.
    let last_output = folder(held).join("log.txt");
    let begun = Instant::now();
    while begun.elapsed() < MAX_STEPPING {
        if last_output.exists() && !holds_a_lock(held.process)? {
            return Ok(Some(Caught {
                is_before_commit: true,
                ..held.clone()
            }));
        }
        thaw(held.process)?;
        std::thread::sleep(STEP);
        freeze(held.process)?;
        if !is_held(held)? {
            return Ok(None);
        }
    }
    Ok(None)
}
