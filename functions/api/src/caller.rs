//! Who asks, as API Gateway found out; and that the bucket tells of uploads by itself.

use async_trait::async_trait;
use cellmill_api::{Identify, Notify, Person, Unidentified};
use cellmill_core::keys::ObjectKey;
use cellmill_queue::Error;
use cellmill_store::Head;
use http::request::Parts;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};

/// The principal of a request, beside its other parts.
#[derive(Clone, Debug)]
struct Principal(String);

/// Keeps who signed the request where [`IamCaller`] finds it.
pub(crate) fn note_caller(mut request: Request) -> Request {
    let context = request.request_context_ref();
    let arn = context.and_then(|context| match context {
        RequestContext::ApiGatewayV2(context) => {
            let iam = context.authorizer.as_ref()?.iam.as_ref()?;
            iam.user_arn.clone()
        }
        _ => None,
    });
    if let Some(arn) = arn {
        request.extensions_mut().insert(Principal(arn));
    }
    request
}

/// Whoever IAM let in, by the last part of the principal's name: `arn:aws:iam::1:user/ann` is `ann`, and
/// `arn:aws:sts::1:assumed-role/lab/ann` is `ann`, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IamCaller;

#[async_trait]
impl Identify for IamCaller {
    async fn identify(&self, request: &Parts) -> Result<Person, Unidentified> {
        let principal = request.extensions.get::<Principal>();
        principal.map(|it| person(&it.0)).ok_or(Unidentified)
    }
}

fn person(arn: &str) -> Person {
    let name = arn.rsplit(['/', ':']).next().unwrap_or_default();
    let id: String = name
        .chars()
        .map(|it| {
            if it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '@') {
                it
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    Person {
        number: number(arn),
        id: if id.is_empty() {
            "unnamed".to_owned()
        } else {
            id
        },
    }
}

/// A number that ends the names of this person's batches and cases, so that two people who make one in the same
/// millisecond make two: 1000 to 9999, from the whole principal (FNV-1a).
fn number(arn: &str) -> u64 {
    let hash = arn.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    1000 + hash % 9000
}

/// The bucket's own notification tells of every upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketTells;

#[async_trait]
impl Notify for BucketTells {
    async fn created(&self, _: &ObjectKey, _: &Head) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_a_person_with_a_name_and_a_number() {
        let ann = person("arn:aws:iam::123456789012:user/lab/ann");
        assert_eq!(ann.id, "ann");
        assert!((1000..10_000).contains(&ann.number));
        assert_eq!(
            person("arn:aws:sts::1:assumed-role/lab/bob@x.org").id,
            "bob@x.org"
        );
        assert_eq!(person("arn:aws:iam::123456789012:root").id, "root");
        assert_eq!(person("").id, "unnamed");
        assert_ne!(
            ann.number,
            person("arn:aws:iam::123456789012:user/bob").number
        );
    }
}
