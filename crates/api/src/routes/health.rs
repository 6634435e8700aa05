//! Is the program there?

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::edge::Json;

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Of the program.
    pub version: String,
}

/// Whether the program answers. It asks no other part.
#[utoipa::path(get, path = "/health", tag = "program", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
