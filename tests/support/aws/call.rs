//! What a request asks for, read from its head alone.

use std::collections::HashMap;

use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::operation;

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Call {
    /// `s3`, `sqs`, `execute-api`, `lambda`, ... as the signature names it; `emulator` for unsigned requests to its own
    /// addresses.
    pub service: String,
    /// `GetObject`, `SendMessageBatch`, ...
    pub operation: String,
    /// S3: the first folder of the key, or of the prefix that is listed. Empty for everything else.
    pub prefix: String,
    /// The access key that signed. Programs that are given different ones can be told apart.
    pub caller: String,
    /// Signed in the address: a file that a client sends or fetches by itself.
    pub is_signed_url: bool,
}

/// A request as rules of faults look at it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub call: Call,
    /// It changes something.
    pub is_write: bool,
    /// It is to be done only in the place of what was seen before, or of nothing.
    pub is_conditional: bool,
    /// Method and address without the signature: equal for each try of one request.
    pub identity: String,
}

impl Seen {
    pub fn of(head: &Parts) -> Self {
        let query = query_of(head.uri.query().unwrap_or_default());
        let header = |name: &str| head.headers.get(name).and_then(|it| it.to_str().ok());
        let is_signed_url =
            query.contains_key("X-Amz-Signature") || query.contains_key("Signature");
        let path = head.uri.path();
        let (caller, signed_for) = signer(
            header("authorization"),
            query.get("X-Amz-Credential").map(String::as_str),
        );
        let target = header("x-amz-target").map(|it| {
            let (protocol, operation) = it.rsplit_once('.').unwrap_or(("", it));
            (
                protocol.split('_').next().unwrap_or_default(),
                operation.to_owned(),
            )
        });
        let service = if let Some(service) = signed_for {
            service
        } else if path.starts_with("/_") {
            "emulator".to_owned()
        } else if let Some(("AmazonSQS", _)) = target {
            "sqs".to_owned()
        } else {
            "s3".to_owned()
        };
        let (bucket_key, is_s3) = (bucket_and_key(path), service == "s3");
        let operation = match (target, query.get("Action")) {
            (Some((_, operation)), _) => operation,
            (None, Some(action)) => action.clone(),
            (None, None) if is_s3 => {
                let is_copy = head.headers.contains_key("x-amz-copy-source");
                operation::of_s3(&head.method, bucket_key.1.is_empty(), is_copy, &query).to_owned()
            }
            (None, None) => head.method.to_string(),
        };
        let prefix = match bucket_key.1.as_str() {
            _ if !is_s3 => "",
            "" => query.get("prefix").map_or("", |it| first_folder(it)),
            key => first_folder(key),
        };
        let is_write = match service.as_str() {
            "s3" => operation::is_s3_write(&operation),
            "sqs" => operation::is_sqs_write(&operation),
            _ => false,
        };
        let call = Call {
            prefix: prefix.to_owned(),
            service,
            operation,
            caller,
            is_signed_url,
        };
        Self {
            is_write,
            is_conditional: is_write
                && (head.headers.contains_key("if-match")
                    || head.headers.contains_key("if-none-match")),
            identity: identity(head, &query),
            call,
        }
    }
}

/// The access key, and the service that the signature is for.
fn signer(authorization: Option<&str>, in_query: Option<&str>) -> (String, Option<String>) {
    let in_header = authorization
        .and_then(|it| it.split_once("Credential="))
        .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default());
    // <access key>/<day>/<region>/<service>/aws4_request
    let scope = in_header.or(in_query).unwrap_or_default();
    let mut parts = scope.split('/');
    let caller = parts.next().unwrap_or_default().to_owned();
    (
        caller,
        parts.nth(2).filter(|it| !it.is_empty()).map(str::to_owned),
    )
}

/// `/<bucket>/<key>`, decoded.
fn bucket_and_key(path: &str) -> (String, String) {
    let decoded = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let (bucket, key) = decoded.split_once('/').unwrap_or((&decoded, ""));
    (bucket.to_owned(), key.to_owned())
}

