//! Status 4: the worker's own files become the outputs of its attempt.
//!
//! They lie at fixed places where a worker that wakes late may write again. So what was checked is copied under the
//! attempt, named by its content, and the commit names the copies: collect works on those, as for any other worker.

use std::collections::BTreeSet;

use bytes::Bytes;
use cellmill_core::formats::{
    CellsList, CellsListRow, DatasetInfo, Indent, PredictResult, TrainResult, read_file_list,
    to_json,
};
use cellmill_core::ids::sha256_hex;
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{DatasetFile, ObjectKey, ProjectFile};
use cellmill_core::legacy_files::{Unfit, check_dataset, check_prediction, check_training};
use cellmill_core::unit::{Output, UnitRecord};
use cellmill_store::Put;
use futures::TryStreamExt as _;
use serde::de::DeserializeOwned;

use super::{read, unit_of};
use crate::parts::App;
use crate::routes::uploads::hash_of;

/// The largest table or JSON that is read, 512 MiB: some millions of cells.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Why the files are not taken over.
#[derive(Debug)]
pub(super) enum AdoptError {
    /// They are not what they should be: the job fails with this text.
    Unfit(String),
    /// Storage does not answer: the worker's next report may find it in a better state.
    Store(cellmill_store::Error),
}

impl From<cellmill_store::Error> for AdoptError {
    fn from(error: cellmill_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Unfit> for AdoptError {
    fn from(error: Unfit) -> Self {
        Self::Unfit(error.0)
    }
}

/// Checks what the worker left and copies it for the commit.
pub(super) async fn outputs(
    app: &App,
    job: &JobRecord,
    unit: &UnitRecord,
) -> Result<Vec<Output>, AdoptError> {
    let attempt = Attempt { app, job, unit };
    let mut outputs = match job.parameters {
        JobParameters::Data(_) => attempt.dataset().await?,
        JobParameters::Train(_) => attempt.training().await?,
        JobParameters::Predict(_) => attempt.prediction().await?,
    };
    let log = read::log_bytes(app, job.kind, &job.dir).await?;
    outputs.push(attempt.keep("log", "txt", log).await?);
    Ok(outputs)
}

struct Attempt<'a> {
    app: &'a App,
    job: &'a JobRecord,
    unit: &'a UnitRecord,
}

impl Attempt<'_> {
    async fn dataset(&self) -> Result<Vec<Output>, AdoptError> {
        let file = |file| ObjectKey::Dataset(self.job.dir.clone(), file);
        let info2: DatasetInfo = self.read_json(&file(DatasetFile::Info2)).await?;
        let table = file(DatasetFile::CellsList { part: 0 });
        let mut rows = self.read_rows(&table, info2.labelcnt == 0).await?;
        let list = self.read(&file(DatasetFile::FileList)).await?;
        let images = read_file_list(&list)
            .map_err(|error| unreadable(&file(DatasetFile::FileList), &error))?;
        let images: BTreeSet<String> = images.into_iter().map(|it| it.imgpath).collect();
        check_dataset(self.job, &info2, &mut rows, &images)?;
        let mut table = Vec::new();
        CellsListRow::write_header(&mut table);
        CellsListRow::write_rows(&rows, &mut table);
        // Its lists are in the table; what stays of it are the keys that only its worker knows.
        let info2 = to_json(&info2.without_lists(), Indent::Two);
        Ok(vec![
            self.keep("rows", "csv", table).await?,
            self.keep("info2", "json", info2).await?,
        ])
    }

    async fn prediction(&self) -> Result<Vec<Output>, AdoptError> {
        let key = self.project_file(ProjectFile::Predict2 { part: 0 });
        let mut result: PredictResult = self.read_json(&key).await?;
        check_prediction(self.job, &mut result)?;
        let mut lines = Vec::new();
        for cell in &result.crop_cells {
            serde_json::to_writer(&mut lines, cell).expect("a cell is text and numbers");
            lines.push(b'\n');
        }
        Ok(vec![self.keep("cells", "jsonl", lines).await?])
    }

