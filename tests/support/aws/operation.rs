//! Operations of S3 by method and query, and what AWS charges them as.

use std::collections::HashMap;

use hyper::Method;
use serde::{Deserialize, Serialize};

/// What AWS charges a request as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// PUT, COPY, POST, LIST.
    Put,
    /// GET, HEAD and everything else of S3.
    Get,
    /// DELETE and aborted uploads.
    Free,
}

/// The operation of S3 that a request is.
pub(super) fn of_s3(
    method: &Method,
    is_bucket: bool,
    is_copy: bool,
    query: &HashMap<String, String>,
) -> &'static str {
    let has = |name: &str| query.contains_key(name);
    let is_settings = SUBRESOURCES.iter().any(|it| has(it));
    match (method.as_str(), is_bucket) {
        ("GET", true) if has("uploads") => "ListMultipartUploads",
        ("GET", true) if has("versions") => "ListObjectVersions",
        ("GET", true) if is_settings => "GetBucketSettings",
        ("GET", true) if has("list-type") => "ListObjectsV2",
        ("GET", true) => "ListObjects",
        ("HEAD", true) => "HeadBucket",
        ("PUT", true) if is_settings => "PutBucketSettings",
        ("PUT", true) => "CreateBucket",
        ("POST", true) if has("delete") => "DeleteObjects",
        ("POST", true) => "PostObject",
        ("DELETE", true) => "DeleteBucket",
        ("GET", false) if has("uploadId") => "ListParts",
        ("GET", false) if is_settings => "GetObjectSettings",
        ("GET", false) => "GetObject",
        ("HEAD", false) => "HeadObject",
        ("PUT", false) if has("partNumber") && is_copy => "UploadPartCopy",
        ("PUT", false) if has("partNumber") => "UploadPart",
        ("PUT", false) if is_settings => "PutObjectSettings",
        ("PUT", false) if is_copy => "CopyObject",
        ("PUT", false) => "PutObject",
        ("POST", false) if has("uploads") => "CreateMultipartUpload",
        ("POST", false) if has("uploadId") => "CompleteMultipartUpload",
        ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", false) => "DeleteObject",
        _ => "Other",
    }
}

/// Queries that ask for settings of a bucket or an object instead of its content.
const SUBRESOURCES: [&str; 13] = [
    "acl",
    "attributes",
    "cors",
    "encryption",
    "lifecycle",
    "location",
    "notification",
    "policy",
    "publicAccessBlock",
    "retention",
    "tagging",
    "versioning",
    "object-lock",
];

pub(super) fn is_s3_write(operation: &str) -> bool {
    matches!(
        operation,
        "PutObject"
            | "PostObject"
            | "CopyObject"
            | "DeleteObject"
            | "DeleteObjects"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "UploadPartCopy"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "PutObjectSettings"
    )
}

/// Receiving changes what others see, but whoever does not get the answer has lost nothing for good.
pub(super) fn is_sqs_write(operation: &str) -> bool {
    operation.starts_with("SendMessage")
        || operation.starts_with("DeleteMessage")
        || operation.starts_with("ChangeMessageVisibility")
}

/// What S3 charges an operation as.
pub fn charge(operation: &str) -> Charge {
    match operation {
        "DeleteObject" | "DeleteObjects" | "DeleteBucket" | "AbortMultipartUpload" => Charge::Free,
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "PutObjectSettings"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListObjectVersions"
        | "ListMultipartUploads"
        | "ListParts" => Charge::Put,
        _ => Charge::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, is_bucket: bool, names: &[&str]) -> &'static str {
        let query = names
            .iter()
            .map(|it| ((*it).to_owned(), String::new()))
            .collect();
        of_s3(
            &Method::from_bytes(method.as_bytes()).unwrap(),
            is_bucket,
            false,
            &query,
        )
    }

    #[test]
    fn method_and_query_say_what_is_asked() {
        for (method, is_bucket, query, expected) in [
            ("GET", false, &[][..], "GetObject"),
            ("HEAD", false, &[], "HeadObject"),
            ("PUT", false, &[], "PutObject"),
            ("DELETE", false, &[], "DeleteObject"),
            ("GET", true, &["list-type", "prefix"], "ListObjectsV2"),
            ("POST", false, &["uploads"], "CreateMultipartUpload"),
            ("PUT", false, &["partNumber", "uploadId"], "UploadPart"),
            ("POST", false, &["uploadId"], "CompleteMultipartUpload"),
            ("GET", false, &["uploadId"], "ListParts"),
            ("DELETE", false, &["uploadId"], "AbortMultipartUpload"),
            ("PUT", false, &["tagging"], "PutObjectSettings"),
            ("GET", true, &["location"], "GetBucketSettings"),
        ] {
            assert_eq!(of(method, is_bucket, query), expected);
        }
    }

    #[test]
    fn listing_costs_as_much_as_writing_and_deleting_nothing() {
        assert_eq!(charge("ListObjectsV2"), Charge::Put);
        assert_eq!(charge("HeadObject"), Charge::Get);
        assert_eq!(charge("DeleteObject"), Charge::Free);
    }
}
