//! The credentials of the SDK, for `object_store`: one chain, so that both sign as the same role.

use std::sync::Arc;

use async_trait::async_trait;
use cellmill_aws::{ProvideCredentials as _, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

#[derive(Debug)]
pub(super) struct Credentials(pub(super) SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    /// Asked for every request; the SDK's provider keeps what is still good.
    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|source| object_store::Error::Unauthenticated {
            path: String::new(),
            source: source.into(),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