    async fn training(&self) -> Result<Vec<Output>, AdoptError> {
        let key = self.project_file(ProjectFile::Model);
        let result: TrainResult = self.read_json(&key).await?;
        let (model, extension) = check_training(self.job, &result)?;
        let result = to_json(&result, Indent::Two);
        Ok(vec![
            self.keep("mod", "json", result).await?,
            self.keep_model(&model, &extension).await?,
        ])
    }

    fn project_file(&self, file: ProjectFile) -> ObjectKey {
        ObjectKey::Project(self.job.dir.clone(), file)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Bytes, AdoptError> {
        let Some(head) = self.app.store.head(key).await? else {
            return Err(AdoptError::Unfit(format!("`{key}` is not there")));
        };
        if head.size > MAX_FILE_BYTES {
            return Err(AdoptError::Unfit(format!(
                "`{key}` has {} bytes, the limit is {MAX_FILE_BYTES}",
                head.size
            )));
        }
        Ok(self.app.store.get_bytes(key).await?)
    }

    async fn read_json<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<T, AdoptError> {
        let bytes = self.read(key).await?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(key, &error))
    }

    async fn read_rows(
        &self,
        key: &ObjectKey,
        may_be_absent: bool,
    ) -> Result<Vec<CellsListRow>, AdoptError> {
        if may_be_absent && self.app.store.head(key).await?.is_none() {
            return Ok(Vec::new());
        }
        let bytes = self.read(key).await?;
        let rows = CellsList::new(&bytes[..]).and_then(Iterator::collect::<Result<_, _>>);
        rows.map_err(|error| unreadable(key, &error))
    }

    /// Puts bytes under the attempt, named by their role and content.
    async fn keep(
        &self,
        name: &str,
        extension: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Output, AdoptError> {
        let bytes = bytes.into();
        let sha256 = sha256_hex(&bytes);
        let key = self.place(name, extension, &sha256);
        let n_bytes = bytes.len() as u64;
        self.app.store.put_bytes(&key, bytes, Put::IfSame).await?;
        Ok(output(name, &key, n_bytes, sha256))
    }

    /// Copies the model's file, which may be larger than memory. It is read twice: its name is its content's.
    async fn keep_model(&self, from: &str, extension: &str) -> Result<Output, AdoptError> {
        let store = &self.app.store;
        let Some(head) = store.head(from).await? else {
            return Err(AdoptError::Unfit(format!(
                "the model `{from}` of mod.json is not there"
            )));
        };
        let sha256 = hash_of(store, from)
            .await
            .map_err(|error| AdoptError::Unfit(cellmill_service::report(&error)))?
            .to_string();
        let key = self.place("model", extension, &sha256);
        let mut writer = store.writer(&key, Put::Overwrite)?;
        let (_, mut pieces) = store.get_stream(from).await?;
        while let Some(piece) = pieces.try_next().await? {
            writer.write(&piece).await?;
        }
        writer.finish().await?;
        Ok(output("model", &key, head.size, sha256))
    }

    fn place(&self, name: &str, extension: &str, sha256: &str) -> ObjectKey {
        ObjectKey::UnitOutput {
            unit: unit_of(self.job),
            attempt: self.unit.attempt,
            file: format!("{name}-{}.{extension}", &sha256[..16]),
        }
    }
}

fn output(name: &str, key: &ObjectKey, bytes: u64, sha256: String) -> Output {
    Output {
        name: name.to_owned(),
        key: key.to_path(),
        bytes,
        sha256,
    }
}

fn unreadable(key: &ObjectKey, error: &(dyn std::error::Error + 'static)) -> AdoptError {
    AdoptError::Unfit(format!(
        "`{key}` can't be read: {}",
        cellmill_service::report(error)
    ))
}
