//! The router: routes, and what lies around them.

use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::document::{finished, skeleton};
use crate::parts::{ApiParts, App};
use crate::{edge, person, routes};

/// The whole api, with its own description at `/openapi.json`.
pub fn router(parts: ApiParts) -> axum::Router {
    let app = App::new(parts);
    let limit = usize::try_from(app.settings.max_body_bytes).unwrap_or(usize::MAX);
    let (router, document) = all_routes(&app).split_for_parts();
    let router = router.merge(routes::legacy::routes(&app));
    let document = finished(document);
    router
        .route(
            "/openapi.json",
            get(|State(document): State<String>| async {
                ([(CONTENT_TYPE, "application/json")], document)
            })
            .with_state(document),
        )
        .fallback(edge::no_such_path)
        .method_not_allowed_fallback(edge::no_such_method)
        .layer(DefaultBodyLimit::max(limit))
        .layer(RequestBodyTimeoutLayer::new(app.settings.body_pause))
        .layer(middleware::from_fn_with_state(app.clone(), edge::guard))
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(middleware::from_fn(edge::finish))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            routes::metrics::count,
        ))
        .with_state(app)
}

fn all_routes(app: &App) -> OpenApiRouter<App> {
    let personal = routes::personal();
    let personal =
        personal.route_layer(middleware::from_fn_with_state(app.clone(), person::sign_in));
    OpenApiRouter::with_openapi(skeleton())
        .merge(routes::open())
        .merge(personal)
}
