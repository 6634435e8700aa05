//! What the server says of itself and of its jobs.

use cellmill_api::views::{JobView, UnitView};
use cellmill_core::ids::Dir;
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use cellmill_core::unit::UnitState;

use super::bundle::{Material, Raw};
use crate::client::{self, Client};

/// The newest jobs of each kind that are listed.
const MAX_LISTED: usize = 200;
/// Failed and open jobs that are told in full.
const MAX_JOBS: usize = 20;
/// Units of a job that are told.
const MAX_UNITS: usize = 200;
/// The end of a log, 256 KiB.
const LOG_TAIL: usize = 256 << 10;

/// A job that is told in full.
pub(super) type JobName = (JobKind, Dir);

/// Gathers everything, and says which jobs were told in full.
pub(super) async fn gather(
    client: &Client,
    asked: &[JobName],
    material: &mut Material,
) -> Vec<JobName> {
    let health = client.health().await;
    if let Err(error @ (client::Error::NotReachable { .. } | client::Error::Url { .. })) = &health {
        let why = cellmill_service::report(error);
        material.leave_out(
            "everything that the server knows: health, figures, workers, jobs",
            why,
        );
        return asked.to_vec();
    }
    material.answer("health.json", "whether the server answers", health);
    match client.metrics().await {
        Ok(text) => material.text("metrics.txt", "figures", Raw::Plain(text)),
        Err(error) => material.leave_out("metrics.txt", cellmill_service::report(&error)),
    }
    let workers = client.workers().await;
    let workers = material.answer("workers.json", "workers and their machines", workers);
    for it in workers.iter().flatten() {
        allow_worker(material, it.id.as_str(), &it.device);
        it.classes
            .iter()
            .for_each(|class| material.names.allow(class.as_str()));
    }
    let jobs = list_jobs(client, material).await;
    let told = chosen(&jobs, asked, material);
    for (kind, dir) in &told {
        tell(client, *kind, dir, material).await;
    }
    told
}

async fn list_jobs(client: &Client, material: &mut Material) -> Vec<JobView> {
    let mut jobs = Vec::new();
    for kind in JobKind::ALL {
        match client.newest_jobs(kind, MAX_LISTED).await {
            Ok(of_kind) => jobs.extend(of_kind),
            Err(error) => material.leave_out(
                format!("list of {} jobs", kind.as_str()),
                cellmill_service::report(&error),
            ),
        }
    }
    for it in &jobs {
        material.names.allow(it.dir.as_str());
    }
    let list = serde_json::to_value(&jobs).unwrap_or_default();
    material.json("jobs.json", "the newest jobs of each kind", list);
    jobs
}

/// Those asked for, then failed ones and open ones, the newest first.
fn chosen(jobs: &[JobView], asked: &[JobName], material: &mut Material) -> Vec<JobName> {
    let is_told = |it: &&JobView| !matches!(it.state, JobState::Done | JobState::Cancelled);
    let mut others: Vec<&JobView> = jobs.iter().filter(is_told).collect();
    others.sort_by_key(|it| std::cmp::Reverse(it.times.created));
    let mut told = asked.to_vec();
    let others = others.into_iter().map(|it| (it.kind, it.dir.clone()));
    let others: Vec<JobName> = others.filter(|it| !asked.contains(it)).collect();
    if let n @ 1.. = others.len().saturating_sub(MAX_JOBS) {
        material.leave_out(
            format!("{n} more failed and open jobs"),
            format!("the newest {MAX_JOBS} are told; name others with --job"),
        );
    }
    told.extend(others.into_iter().take(MAX_JOBS));
    told
}

/// Where the files of a job lie in the bundle.
pub(super) fn folder(kind: JobKind, dir: &Dir) -> String {
    format!("jobs/{dir}-{}", kind.as_str())
}

async fn tell(client: &Client, kind: JobKind, dir: &Dir, material: &mut Material) {
    let folder = folder(kind, dir);
    material.names.allow(dir.as_str());
    let job = client.job(kind, dir.as_str()).await;
    let job = material.answer(
        &format!("{folder}/job.json"),
        "a job as the server shows it",
        job,
    );
    if job.is_none() {
        return;
    }
    if kind == JobKind::Data {
        learn_images(client, dir, material).await;
    }
    let why = client.why(&format!("{dir}/{}", kind.as_str())).await;
    material.answer(&format!("{folder}/why.json"), "what happened to it", why);
    let units = client.units(kind, dir.as_str()).await.map(worth_telling);
    let units = material.answer(
        &format!("{folder}/units.json"),
        "its units that are worth it",
        units,
    );
    for it in units.iter().flatten().flat_map(|it| &it.attempts) {
        material.names.allow(it.owner.as_str());
    }
    match client.job_log_tail(kind, dir.as_str(), LOG_TAIL).await {
        Ok(log) => material.text(
            format!("{folder}/log.txt"),
            "the end of its log",
            Raw::Text(log),
        ),
        Err(error) => {
            material.leave_out(
                format!("{folder}/log.txt"),
                cellmill_service::report(&error),
            );
        }
    }
}

/// The names of a data set's images, to find them in its log.
async fn learn_images(client: &Client, dir: &Dir, material: &mut Material) {
    // It is made early in a job's life, and a job without it has said nothing of its images.
    let Ok(list) = client.dataset_file(dir.as_str(), "filelist.csv").await else {
        return;
    };
    let list = String::from_utf8_lossy(&list);
    for line in list.lines() {
        let fields = line.split(',').map(|it| it.trim_matches('"'));
        fields
            .filter(|it| it.contains('/'))
            .for_each(|it| material.names.learn_key(it));
    }
}

/// Those that failed, are worked on or were tried more than once; then others.
fn worth_telling(mut units: Vec<UnitView>) -> Vec<UnitView> {
    units.retain(|it| it.attempt > 0);
    units.sort_by_key(|it| (it.state == UnitState::Done && it.attempt == 1, it.unit));
    units.truncate(MAX_UNITS);
    units
}

fn allow_worker(material: &mut Material, id: &str, device: &str) {
    material.names.allow(id);
    material.names.allow(device);
}
