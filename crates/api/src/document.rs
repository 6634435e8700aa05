//! The `OpenAPI` document, made of the declarations of the routes.

use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::{self, PathItem, RefOr};
use utoipa_axum::router::OpenApiRouter;

use crate::routes;

/// What the document says beside its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cellmill",
        description = "Photographs and doctors' points in; checked images, labels, cells and data sets out. Lists come in pages: hand `next` over as `after`. Every answer has an `x-request-id`; errors are `{code, message, hint?}`."
    ),
    tags(
        (name = "program", description = "The program itself"),
        (name = "uploads", description = "Sending files, and what became of them"),
        (name = "images", description = "Batches, cases and photographs"),
        (name = "labels", description = "Labels, doctors' points, classes and label types"),
        (name = "data sets", description = "Cells of chosen images, and their files"),
        (name = "projects", description = "Trainings and predictions"),
        (name = "models", description = "The registry of models"),
        (name = "jobs", description = "Work in progress"),
        (name = "workers", description = "Who works, and how their machines are")
    )
)]
struct Skeleton;

pub(crate) fn skeleton() -> openapi::OpenApi {
    Skeleton::openapi()
}

/// The document as JSON text, with what `OpenAPI` 3.1 asks for and the declarations leave out.
pub(crate) fn finished(mut document: openapi::OpenApi) -> String {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, item)| (without_star(&path), described(item)))
        .collect();
    document
        .to_json()
        .expect("a document holds only text and numbers")
}

/// axum marks a parameter that spans folders by a star, which is part of the name for `OpenAPI`.
fn without_star(path: &str) -> String {
    path.replace("{*", "{")
}

/// Every response has a description: that of its status where the route gives none.
fn described(mut item: PathItem) -> PathItem {
    let operations = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .flatten();
    for (status, response) in operations.flat_map(|it| &mut it.responses.responses) {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = meaning(status);
        }
    }
    item
}

fn meaning(status: &str) -> String {
    let status: Option<StatusCode> = status.parse().ok();
    match status.and_then(|it| it.canonical_reason()) {
        Some(reason) => reason.to_owned(),
        None => "An error: `code` is for programs, `message` and `hint` are for people".to_owned(),
    }
}

/// The document without a running api: for clients that are generated from it.
pub fn document() -> String {
    let routes = OpenApiRouter::with_openapi(skeleton())
        .merge(routes::open())
        .merge(routes::personal());
    finished(routes.into_openapi())
}
