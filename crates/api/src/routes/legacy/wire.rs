//! Requests and answers of the predecessor's workers, byte by byte (FORMATS A.5).

use axum::response::{IntoResponse, Response};
use cellmill_core::job::{DataParameters, JobRecord};
use cellmill_core::legacy;
use cellmill_store::Versioned;
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value};

/// Numbers of the predecessor's errors (FORMATS A.11).
pub(super) mod codes {
    pub(in super::super) const UNKNOWN: u32 = 1;
    pub(in super::super) const POST_DATA_INVALID: u32 = 40;
    pub(in super::super) const PROJECT_NOT_READY: u32 = 100;
    pub(in super::super) const DATASETS_NOT_FOUND: u32 = 110;
}

#[derive(Serialize)]
struct Envelope<T> {
    status: u32,
    data: T,
}

/// Success, always 200.
pub(super) fn answer<T: Serialize>(data: T) -> Response {
    envelope(&Envelope { status: 0, data })
}

/// Failure, 200 too: the number says what it is.
pub(super) fn failure(code: u32) -> Response {
    envelope(&Envelope {
        status: code,
        data: Value::Null,
    })
}

fn envelope<T: Serialize>(envelope: &Envelope<T>) -> Response {
    let body = serde_json::to_vec(envelope).expect("an answer is text, numbers and lists");
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// The fields of a request, read as the predecessor's server does: names in any case, whole numbers only, a field
/// that is missing or `null` is 0, others are passed over.
pub(super) struct Fields(Map<String, Value>);

/// A field is there and holds no whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoNumber;

impl Fields {
    /// `None`: this is no JSON object.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let any_case = || {
            let mut fields = self.0.iter();
            fields.find(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let found = self.0.get(name);
        found
            .or_else(|| any_case().map(|(_, value)| value))
            .filter(|it| !it.is_null())
    }

    /// `None`: it is there and no whole number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.find(name).map_or(Some(0), Value::as_i64)
    }

    /// As [`number`](Self::number), told apart from a field that is missing.
    pub(super) fn optional(&self, name: &str) -> Result<Option<i64>, NoNumber> {
        match self.find(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or(NoNumber),
        }
    }
}

/// A data set's row, in the predecessor's order.
#[derive(Serialize)]
pub(super) struct DatasetRow {
    id: u64,
    desc: String,
    status: u8,
    dir: String,
    processtime: String,
    processend: String,
    process_percent: u8,
    #[serde(rename = "ETA")]
    eta: u64,
    parameter_gray: u8,
    parameter_size: u32,
    parameter_type: u8,
    parameter_mid: u64,
    parameter_cache: u8,
    types: Option<Vec<u32>>,
    batchids: Option<Vec<String>>,
    medicalids: Option<Vec<String>>,
    username: String,
    userimg: String,
    created_by: u64,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

/// A training's or a prediction's row, in the predecessor's order.
#[derive(Serialize)]
pub(super) struct ProjectRow {
    id: u64,
    did: u64,
    desc: String,
    dir: String,
    status: u8,
    #[serde(rename = "type")]
    project_type: u32,
    starttime: String,
    endtime: String,
    percent: u8,
    #[serde(rename = "ETA")]
    eta: u64,
    username: String,
    userimg: String,
    created_by: u64,
    created_at: String,
    updated_at: String,
    parameter_time: u64,
    parameter_resize: u32,
    parameter_mid: u64,
    parameter_mtype: u8,
    parameter_type: u32,
    cellstype: Option<Vec<CellsType>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

#[derive(Serialize)]
struct CellsType {
    #[serde(rename = "type")]
    class: u32,
    total: u64,
}

/// What a row says beside the job's record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    pub(super) status: u8,
    pub(super) percent: u8,
    pub(super) eta_s: u64,
    /// Of the job's model, 0 when there is none yet.
    pub(super) mtype: u8,
    /// Told to workers that named the field in their request, and to no other.
    pub(super) attempt: Option<u32>,
}

impl DatasetRow {
    /// What Go has for nothing.
    pub(super) fn zero() -> Self {
        Self {
            id: 0,
            desc: String::new(),
            status: 0,
            dir: String::new(),
            processtime: go_time(None),
            processend: go_time(None),
            process_percent: 0,
            eta: 0,
            parameter_gray: 0,
            parameter_size: 0,
            parameter_type: 0,
            parameter_mid: 0,
            parameter_cache: 0,
            types: None,
            batchids: None,
            medicalids: None,
            username: String::new(),
            userimg: String::new(),
            created_by: 0,
            created_at: go_time(None),
            updated_at: go_time(None),
            attempt: None,
        }
    }

