//! What a storage says when it refuses a signed request: a small XML document with a code and a sentence.

use cellmill_api::ErrorBody;

/// The refusal in an answer's body, if it is one of a storage.
pub(super) fn refusal(body: &str) -> Option<ErrorBody> {
    let code = text_of(body, "Code")?;
    let said = text_of(body, "Message").unwrap_or_else(|| "it gives no reason".to_owned());
    Some(ErrorBody {
        message: format!(
            "the storage refused: {} ({code})",
            said.trim_end_matches('.')
        ),
        hint: hint(&code).map(str::to_owned),
        code,
    })
}

/// Whether the same request may succeed a little later.
pub(super) fn is_passing(code: &str) -> bool {
    matches!(
        code,
        // Two requests about one key at the same moment.
        "ConditionalRequestConflict"
            | "OperationAborted"
            // The bytes came too slowly.
            | "RequestTimeout"
            | "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
    )
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "SignatureDoesNotMatch" => {
            "the request was not sent as the server signed it: is there a proxy on the way that changes headers?"
        }
        "AccessDenied" | "ExpiredToken" | "TokenRefreshRequired" => {
            "the right to send may have expired on the way: repeat the command"
        }
        "InvalidAccessKeyId" => "the server signs with credentials that the storage does not know",
        "RequestTimeTooSkewed" | "RequestExpired" => {
            "the clocks of server and storage differ: look at the server's"
        }
        "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" => {
            "the file changed while it was sent: repeat the command"
        }
        "NoSuchBucket" => "the server's bucket is gone: look at its setting CELLMILL_STORE",
        "NoSuchUpload" => "the storage gave the upload up: repeat the command",
        _ => return None,
    })
}

/// The text of the first element of this name.
fn text_of(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        // The last, as its text may look like another.
        ("&amp;", "&"),
    ];
    let plain = entities.iter().fold(text.to_owned(), |text, (entity, it)| {
        text.replace(entity, it)
    });
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_s_refusal_becomes_words_and_a_next_step() {
        let body = refusal(
            "<?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The &quot;signature&quot; \
             differs.</Message><RequestId>1</RequestId></Error>",
        )
        .unwrap();
        assert_eq!(body.code, "SignatureDoesNotMatch");
        assert_eq!(
            body.message,
            "the storage refused: The \"signature\" differs (SignatureDoesNotMatch)"
        );
        assert!(body.hint.unwrap().contains("proxy"));
    }

    #[test]
    fn what_is_no_refusal_of_a_storage_is_none() {
        for other in ["", "<html>", "<Error><Code>x", "{\"code\":\"x\"}"] {
            assert_eq!(refusal(other), None, "{other}");
        }
    }
}
