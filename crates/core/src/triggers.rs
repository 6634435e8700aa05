//! Which keys trigger which function, and what each function writes: the graph that must not loop.

/// The functions that object events start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    Ingest,
    Label,
}

/// An object event under `prefix` starts `function`.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    pub prefix: &'static str,
    pub function: Function,
}

/// What a function writes, as prefixes of keys.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    pub function: Function,
    pub prefixes: &'static [&'static str],
}

pub const TRIGGERS: &[Trigger] = &[
    Trigger {
        prefix: "img/",
        function: Function::Ingest,
    },
    Trigger {
        prefix: "scratch/img/",
        function: Function::Ingest,
    },
    Trigger {
        prefix: "csv/",
        function: Function::Label,
    },
];

pub const WRITES: &[Writes] = &[
    Writes {
        function: Function::Ingest,
        prefixes: &[
            "records/img/",
            "records/scratch/img/",
            "records/stems/",
            "labels/img/",
            "labels/scratch/img/",
            "cache/",
        ],
    },
    Writes {
        function: Function::Label,
        prefixes: &[
            "records/csv/",
            "records/stems/",
            "labels/img/",
            "labels/scratch/img/",
        ],
    },
];

/// The function that an object's creation starts.
pub fn function_of(key: &str) -> Option<Function> {
    TRIGGERS
        .iter()
        .find(|it| key.starts_with(it.prefix))
        .map(|it| it.function)
}

/// The longest chain of functions that one object can start; `Err` names a loop.
///
/// Messages that ingest sends to label (a CSV that waited for its image) count as an edge too.
pub fn longest_chain(triggers: &[Trigger], writes: &[Writes]) -> Result<usize, Vec<Function>> {
    let mut longest = 0;
    for trigger in triggers {
        longest = longest.max(walk(trigger.function, triggers, writes, &mut Vec::new())?);
    }
    Ok(longest)
}

fn walk(
    function: Function,
    triggers: &[Trigger],
    writes: &[Writes],
    path: &mut Vec<Function>,
) -> Result<usize, Vec<Function>> {
    path.push(function);
    if path[..path.len() - 1].contains(&function) {
        return Err(path.clone());
    }
    let mut depth = 0;
    for next in successors(function, triggers, writes) {
        depth = depth.max(walk(next, triggers, writes, path)?);
    }
    path.pop();
    Ok(depth + 1)
}

fn successors(function: Function, triggers: &[Trigger], writes: &[Writes]) -> Vec<Function> {
    let by_message = (function == Function::Ingest).then_some(Function::Label);
    let written = writes
        .iter()
        .filter(|it| it.function == function)
        .flat_map(|it| it.prefixes);
    let by_object = written.flat_map(|prefix| {
        triggers
            .iter()
            .filter(move |it| overlap(prefix, it.prefix))
            .map(|it| it.function)
    });
    by_message.into_iter().chain(by_object).collect()
}

/// Can one key start with both?
fn overlap(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_chain_is_longer_than_two() {
        assert_eq!(
            longest_chain(TRIGGERS, WRITES),
            Ok(2),
            "ingest, then label for the CSV that waited"
        );
    }

    #[test]
    fn a_function_that_writes_under_its_own_trigger_is_found() {
        // A batch named `img` would put cut cells and copies under `scratch/img/`.
        let planted = [Writes {
            function: Function::Ingest,
            prefixes: &["scratch/"],
        }];
        assert_eq!(
            longest_chain(TRIGGERS, &planted),
            Err(vec![Function::Ingest, Function::Ingest])
        );
        let across = [Writes {
            function: Function::Label,
            prefixes: &["img/review/"],
        }];
        assert!(longest_chain(TRIGGERS, &across).is_err());
    }
}
