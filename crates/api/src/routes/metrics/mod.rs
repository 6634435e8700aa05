//! `GET /metrics`: figures for a collector, in the text format of Prometheus.
//!
//! What one look at documents and queues gives is told again for some seconds, however many collectors ask. A look costs
//! about what a sweep of the janitor costs: it lists marks of open jobs, their units, workers and new numbers, never the
//! whole bucket.
//!
//! A collector has to be let in like a person: figures name jobs' classes and workers. On AWS the route is off: behind IAM
//! no collector asks, and what one of many short-lived copies of the api counted means nothing there. `CloudWatch` has the
//! figures of the gateway, the queues and the janitor's sweep instead.

mod http;
mod jobs;
mod look;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cellmill_service::metrics::{CONTENT_TYPE, Kind, Page, machine, process, store_calls};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::http::Requests;
use self::jobs::JobsWatch;
use self::look::{Look, WorkerSeen};
use crate::edge::{Error, ErrorBody};
use crate::parts::App;

pub(crate) use self::http::count;

/// What this process counted, and its last look around.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Requests,
    looks: Mutex<Looks>,
}

#[derive(Debug, Default)]
struct Looks {
    last: Option<(Instant, Arc<Look>)>,
    jobs: JobsWatch,
}

/// Figures about jobs, units, workers, queues, requests and calls to the store, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "program",
    responses(
        (status = 200, description = "One figure a line", body = String, content_type = "text/plain"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Error> {
    let Some(fresh_for) = app.settings.metrics else {
        return Err(Error::not_found("a page of figures (CloudWatch has them)"));
    };
    let look = look(&app, fresh_for).await;
    let mut page = Page::default();
    process(&mut page);
    tell_jobs(&mut page, &look);
    tell_workers(&mut page, &look);
    tell_queues(&mut page, &look);
    app.metrics().requests.tell(&mut page);
    store_calls(&mut page, app.store.calls().read());
    let content_type = [(axum::http::header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((content_type, page.to_text()).into_response())
}

/// The last look, or a new one when that is too old. Who asks meanwhile waits for the same.
async fn look(app: &App, fresh_for: Duration) -> Arc<Look> {
    let mut looks = app.metrics().looks.lock().await;
    if let Some((at, look)) = &looks.last
        && at.elapsed() < fresh_for
    {
        return Arc::clone(look);
    }
    let look = Arc::new(Look::take(app, &mut looks.jobs).await);
    looks.last = Some((Instant::now(), Arc::clone(&look)));
    look
}

fn tell_jobs(page: &mut Page, look: &Look) {
    let jobs = page.family(
        "cellmill_jobs",
        Kind::Gauge,
        "Jobs that are not ended, by kind and state.",
    );
    for ((kind, state), n) in &look.jobs.open {
        jobs.count(&[("kind", kind.as_str()), ("state", state)], *n);
    }
    let ended = page.family(
        "cellmill_jobs_ended_total",
        Kind::Counter,
        "Jobs that ended since this process looked first, by kind and state.",
    );
    for ((kind, state), n) in &look.jobs.ended {
        ended.count(&[("kind", kind.as_str()), ("state", state)], *n);
    }
    for (class, load) in &look.jobs.loads {
        let labels = [("class", class.as_str())];
        page.family(
            "cellmill_units_waiting",
            Kind::Gauge,
            "Units that nobody works on yet, by class.",
        )
        .count(&labels, load.waiting);
        page.family(
            "cellmill_units_leased",
            Kind::Gauge,
            "Units under a lease that is alive, by class.",
        )
        .count(&labels, load.leased);
    }
    let oldest = page.family(
        "cellmill_units_oldest_waiting_seconds",
        Kind::Gauge,
        "How long ago the oldest job was released that has a waiting unit, by class.",
    );
    for (class, seconds) in &look.jobs.oldest_waiting_s {
        oldest.count(&[("class", class)], *seconds);
    }
}

fn tell_workers(page: &mut Page, look: &Look) {
    let by_class = page.family(
        "cellmill_workers",
        Kind::Gauge,
        "Workers by class and state: working, idle, or gone without a word. One of two classes counts in both.",
    );
    for ((class, state), n) in look.workers_by_class() {
        by_class.count(&[("class", class), ("state", state)], n);
    }
    for WorkerSeen { record, age_s, .. } in look.live_workers() {
        let worker = record.id.as_str();
        page.family(
            "cellmill_worker_record_age_seconds",
            Kind::Gauge,
            "How old a worker's record is; it is written about once a minute.",
        )
        .count(&[("worker", worker)], *age_s);
        if let Some(seen) = &record.machine {
            machine(page, worker, seen);
        }
    }
}

fn tell_queues(page: &mut Page, look: &Look) {
    let parts = page.family(
        "cellmill_part_up",
        Kind::Gauge,
        "Whether a part answered the last look: 1, or 0 and its figures are missing.",
    );
    for (part, is_up) in [("store", look.is_store_up), ("queue", look.is_queue_up)] {
        parts.count(&[("part", part)], u64::from(is_up));
    }
    for (queue, depth, n_dead) in &look.queues {
        let name = queue.as_str();
        let messages = page.family(
            "cellmill_queue_messages",
            Kind::Gauge,
            "Messages by queue and state: visible, in_flight, delayed.",
        );
        for (state, n) in [
            ("visible", depth.visible),
            ("in_flight", depth.in_flight),
            ("delayed", depth.delayed),
        ] {
            messages.count(&[("queue", name), ("state", state)], n);
        }
        page.family(
            "cellmill_dead_letters",
            Kind::Gauge,
            "Messages that were given up and wait for a person, by queue.",
        )
        .count(&[("queue", name)], *n_dead);
    }
}
