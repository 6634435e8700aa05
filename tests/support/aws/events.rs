//! Messages about created objects, as S3 writes them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::objects::Listed;

/// What S3 leaves as it is in the key of an event.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

/// The message about one object. `nth` orders the events of a key.
pub fn created(bucket: &str, object: &Listed, nth: u64) -> String {
    let key = utf8_percent_encode(&object.key, KEPT).to_string();
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": { "name": bucket, "arn": format!("arn:aws:s3:::{bucket}") },
            "object": {
                "key": key.replace("%20", "+"),
                "size": object.bytes,
                "eTag": object.etag.trim_matches('"'),
                "sequencer": format!("{nth:018X}"),
            },
        },
    });
    of_records(&[record])
}

/// A message for each record of messages that the bucket sent.
pub(super) fn apart(bodies: &[String]) -> Vec<String> {
    let messages = bodies.iter().filter_map(|it| serde_json::from_str(it).ok());
    let records =
        messages.flat_map(|it: Value| it["Records"].as_array().cloned().unwrap_or_default());
    records.map(|it| of_records(&[it])).collect()
}

/// The key of a message's first record, still encoded as S3 sends it.
pub(super) fn raw_key(body: &str) -> Option<String> {
    let message: Value = serde_json::from_str(body).ok()?;
    let key = message["Records"][0]["s3"]["object"]["key"].as_str()?;
    Some(key.to_owned())
}

fn of_records(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_s3_does_and_the_test_event_is_left_out() {
        let object = Listed {
            key: "img/b/c d/Images/é+1.png".to_owned(),
            bytes: 3,
            etag: "\"x\"".to_owned(),
        };
        let body = created("bucket", &object, 7);
        assert_eq!(raw_key(&body).unwrap(), "img/b/c+d/Images/%C3%A9%2B1.png");
        let test = json!({ "Event": "s3:TestEvent" }).to_string();
        let two = json!({ "Records": [1, 2] }).to_string();
        assert_eq!(apart(&[test, two]).len(), 2);
    }
}
