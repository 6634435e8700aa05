//! How every AWS client of Cellmill is made: region, credentials, endpoint and TLS, once for all of them.
//!
//! Everything is taken from where AWS's own tools take it: the environment, the shared files, the role of a
//! container or machine. TLS is rustls with ring, so nothing here needs a C++ tool chain or a system library.

mod config;
mod sign;

pub use aws_config::SdkConfig;
pub use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
pub use config::{endpoint_is_given, install_tls, load};
pub use sign::{RequestSigner, SignError};