    pub(super) fn of(
        job: &Versioned<JobRecord>,
        parameters: &DataParameters,
        shown: Shown,
    ) -> Self {
        let record = &job.value;
        let texts = |it: Vec<String>| (!it.is_empty()).then_some(it);
        Self {
            id: record.number,
            desc: record.description.clone(),
            status: shown.status,
            dir: record.dir.to_string(),
            processtime: go_time(record.times.started),
            processend: go_time(record.times.ended),
            process_percent: shown.percent,
            eta: shown.eta_s,
            parameter_gray: u8::from(parameters.gray),
            parameter_size: parameters.size,
            parameter_type: parameters.data_type.number(),
            parameter_mid: parameters.mid,
            parameter_cache: u8::from(parameters.cache),
            types: types_of(record),
            batchids: texts(parameters.batches.iter().map(ToString::to_string).collect()),
            medicalids: texts(parameters.cases.iter().map(ToString::to_string).collect()),
            username: record.by.clone(),
            created_at: go_time(Some(record.times.created)),
            updated_at: go_time(Some(job.last_modified)),
            attempt: shown.attempt,
            ..Self::zero()
        }
    }
}

/// The classes of a finished data set.
fn types_of(job: &JobRecord) -> Option<Vec<u32>> {
    let types = job.result.as_ref()?.get("types")?.as_array()?;
    let class = |it: &Value| it.get("celltype")?.as_u64()?.try_into().ok();
    Some(types.iter().filter_map(class).collect())
}

impl ProjectRow {
    /// What Go has for nothing.
    pub(super) fn zero() -> Self {
        Self {
            id: 0,
            did: 0,
            desc: String::new(),
            dir: String::new(),
            status: 0,
            project_type: 0,
            starttime: go_time(None),
            endtime: go_time(None),
            percent: 0,
            eta: 0,
            username: String::new(),
            userimg: String::new(),
            created_by: 0,
            created_at: go_time(None),
            updated_at: go_time(None),
            parameter_time: 0,
            parameter_resize: 0,
            parameter_mid: 0,
            parameter_mtype: 0,
            parameter_type: 0,
            cellstype: None,
            attempt: None,
        }
    }

    pub(super) fn of(job: &Versioned<JobRecord>, shown: Shown) -> Self {
        let record = &job.value;
        let keys = record.project.clone().unwrap_or_default();
        Self {
            id: record.number,
            did: keys.did,
            desc: record.description.clone(),
            dir: record.dir.to_string(),
            status: shown.status,
            project_type: keys.project_type,
            starttime: go_time(record.times.started),
            endtime: go_time(record.times.ended),
            percent: shown.percent,
            eta: shown.eta_s,
            username: record.by.clone(),
            created_at: go_time(Some(record.times.created)),
            updated_at: go_time(Some(job.last_modified)),
            parameter_time: keys.parameter_time,
            parameter_resize: keys.parameter_resize,
            parameter_mid: keys.parameter_mid,
            parameter_mtype: shown.mtype,
            parameter_type: keys.parameter_type,
            cellstype: cells_types(record),
            attempt: shown.attempt,
            ..Self::zero()
        }
    }
}

/// The counts of a prediction that is done.
fn cells_types(job: &JobRecord) -> Option<Vec<CellsType>> {
    let counts = job.result.as_ref()?.as_array()?;
    let count = |it: &Value| {
        Some(CellsType {
            class: it.get("type")?.as_u64()?.try_into().ok()?,
            total: it.get("total")?.as_u64()?,
        })
    };
    Some(counts.iter().filter_map(count).collect())
}

/// What `/api1/jobpercent` says.
#[derive(Serialize)]
pub(super) struct Standing {
    percent: u8,
    #[serde(rename = "ETA")]
    eta: u64,
    status: u8,
}

impl Standing {
    pub(super) fn of(job: &JobRecord, percent: u8, eta_s: Option<u64>) -> Self {
        Self {
            percent,
            eta: eta_s.unwrap_or(0),
            status: legacy::status(job),
        }
    }
}

/// RFC 3339 in whole seconds, as its database keeps them; Go's zero time for none.
fn go_time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |it| it.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_go_reads_them() {
        let fields = Fields::parse(
            br#"{"ID":7,"status":null,"type":"1","percent":47.0,"eta":-1,"ml_first":true}"#,
        )
        .unwrap();
        assert_eq!(fields.number("id"), Some(7));
        assert_eq!(fields.number("status"), Some(0));
        assert_eq!(fields.number("mtype"), Some(0));
        assert_eq!(fields.number("ETA"), Some(-1));
        assert_eq!(fields.number("type"), None);
        assert_eq!(fields.number("percent"), None);
        assert_eq!(fields.optional("attempt"), Ok(None));
        for bad in ["", "[]", "1", "{\"id\":}", "null"] {
            assert!(Fields::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
