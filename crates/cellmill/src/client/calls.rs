//! The calls, one function each.

use std::fmt;

use cellmill_api::views::{
    ClassTableView, DatasetView, EditLabel, FileView, GrantUploads, Health, ImageView, JobView,
    KeyStatus, LabelTypeBody, LabelTypeView, LabelView, ModelView, NewDataset, NewModel,
    NewProject, NewWeights, OperationBody, Page, PointsView, ProjectView, Promote, Promoted,
    SignParts, SignedPartView, SignedParts, StatusRequest, StoredUpload, UnitView, UploadAnswer,
    UploadAnswers, UploadFile, UploadStatus, UploadView, WantedPartBody, WhyView, WorkerView,
};
use cellmill_core::classes::ClassTable;
use cellmill_core::ids::TableName;
use cellmill_core::keys::JobKind;
use reqwest::{Body, Method, header};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Client, Error, SignedRequest};

const V1: [&str; 2] = ["api", "v1"];
/// The most that a list gives at once.
const PAGE: &str = "1000";

/// What a person may ask of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobWish {
    Cancel,
    Stop,
    Raise,
    Retry,
}

impl fmt::Display for JobWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::Stop => "stop",
            Self::Raise => "raise",
            Self::Retry => "retry",
        })
    }
}

/// Which of a list's items are wanted; an empty text wants all.
pub type Filter<'a> = (&'a str, &'a str);

impl Client {
    fn v1(&self, parts: &[&str], query: &[Filter<'_>]) -> reqwest::Url {
        let wanted: Vec<_> = query
            .iter()
            .copied()
            .filter(|(_, it)| !it.is_empty())
            .collect();
        self.at(&[&V1, parts].concat(), &wanted)
    }

    /// Does a server answer at all?
    pub async fn health(&self) -> Result<Health, Error> {
        self.get(self.at(&["health"], &[])).await
    }

    /// Asks where to send files. The answers are in the order of the files.
    pub async fn ask_uploads(&self, files: &[UploadFile]) -> Result<Vec<UploadAnswer>, Error> {
        let url = self.v1(&["uploads"], &[]);
        let body = GrantUploads {
            files: files.to_vec(),
        };
        let answer: UploadAnswers = self.send_json(Method::POST, url, &body).await?;
        Ok(answer.files)
    }

    /// Sends bytes as somebody signed it: a file, or a part of one.
    pub async fn put(&self, signed: &SignedRequest, n_bytes: u64, body: Body) -> Result<(), Error> {
        let method = Method::from_bytes(signed.method.as_bytes()).unwrap_or(Method::PUT);
        let mut request = self.request(method, &signed.url)?;
        for (name, value) in &signed.headers {
            if !name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str()) {
                request = request.header(name, value);
            }
        }
        request = request.header(header::CONTENT_LENGTH, n_bytes).body(body);
        self.send(request, "an upload").await?;
        Ok(())
    }

    /// An upload in parts, and which of them are there.
    pub async fn upload(&self, id: &str) -> Result<UploadView, Error> {
        self.get(self.v1(&["uploads", id], &[])).await
    }

    /// Asks for the right to send parts of an upload. The answers are in the order of the parts.
    pub async fn sign_parts(
        &self,
        id: &str,
        parts: Vec<WantedPartBody>,
    ) -> Result<Vec<SignedPartView>, Error> {
        let url = self.v1(&["uploads", id, "parts"], &[]);
        let answer: SignedParts = self
            .send_json(Method::POST, url, &SignParts { parts })
            .await?;
        Ok(answer.parts)
    }

    /// Makes the file of its parts. Again is the same as once.
    pub async fn complete_upload(&self, id: &str) -> Result<StoredUpload, Error> {
        let url = self.v1(&["uploads", id, "complete"], &[]);
        self.send_json(Method::POST, url, &json!({})).await
    }

    /// How far images and CSVs came, by key.
    pub async fn status(&self, keys: &[String]) -> Result<Vec<KeyStatus>, Error> {
        let url = self.v1(&["status"], &[]);
        let body = StatusRequest {
            keys: keys.to_vec(),
        };
        let answer: Page<KeyStatus> = self.send_json(Method::POST, url, &body).await?;
        Ok(answer.items)
    }

