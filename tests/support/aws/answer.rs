//! Answers that the proxy gives by itself, in the form of the service that was asked.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};

use super::call::Call;
use super::faults::Fault;

/// The refusal that a fault is; `None` when it gives no answer at all.
pub(super) fn of_fault(fault: Fault, call: &Call) -> Option<Response<Full<Bytes>>> {
    let (status, s3_code, sqs_code, text) = match fault {
        Fault::SlowDown => (
            StatusCode::SERVICE_UNAVAILABLE,
            "SlowDown",
            "ServiceUnavailable",
            "Please reduce your request rate.",
        ),
        Fault::Conflict => (
            StatusCode::CONFLICT,
            "ConditionalRequestConflict",
            "InvalidParameterValue",
            "The conditional request cannot succeed due to a conflicting operation against this resource.",
        ),
        Fault::AnswerLost => return None,
    };
    let (kind, text) = if call.service == "s3" {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{s3_code}</Code><Message>{text}</Message><RequestId>0</RequestId></Error>"
        );
        ("application/xml", xml)
    } else {
        let json =
            format!("{{\"__type\":\"com.amazonaws.sqs#{sqs_code}\",\"message\":\"{text}\"}}");
        ("application/x-amz-json-1.0", json)
    };
    Some(refusal(status, kind, text))
}

/// The upstream could not be asked.
pub(super) fn unreachable(why: &str) -> Response<Full<Bytes>> {
    refusal(StatusCode::BAD_GATEWAY, "text/plain", why.to_owned())
}

fn refusal(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, kind);
    answer
}
