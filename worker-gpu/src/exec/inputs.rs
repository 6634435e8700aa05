//! What a program gets: the unit's frozen input as files, and one line that says where they lie.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use cellmill_core::checkpoint::Checkpoint;
use cellmill_core::formats::ProjectInput;
use cellmill_core::job::JobParameters;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey};
use cellmill_core::snapshot::UnitInput;
use cellmill_store::Store;
use cellmill_worker::{Context, Failure, Unit};
use serde_json::{Map, Value, json};

use super::folder::Folder;
use super::results::Cells;
use crate::algorithms::refuse;
use crate::bench::Bench;
use crate::cells::{CellReader, Wanted, read_piece};

/// A job as it is handed to a program.
pub(super) struct Job {
    /// One line of JSON with its line end.
    pub(super) line: String,
    /// Of a project: what the program's answers are about.
    pub(super) cells: Cells,
    /// Where an earlier attempt says that it may go on.
    pub(super) checkpoint: Option<Checkpoint>,
}

/// Brings everything that the unit needs into the folder.
pub(super) async fn fetch(
    bench: &Bench,
    unit: &Unit,
    context: &mut Context,
    folder: &Folder,
) -> Result<Job, Failure> {
    let mut job = Map::new();
    let text = |path: &Path| path.display().to_string();
    job.insert("v".to_owned(), json!(1));
    job.insert("unit".to_owned(), json!(unit.key.to_string()));
    job.insert("kind".to_owned(), json!(unit.key.kind));
    job.insert("attempt".to_owned(), json!(unit.attempt));
    job.insert("number".to_owned(), json!(unit.job.number));
    job.insert("parameters".to_owned(), parameters(&unit.job.parameters));
    job.insert("folder".to_owned(), json!(text(folder.path())));
    job.insert("inputs".to_owned(), json!(text(&folder.inputs())));
    job.insert("outputs".to_owned(), json!(text(&folder.outputs())));
    job.insert("checkpoints".to_owned(), json!(text(&folder.checkpoints())));

    let newest = context.newest_checkpoint().await?;
    let checkpoint = if let Some((checkpoint, bytes)) = newest {
        let name = checkpoint.key.rsplit('/').next().unwrap_or("checkpoint");
        let path = folder.checkpoints().join(name);
        std::fs::write(&path, &bytes).map_err(|error| unwritten(&path, error))?;
        job.insert("checkpoint".to_owned(), json!(text(&path)));
        Some(checkpoint)
    } else {
        None
    };
    let cells = match &unit.job.parameters {
        JobParameters::Data(_) => {
            let images = images(unit, context, folder).await?;
            job.insert("images".to_owned(), json!(images));
            Cells::default()
        }
        JobParameters::Train(_) => pieces(unit, context, None).await?,
        JobParameters::Predict(it) => {
            let model = model(context.store(), it.mid, folder).await?;
            job.insert("model".to_owned(), json!(model));
            pieces(unit, context, Some(unit.key.unit)).await?
        }
    };
    if unit.key.kind != JobKind::Data {
        let list = write_cells(bench, &cells, context, folder).await?;
        job.insert("cells".to_owned(), json!(list));
    }
    Ok(Job {
        line: format!("{}\n", Value::Object(job)),
        cells,
        checkpoint,
    })
}

/// Without the name of the kind around them.
fn parameters(parameters: &JobParameters) -> Value {
    match serde_json::to_value(parameters).unwrap_or_default() {
        Value::Object(it) => it.into_iter().next().map_or(Value::Null, |(_, it)| it),
        other => other,
    }
}

async fn save(store: &Store, key: &str, path: &Path) -> Result<(), Failure> {
    let bytes = store.get_bytes(key).await;
    let bytes =
        bytes.map_err(|error| Failure::of_store(format!("could not read `{key}`"), error))?;
    std::fs::write(path, &bytes).map_err(|error| unwritten(path, error))
}

fn unwritten(path: &Path, error: std::io::Error) -> Failure {
    Failure::temporary(format!("could not write `{}`", path.display()), error)
}