fn first_folder(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

fn query_of(query: &str) -> HashMap<String, String> {
    let decoded = |it: &str| {
        let spaced = it.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|it| !it.is_empty());
    pairs
        .map(|it| {
            let (name, value) = it.split_once('=').unwrap_or((it, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn identity(head: &Parts, query: &HashMap<String, String>) -> String {
    let mut named: Vec<String> = query
        .iter()
        .filter(|(name, _)| !name.starts_with("X-Amz-"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    named.sort();
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|it| it.to_str().ok()).unwrap_or_default();
    format!(
        "{} {}?{} {target}",
        head.method,
        head.uri.path(),
        named.join("&")
    )
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn seen(method: &str, uri: &str, headers: &[(&str, &str)]) -> Seen {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Seen::of(&request.body(()).unwrap().into_parts().0)
    }

    fn signed(service: &str) -> (&'static str, String) {
        let scope = format!("worker/20261121/us-east-1/{service}/aws4_request");
        (
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        )
    }

    #[test]
    fn an_object_is_counted_by_the_first_folder_of_its_key() {
        let (name, value) = signed("s3");
        let it = seen(
            "PUT",
            "/bucket/records/img/b/c/Images/a%2Fb.png.json",
            &[(name, &value), ("if-none-match", "*")],
        );
        let call = Call {
            service: "s3".to_owned(),
            operation: "PutObject".to_owned(),
            prefix: "records".to_owned(),
            caller: "worker".to_owned(),
            is_signed_url: false,
        };
        assert_eq!(it.call, call);
        assert!(it.is_write && it.is_conditional);
    }

    #[test]
    fn a_conditional_read_is_no_conditional_write() {
        let it = seen(
            "GET",
            "/bucket/projects/a/train.json",
            &[("if-none-match", "\"1\"")],
        );
        assert_eq!(it.call.operation, "GetObject");
        assert!(!it.is_write && !it.is_conditional);
    }

    #[test]
    fn a_listing_is_counted_by_its_prefix() {
        let it = seen(
            "GET",
            "/bucket?list-type=2&prefix=active%2F&max-keys=9",
            &[],
        );
        assert_eq!(it.call.operation, "ListObjectsV2");
        assert_eq!(it.call.prefix, "active");
    }

    #[test]
    fn an_address_that_carries_its_signature_is_a_clients_own() {
        let uri = "/bucket/img/b/c/Images/a.png?X-Amz-Credential=api%2F20261121%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=0";
        let it = seen("PUT", uri, &[]);
        assert!(it.call.is_signed_url);
        assert_eq!(it.call.caller, "api");
        assert_eq!(it.call.prefix, "img");
    }

    #[test]
    fn messages_are_told_by_their_target() {
        let (name, value) = signed("sqs");
        let target = ("x-amz-target", "AmazonSQS.SendMessageBatch");
        let it = seen("POST", "/", &[(name, &value), target]);
        assert_eq!(it.call.service, "sqs");
        assert_eq!(it.call.operation, "SendMessageBatch");
        assert!(it.is_write);
        let unsigned = seen("POST", "/", &[("x-amz-target", "AmazonSQS.ReceiveMessage")]);
        assert_eq!(unsigned.call.service, "sqs");
        assert!(!unsigned.is_write);
    }

    #[test]
    fn other_services_are_counted_by_name() {
        let (name, value) = signed("cloudformation");
        let it = seen("POST", "/?Action=CreateStack", &[(name, &value)]);
        assert_eq!(it.call.service, "cloudformation");
        assert_eq!(it.call.operation, "CreateStack");
        let own = seen("GET", "/_localstack/health", &[]);
        assert_eq!(own.call.service, "emulator");
        let (name, value) = signed("execute-api");
        let door = seen("GET", "/_aws/execute-api/0/health", &[(name, &value)]);
        assert_eq!(door.call.service, "execute-api");
    }

    #[test]
    fn two_tries_of_one_request_have_one_identity() {
        let a = seen("PUT", "/b/k?partNumber=1&X-Amz-Signature=0&uploadId=x", &[]);
        let b = seen("PUT", "/b/k?uploadId=x&partNumber=1&X-Amz-Signature=1", &[]);
        assert_eq!(a.identity, b.identity);
    }
}
