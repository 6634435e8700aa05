//! Requests, counted by route and status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use cellmill_service::metrics::{Histogram, Kind, Page};

use crate::parts::App;

/// Since the start of the process, by method and route. A route is the template of a path, never a path: a path may
/// hold a name or a token, and there is no end to them.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<(&'static str, String), OfRoute>>);

#[derive(Debug, Default)]
struct OfRoute {
    by_status: BTreeMap<u16, u64>,
    took: Histogram,
}

/// Middleware around everything that counts.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = name_of(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.metrics()
        .requests
        .add(method, route, status, began.elapsed());
    response
}

/// A client may send any word as a method.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl Requests {
    fn add(&self, method: &'static str, route: String, status: u16, took: Duration) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_route = routes.entry((method, route)).or_default();
        *of_route.by_status.entry(status).or_default() += 1;
        of_route.took.add(took);
    }

    pub(super) fn tell(&self, page: &mut Page) {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route), of_route) in routes.iter() {
            let labels = [("method", *method), ("route", route.as_str())];
            let requests = page.family(
                "cellmill_http_requests_total",
                Kind::Counter,
                "Requests that were answered, by route and status.",
            );
            for (status, n) in &of_route.by_status {
                let status = status.to_string();
                requests.count(&[labels[0], labels[1], ("status", &status)], *n);
            }
            page.histogram(
                "cellmill_http_request_duration_seconds",
                "Time until an answer began; its bytes may take longer.",
                &labels,
                &of_route.took,
            );
        }
    }
}
