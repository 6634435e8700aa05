//! What the answers of SQS mean.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::Error;

/// SQS did not do it.
pub(super) fn unavailable<E>(prefix: &str, action: &'static str, error: SdkError<E>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    Error::Unavailable {
        home: format!("sqs://{prefix}"),
        action,
        source: Box::new(error),
    }
}

/// Does it say that the receipt is of an earlier handing out, or of a message that is gone?
pub(super) fn is_outdated<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.as_service_error().is_some_and(|it| {
        [it.code(), it.message()]
            .into_iter()
            .flatten()
            .any(says_outdated)
    })
}

/// SQS has had several words for it over the years: codes, and a sentence for a visibility that is over.
pub(super) fn says_outdated(text: &str) -> bool {
    [
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
        "does not exist or is not available for visibility timeout change",
        "The receipt handle has expired",
    ]
    .iter()
    .any(|it| text.contains(it))
}
