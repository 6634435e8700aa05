//! S3 event notifications, read and written.
//!
//! Keys in events are form-encoded: `+` is a space, then percent escapes, decoded exactly once
//! (decision 16). All `Records` count; `s3:TestEvent` is ignored. A folder home sends the same bodies,
//! so that one code path reads them all.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// One object that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCreated {
    /// The key, decoded.
    pub key: String,
    pub etag: Option<String>,
    pub size: Option<u64>,
    pub version_id: Option<String>,
    /// Orders events of one key: compared after padding on the right ([`sequencer_order`]).
    pub sequencer: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("the message is no S3 event")]
    Malformed(#[source] serde_json::Error),
    #[error("the event's key `{key}` is not UTF-8 after decoding")]
    NotUtf8 { key: String },
}

/// All created objects of one message; other events and the test event give none.
pub fn parse(body: &str) -> Result<Vec<ObjectCreated>, EventError> {
    let body: Body = serde_json::from_str(body).map_err(EventError::Malformed)?;
    let mut created: Vec<ObjectCreated> = Vec::with_capacity(body.records.len());
    for record in body.records {
        let name = record
            .event_name
            .strip_prefix("s3:")
            .unwrap_or(&record.event_name);
        if !name.starts_with("ObjectCreated:") {
            continue;
        }
        let object = record.s3.object;
        let event = ObjectCreated {
            key: decode_key(&object.key)?,
            etag: object.etag,
            size: object.size,
            version_id: object.version_id,
            sequencer: object.sequencer,
        };
        let is_repeated = created
            .iter()
            .any(|it| it.key == event.key && it.sequencer == event.sequencer);
        if !is_repeated {
            created.push(event);
        }
    }
    Ok(created)
}

/// The body for one created object, as S3 would send it.
pub fn print(event: &ObjectCreated) -> String {
    let body = Body {
        records: vec![Record {
            event_name: "ObjectCreated:Put".to_owned(),
            s3: Entity {
                object: Object {
                    key: encode_key(&event.key),
                    size: event.size,
                    etag: event.etag.clone(),
                    version_id: event.version_id.clone(),
                    sequencer: event.sequencer.clone(),
                },
            },
        }],
    };
    serde_json::to_string(&body).expect("an event holds only text and numbers")
}

/// Orders two sequencers: hexadecimal texts, the shorter one padded with zeros on the right.
pub fn sequencer_order(a: &str, b: &str) -> std::cmp::Ordering {
    let width = a.len().max(b.len());
    let padded = |text: &str| format!("{text:0<width$}").to_ascii_uppercase();
    padded(a).cmp(&padded(b))
}

fn decode_key(key: &str) -> Result<String, EventError> {
    let spaced = key.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8().map(String::from);
    text.map_err(|_| EventError::NotUtf8 {
        key: key.to_owned(),
    })
}

/// What S3 leaves as it is in the key of an event.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEPT)
        .to_string()
        .replace("%20", "+")
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(default, rename = "Records")]
    records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    event_name: String,
    s3: Entity,
}

#[derive(Serialize, Deserialize)]
struct Entity {
    object: Object,
}

#[derive(Serialize, Deserialize)]
struct Object {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, rename = "eTag", skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, rename = "versionId", skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequencer: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn event(key: &str) -> ObjectCreated {
        ObjectCreated {
            key: key.to_owned(),
            etag: None,
            size: Some(3),
            version_id: None,
            sequencer: Some("0A".to_owned()),
        }
    }

    fn keys(body: &str) -> Vec<String> {
        parse(body).unwrap().into_iter().map(|it| it.key).collect()
    }

    #[test]
    fn keys_are_decoded_as_form_values_exactly_once() {
        let body = |key: &str| {
            format!(
                r#"{{"Records":[{{"eventName":"ObjectCreated:Put","s3":{{"object":{{"key":"{key}"}}}}}}]}}"#
            )
        };
        assert_eq!(
            keys(&body("img/a/b/Images/red+flower.jpg")),
            ["img/a/b/Images/red flower.jpg"]
        );
        assert_eq!(keys(&body("in/a%2Bb.jpg")), ["in/a+b.jpg"]);
        assert_eq!(
            keys(&body("in/a%20b.jpg")),
            ["in/a b.jpg"],
            "one emulator sends spaces like this"
        );
        assert_eq!(
            keys(&body("in/%25E6%25B1.jpg")),
            ["in/%E6%B1.jpg"],
            "an upload keeps its encoded text"
        );
        assert!(matches!(
            parse(&body("in/%ff.jpg")),
            Err(EventError::NotUtf8 { .. })
        ));
    }

    #[test]
    fn all_records_count_and_repeats_do_not() {
        let body = r#"{"Records":[
            {"eventName":"s3:ObjectCreated:Put","s3":{"object":{"key":"a","sequencer":"1"}}},
            {"eventName":"ObjectCreated:CompleteMultipartUpload","s3":{"object":{"key":"b","size":4,"eTag":"x"}}},
            {"eventName":"ObjectCreated:Put","s3":{"object":{"key":"a","sequencer":"1"}}},
            {"eventName":"ObjectRemoved:Delete","s3":{"object":{"key":"c"}}}]}"#;
        assert_eq!(keys(body), ["a", "b"]);
    }

    #[test]
    fn the_test_event_is_ignored_and_rubbish_is_an_error() {
        assert_eq!(
            keys(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#),
            Vec::<String>::new()
        );
        assert!(matches!(parse("no json"), Err(EventError::Malformed(_))));
    }

    #[test]
    fn sequencers_compare_after_padding_on_the_right() {
        assert_eq!(
            sequencer_order("0055AED6DCD90281E5", "0055AED6DCD90281E6"),
            Ordering::Less
        );
        assert_eq!(sequencer_order("1", "10"), Ordering::Equal);
        assert_eq!(sequencer_order("2", "10"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(key in "\\PC{1,60}") {
            prop_assert_eq!(parse(&print(&event(&key))).unwrap(), vec![event(&key)]);
        }
    }
}
