//! The configuration that all clients share.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Reads region, credentials and endpoint of this process. Asks nobody yet when the environment says them.
pub async fn load() -> SdkConfig {
    install_tls();
    let tls = Provider::Rustls(CryptoMode::Ring);
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(Builder::new().tls_provider(tls).build_https())
        .load()
        .await
}

/// Makes ring the cryptography of every TLS connection that names none. Once is enough, twice does no harm.
pub fn install_tls() {
    // An error says that somebody installed one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Does the configuration name an endpoint of its own, as for an emulator? Such are asked by path, not by the
/// bucket's host name.
pub fn endpoint_is_given(config: &SdkConfig) -> bool {
    config.endpoint_url().is_some()
}