/// The photographs of a data unit, and the list of them.
async fn images(unit: &Unit, context: &mut Context, folder: &Folder) -> Result<String, Failure> {
    let file = DatasetFile::Input {
        unit: unit.key.unit,
    };
    let key = ObjectKey::Dataset(unit.key.dir.clone(), file);
    let input = context.store().read_json::<UnitInput>(&key).await;
    let input =
        input.map_err(|error| Failure::of_store("could not read the frozen input", error))?;
    let input = input.ok_or_else(|| refuse(format!("the frozen input `{key}` is not there")))?;
    let list = folder.inputs().join("images.jsonl");
    let mut lines = Vec::new();
    for (n, image) in input.value.images.iter().enumerate() {
        context.check_stop()?;
        let bytes = match context.store().get_bytes(&image.key).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                context.rejected(&image.key, "missing", "it is not there any more");
                continue;
            }
            Err(error) => return Err(Failure::of_store("could not read an image", error)),
        };
        if cellmill_core::ids::sha256_hex(&bytes) != image.sha256 {
            context.rejected(
                &image.key,
                "changed",
                "its bytes are not those that were frozen",
            );
            continue;
        }
        // The name may hold anything; the ending tells some programs how to read it.
        let ending = image.name.rsplit_once('.').map_or("", |(_, it)| it);
        let is_plain = ending.len() <= 5 && ending.bytes().all(|b| b.is_ascii_alphanumeric());
        let ending = if is_plain { ending } else { "" };
        let path = folder.inputs().join(format!("{n:05}.{ending}"));
        std::fs::write(&path, &bytes).map_err(|error| unwritten(&path, error))?;
        let mut line = serde_json::to_value(image).unwrap_or_default();
        line["file"] = json!(path.display().to_string());
        lines.extend(format!("{line}\n").bytes());
    }
    std::fs::write(&list, lines).map_err(|error| unwritten(&list, error))?;
    Ok(list.display().to_string())
}

/// The model of a prediction.
async fn model(store: &Store, mid: u64, folder: &Folder) -> Result<String, Failure> {
    let card = store.read_model_card(mid).await;
    let card = card.map_err(|error| Failure::of_store("could not read the model's card", error))?;
    let card = card
        .ok_or_else(|| refuse(format!("there is no model {mid}")))?
        .value;
    let path = folder.inputs().join("model");
    save(store, &card.file, &path).await?;
    let bytes = serde_json::to_vec(&card).unwrap_or_default();
    let beside = folder.inputs().join("model.json");
    std::fs::write(&beside, bytes).map_err(|error| unwritten(&beside, error))?;
    Ok(path.display().to_string())
}

/// One frozen piece, or all of them.
async fn pieces(unit: &Unit, context: &Context, one: Option<u32>) -> Result<Cells, Failure> {
    let mut pieces: Vec<ProjectInput> = Vec::new();
    let mut next = one.unwrap_or(0);
    while let Some(piece) = read_piece(context.store(), &unit.key.dir, next).await? {
        pieces.push(piece);
        next += 1;
        if one.is_some() {
            break;
        }
    }
    if pieces.is_empty() {
        return Err(refuse(format!(
            "piece {next} of the frozen input does not exist"
        )));
    }
    Ok(Cells { pieces })
}

/// The cells as PNGs, and the list of them.
async fn write_cells(
    bench: &Bench,
    cells: &Cells,
    context: &mut Context,
    folder: &Folder,
) -> Result<String, Failure> {
    let list = folder.inputs().join("cells.jsonl");
    let file = File::create(&list).map_err(|error| unwritten(&list, error))?;
    let mut file = BufWriter::new(file);
    let place = folder.inputs().join("cells");
    std::fs::create_dir(&place).map_err(|error| unwritten(&place, error))?;
    let all: Vec<_> = cells.all().collect();
    let wanted = all.iter().enumerate().map(|(at, (piece, cell))| Wanted {
        at,
        pack: &piece.packs[cell.pack as usize],
        name: &cell.name,
    });
    let mut reader = CellReader::new(&bench.compute, &bench.limits, &[], wanted);
    while let Some(pictures) = reader.next(context).await? {
        for picture in pictures {
            let (piece, cell) = all[picture.at];
            let image = &piece.images[cell.image as usize];
            let path = place.join(format!("{:07}.png", picture.at));
            std::fs::write(&path, &picture.png).map_err(|error| unwritten(&path, error))?;
            let line = json!({
                "at": picture.at,
                "file": path.display().to_string(),
                "name": cell.name,
                "class": cell.class,
                "x1": cell.crop.x1, "y1": cell.crop.y1, "x2": cell.crop.x2, "y2": cell.crop.y2,
                "image": image.key,
                "imgid": image.imgid,
                "batch": image.batch,
                "case": image.case,
            });
            writeln!(file, "{line}").map_err(|error| unwritten(&list, error))?;
        }
    }
    file.flush().map_err(|error| unwritten(&list, error))?;
    Ok(list.display().to_string())
}