    pub async fn images(&self, filters: &[Filter<'_>]) -> Result<Vec<ImageView>, Error> {
        self.all(&["images"], filters).await
    }

    pub async fn image(&self, key: &str) -> Result<ImageView, Error> {
        self.get(self.v1(&["image"], &[("key", key)])).await
    }

    pub async fn image_bytes(&self, key: &str) -> Result<Vec<u8>, Error> {
        self.get_bytes(self.v1(&["image", "bytes"], &[("key", key)]))
            .await
    }

    /// The label of an image, as the server shows it.
    pub async fn label(&self, key: &str) -> Result<LabelView, Error> {
        self.get(self.v1(&["image", "label"], &[("key", key)]))
            .await
    }

    /// A person's operations on the label of an image: all are taken or none.
    pub async fn edit_label(
        &self,
        key: &str,
        operations: Vec<OperationBody>,
    ) -> Result<LabelView, Error> {
        let url = self.v1(&["image", "label"], &[("key", key)]);
        self.send_json(Method::POST, url, &EditLabel { operations })
            .await
    }

    pub async fn points(&self, filters: &[Filter<'_>]) -> Result<Vec<PointsView>, Error> {
        self.all(&["points"], filters).await
    }

    /// Stores a class table under its name.
    pub async fn put_classes(&self, table: &ClassTable) -> Result<ClassTableView, Error> {
        let url = self.v1(&["classes", &table.name], &[]);
        self.send_json(Method::PUT, url, table).await
    }

    /// All class tables of the server.
    pub async fn classes(&self) -> Result<Vec<ClassTableView>, Error> {
        self.all(&["classes"], &[]).await
    }

    pub async fn create_dataset(&self, wish: &NewDataset) -> Result<DatasetView, Error> {
        self.send_json(Method::POST, self.v1(&["datasets"], &[]), wish)
            .await
    }

    pub async fn datasets(&self) -> Result<Vec<DatasetView>, Error> {
        self.all(&["datasets"], &[]).await
    }

    pub async fn dataset(&self, dir: &str) -> Result<DatasetView, Error> {
        self.get(self.v1(&["datasets", dir], &[])).await
    }

    /// The documented files of a data set that are there.
    pub async fn dataset_files(&self, dir: &str) -> Result<Vec<FileView>, Error> {
        self.all(&["datasets", dir, "files"], &[]).await
    }

    pub async fn dataset_file(&self, dir: &str, name: &str) -> Result<Vec<u8>, Error> {
        let mut parts = vec!["datasets", dir, "files"];
        parts.extend(name.split('/'));
        self.get_bytes(self.v1(&parts, &[])).await
    }

    /// All label types of the server.
    pub async fn label_types(&self) -> Result<Vec<LabelTypeView>, Error> {
        self.all(&["label-types"], &[]).await
    }

    pub async fn label_type(&self, name: &str) -> Result<LabelTypeView, Error> {
        self.get(self.v1(&["label-types", name], &[])).await
    }

    /// Defines a label type, or changes it.
    pub async fn put_label_type(
        &self,
        name: &str,
        settings: &LabelTypeBody,
    ) -> Result<LabelTypeView, Error> {
        let url = self.v1(&["label-types", name], &[]);
        self.send_json(Method::PUT, url, settings).await
    }

    /// Wants a training of a label type at the next sweep.
    pub async fn train_label_type(&self, name: &str) -> Result<LabelTypeView, Error> {
        let url = self.v1(&["label-types", name, "train"], &[]);
        self.send_json(Method::POST, url, &json!({})).await
    }

    /// Asks for a training or a prediction.
    pub async fn create_project(&self, wish: &NewProject) -> Result<ProjectView, Error> {
        self.send_json(Method::POST, self.v1(&["projects"], &[]), wish)
            .await
    }

    pub async fn projects(&self) -> Result<Vec<ProjectView>, Error> {
        self.all(&["projects"], &[]).await
    }

    pub async fn project(&self, dir: &str) -> Result<ProjectView, Error> {
        self.get(self.v1(&["projects", dir], &[])).await
    }

    /// The files of a project that are there, pictures of cells among them.
    pub async fn project_files(&self, dir: &str) -> Result<Vec<FileView>, Error> {
        self.all(&["projects", dir, "files"], &[]).await
    }

    pub async fn project_file(&self, dir: &str, name: &str) -> Result<Vec<u8>, Error> {
        let mut parts = vec!["projects", dir, "files"];
        parts.extend(name.split('/'));
        self.get_bytes(self.v1(&parts, &[])).await
    }

    pub async fn models(&self) -> Result<Vec<ModelView>, Error> {
        self.all(&["models"], &[]).await
    }

    pub async fn model(&self, mid: u64) -> Result<ModelView, Error> {
        self.get(self.v1(&["models", &mid.to_string()], &[])).await
    }

    pub async fn model_file(&self, mid: u64) -> Result<Vec<u8>, Error> {
        self.get_bytes(self.v1(&["models", &mid.to_string(), "file"], &[]))
            .await
    }

    /// Announces a model, whose file is sent by [`send_model_file`](Self::send_model_file).
    pub async fn create_model(&self, model: &NewModel) -> Result<ModelView, Error> {
        self.send_json(Method::POST, self.v1(&["models"], &[]), model)
            .await
    }

    /// Sends the file of an announced model to where the server wants it. Again is the same as once.
    pub async fn send_model_file(&self, mid: u64, bytes: Vec<u8>) -> Result<ModelView, Error> {
        let mid = mid.to_string();
        let url = self.v1(&["models", &mid, "upload"], &[]);
        let grant: UploadAnswer = self.send_json(Method::POST, url, &json!({})).await?;
        if grant.status == UploadStatus::Send {
            let n_bytes = bytes.len() as u64;
            self.put(&SignedRequest::of(&grant), n_bytes, bytes.into())
                .await?;
        }
        let url = self.v1(&["models", &mid, "complete"], &[]);
        self.send_json(Method::POST, url, &json!({})).await
    }

    /// Sends a file of weights, unless the server has it; its key.
    pub async fn send_weights(
        &self,
        weights: &NewWeights,
        bytes: Vec<u8>,
    ) -> Result<String, Error> {
        let grant: UploadAnswer = self
            .send_json(Method::POST, self.v1(&["weights"], &[]), weights)
            .await?;
        if grant.status == UploadStatus::Send {
            self.put(&SignedRequest::of(&grant), weights.bytes, bytes.into())
                .await?;
        }
        Ok(grant.key.unwrap_or_default())
    }

    /// Lets a label type use a model.
    pub async fn promote_model(&self, mid: u64, label_type: &TableName) -> Result<Promoted, Error> {
        let url = self.v1(&["models", &mid.to_string(), "promote"], &[]);
        let body = Promote {
            label_type: label_type.clone(),
        };
        self.send_json(Method::POST, url, &body).await
    }

    pub async fn jobs(&self, filters: &[Filter<'_>]) -> Result<Vec<JobView>, Error> {
        self.all(&["jobs"], filters).await
    }

    pub async fn job(&self, kind: JobKind, dir: &str) -> Result<JobView, Error> {
        self.get(self.v1(&["jobs", kind.as_str(), dir], &[])).await
    }

    /// The kind of the job in this directory, for people who know only that.
    pub async fn kind_of(&self, dir: &str) -> Result<JobKind, Error> {
        let mut refusal = None;
        for kind in JobKind::ALL {
            match self.job(kind, dir).await {
                Ok(job) => return Ok(job.kind),
                Err(Error::Refused {
                    status,
                    mut body,
                    retry_after_s,
                }) if status < 500 && status != 429 => {
                    if status == 404 {
                        body.message = format!("there is no job `{dir}`");
                    }
                    refusal.get_or_insert(Error::Refused {
                        status,
                        body,
                        retry_after_s,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal.expect("there is more than one kind"))
    }

    /// The workers that are there, and those that vanished.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Error> {
        self.all(&["workers"], &[]).await
    }

    /// What happened to a job, a unit, an image or a CSV.
    pub async fn why(&self, subject: &str) -> Result<WhyView, Error> {
        self.get(self.v1(&["why"], &[("subject", subject)])).await
    }

    pub async fn job_log(&self, kind: JobKind, dir: &str) -> Result<String, Error> {
        let bytes = self
            .get_bytes(self.v1(&["jobs", kind.as_str(), dir, "log"], &[]))
            .await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of a job's log: at most `max` bytes, from the beginning of a line.
    pub async fn job_log_tail(
        &self,
        kind: JobKind,
        dir: &str,
        max: usize,
    ) -> Result<String, Error> {
        let url = self.v1(&["jobs", kind.as_str(), dir, "log"], &[]);
        let (bytes, is_cut) = self.get_tail(url, max).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, rest)) if is_cut => format!("(what was before is left out)\n{rest}"),
            _ => text,
        })
    }

    /// The newest jobs of a kind.
    pub async fn newest_jobs(&self, kind: JobKind, max: usize) -> Result<Vec<JobView>, Error> {
        let max = max.to_string();
        let query = [("kind", kind.as_str()), ("limit", max.as_str())];
        let page: Page<JobView> = self.get(self.v1(&["jobs"], &query)).await?;
        Ok(page.items)
    }

    /// All units of a job.
    pub async fn units(&self, kind: JobKind, dir: &str) -> Result<Vec<UnitView>, Error> {
        self.all(&["jobs", kind.as_str(), dir, "units"], &[]).await
    }

    /// The page of figures.
    pub async fn metrics(&self) -> Result<String, Error> {
        let bytes = self.get_bytes(self.at(&["metrics"], &[])).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn wish(&self, kind: JobKind, dir: &str, wish: JobWish) -> Result<JobView, Error> {
        let url = self.v1(&["jobs", kind.as_str(), dir, &wish.to_string()], &[]);
        self.send_json(Method::POST, url, &json!({})).await
    }

    /// Every page of a list, one after the other.
    async fn all<T: DeserializeOwned>(
        &self,
        parts: &[&str],
        filters: &[Filter<'_>],
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mut query = filters.to_vec();
            query.extend([("limit", PAGE), ("after", after.as_str())]);
            let page: Page<T> = self.get(self.v1(parts, &query)).await?;
            items.extend(page.items);
            match page.next {
                Some(next) if next != after => after = next,
                _ => return Ok(items),
            }
        }
    }
}
