//! The pieces of a project's frozen input.

use cellmill_core::formats::ProjectInput;
use cellmill_core::ids::Dir;
use cellmill_core::keys::{ObjectKey, ProjectFile};
use cellmill_store::Store;
use cellmill_worker::Failure;

/// Reads a piece, `None` when there is none. All indices of its cells are checked.
pub(crate) async fn read_piece(
    store: &Store,
    dir: &Dir,
    piece: u32,
) -> Result<Option<ProjectInput>, Failure> {
    let key = ObjectKey::Project(dir.clone(), ProjectFile::Input { piece });
    let read = store.read_json::<ProjectInput>(&key).await;
    let read = read.map_err(|error| {
        Failure::of_store(format!("could not read the frozen input `{key}`"), error)
    })?;
    let Some(input) = read.map(|it| it.value) else {
        return Ok(None);
    };
    match problem(&input) {
        None => Ok(Some(input)),
        Some(problem) => Err(Failure::Permanent {
            what: format!("frozen input `{key}` {problem}"),
            source: None,
        }),
    }
}

fn problem(input: &ProjectInput) -> Option<String> {
    if input.v > ProjectInput::VERSION {
        return Some(format!(
            "has version {}, this program reads up to {}",
            input.v,
            ProjectInput::VERSION
        ));
    }
    let is_lost = |pack: u32, image: u32| {
        pack as usize >= input.packs.len() || image as usize >= input.images.len()
    };
    let lost = input.cells.iter().find(|it| is_lost(it.pack, it.image))?;
    Some(format!(
        "is malformed: cell `{}` names a pack or an image that is not in its lists",
        lost.name
    ))
}

#[cfg(test)]
mod tests {
    use cellmill_core::boxes::BBox;
    use cellmill_core::formats::{InputCell, InputPack};

    use super::*;

    #[test]
    fn indices_and_versions_that_can_not_be_are_told() {
        let mut input = ProjectInput {
            v: 1,
            packs: vec![InputPack {
                key: "p".to_owned(),
                bytes: 1,
            }],
            ..ProjectInput::default()
        };
        assert_eq!(problem(&input), None);
        input.cells.push(InputCell {
            name: "a.png".to_owned(),
            pack: 0,
            image: 0,
            class: 1,
            crop: BBox::new(0, 0, 1, 1),
            kernel: None,
        });
        assert!(problem(&input).unwrap().contains("cell `a.png`"));
        input.v = 9;
        assert!(problem(&input).unwrap().contains("version 9"));
    }
}
