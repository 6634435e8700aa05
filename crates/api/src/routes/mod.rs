//! The routes, one module a subject, each with its request and response types.

mod batches;
mod classes;
mod datasets;
mod detector_rules;
mod documents;
mod files;
mod health;
mod images;
mod job_view;
mod jobs;
mod label_types;
mod labels;
pub(crate) mod legacy;
mod legacy_models;
pub(crate) mod metrics;
mod model_file;
mod models;
mod network_rules;
mod points;
mod project_rules;
mod projects;
mod status;
mod upload_absent;
mod upload_parts;
mod upload_plan;
mod uploads;
pub mod views;
mod waiting;
mod weights;
mod why;
mod workers;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::parts::App;

pub(crate) use models::MODEL_FILE_PATH;
pub(crate) use upload_parts::UPLOAD_PART_PATH;
pub(crate) use uploads::UPLOAD_PATH;
pub(crate) use weights::WEIGHTS_FILE_PATH;

/// Routes that anybody may ask: no more than whether we live, what we are, and what a token allows.
pub(crate) fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(uploads::put_upload))
        .routes(routes!(upload_parts::put_upload_part))
}

/// Routes that need a person.
pub(crate) fn personal() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(uploads::grant_uploads))
        .routes(routes!(
            upload_parts::get_upload,
            upload_parts::give_up_upload
        ))
        .routes(routes!(upload_parts::sign_parts))
        .routes(routes!(upload_parts::complete_upload))
        .routes(routes!(status::status))
        .routes(routes!(batches::list_batches, batches::new_batch))
        .routes(routes!(batches::list_cases))
        .routes(routes!(images::list_images))
        .routes(routes!(images::get_image))
        .routes(routes!(images::get_image_bytes))
        .routes(routes!(images::get_thumbnail))
        .routes(routes!(labels::get_label, labels::edit_label))
        .routes(routes!(points::list_points))
        .routes(routes!(classes::list_class_tables))
        .routes(routes!(classes::get_class_table, classes::put_class_table))
        .routes(routes!(label_types::list_label_types))
        .routes(routes!(
            label_types::get_label_type,
            label_types::put_label_type
        ))
        .routes(routes!(label_types::train_label_type))
        .routes(routes!(datasets::list_datasets, datasets::create_dataset))
        .routes(routes!(datasets::get_dataset))
        .routes(routes!(files::list_files))
        .routes(routes!(files::get_file))
        .routes(routes!(projects::list_projects, projects::create_project))
        .routes(routes!(projects::get_project))
        .routes(routes!(files::list_project_files))
        .routes(routes!(files::get_project_file))
        .routes(routes!(models::list_models, models::import_model))
        .routes(routes!(legacy_models::register_legacy_model))
        .routes(routes!(models::get_model))
        .routes(routes!(models::get_model_file, models::put_model_file))
        .routes(routes!(models::upload_model_file))
        .routes(routes!(models::complete_model))
        .routes(routes!(models::promote_model))
        .routes(routes!(weights::upload_weights))
        .routes(routes!(weights::put_weights))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::get_log))
        .routes(routes!(jobs::list_units))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::stop_job))
        .routes(routes!(jobs::raise_job))
        .routes(routes!(jobs::retry_job))
        .routes(routes!(workers::list_workers))
        .routes(routes!(metrics::metrics))
        .routes(routes!(why::why))
}
