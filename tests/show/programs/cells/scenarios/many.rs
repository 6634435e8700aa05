//! Many small images: memory and time stay as they were.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::ImageFile;
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::http::{Client, Sent, Upload};
use cellmill_tests::show::process::Mill;
use tokio::task::JoinSet;

/// Images on their way at a time, from the first to the last.
const PARALLEL: usize = 4;
/// Addresses asked for at once.
const GRANTS: usize = 100;
const MAX_GROWTH: f64 = 1.1;
/// A hundred photographs a case: what is watched for copied files grows by folders, not by images.
const CASES: &str = "200";
/// An image that takes this long is lost.
const LIMIT: Duration = Duration::from_mins(1);

/// When an image was put and when its record was there.
#[derive(Clone, Copy, Debug)]
struct Timed {
    visible: Instant,
    latency: Duration,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let n = if show.options.quick { 2_000 } else { 20_000 };
    let synthetic = show.make_place("many")?.join("synthetic");
    let more = ["--images", &n.to_string(), "--cases", CASES, "--small"];
    let folder = show.synthetic(&synthetic, &more).await?;
    let root = show.make_place("many")?.join("root");
    let mill = Arc::new(Mill::up(&show.program, &root).await?);
    let (quarter, edge) = (n / 4, n / 20);
    let sent = send_all(&mill, folder.images, quarter).await?;
    let mut times = sent.times;
    times.sort_by_key(|it| it.visible);
    ensure!(
        times.len() == n,
        "{} of {n} images were recorded",
        times.len()
    );

    let (first, last) = (&times[..edge], &times[n - edge..]);
    // A short run is mostly warming up: its growth says nothing.
    let grown = |figures: &mut Figures, name: &str, ratio: f64| {
        if show.options.quick {
            figures.told(name, ratio, "ratio");
        } else {
            figures.at_most(name, ratio, "ratio", MAX_GROWTH);
        }
    };
    let (time_first, time_last) = (median_ms(first), median_ms(last));
    figures.told("many.time_first", time_first, "ms, median");
    figures.told("many.time_last", time_last, "ms, median");
    grown(figures, "many.time_last_to_first", time_last / time_first);
    let in_the_end = mill.resident_mib()?;
    figures.told("many.memory_at_a_quarter", sent.resident_at_quarter, "MiB");
    figures.told("many.memory_at_the_end", in_the_end, "MiB");
    grown(
        figures,
        "many.memory_growth",
        in_the_end / sent.resident_at_quarter,
    );
    let latencies = latencies_ms(&times);
    figures.told("many.put_to_visible_p50", latencies[n / 2], "ms");
    figures.told("many.put_to_visible_p95", latencies[n * 95 / 100], "ms");
    let took = times[n - 1].visible - times[0].visible;
    figures.told(
        "many.images_per_second",
        n as f64 / took.as_secs_f64(),
        "images/s",
    );
    let recorded = mill
        .client()
        .all("/api/v1/images", &[("state", "ok")])
        .await?;
    figures.exactly("many.images_recorded", recorded.len(), "images", n);
    Arc::into_inner(mill)
        .context("nobody sends any more")?
        .stop()
        .await
}

struct SentAll {
    times: Vec<Timed>,
    resident_at_quarter: f64,
}

/// Sends all images, a few at a time. Each sender takes the next image when its last one is visible.
async fn send_all(mill: &Arc<Mill>, images: Vec<ImageFile>, quarter: usize) -> Result<SentAll> {
    let open = Arc::new(Mutex::new(VecDeque::from(images)));
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut senders = JoinSet::new();
    for _ in 0..PARALLEL {
        let (mill, open, times) = (Arc::clone(mill), Arc::clone(&open), Arc::clone(&times));
        senders.spawn(async move {
            loop {
                let chunk = next_chunk(&open);
                if chunk.is_empty() {
                    return anyhow::Ok(());
                }
                send_chunk(mill.client(), mill.root(), &chunk, &times).await?;
            }
        });
    }
    let mut resident_at_quarter = f64::NAN;
    while !senders.is_empty() {
        if resident_at_quarter.is_nan() && held(&times).len() >= quarter {
            resident_at_quarter = mill.resident_mib()?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        while let Some(ended) = senders.try_join_next() {
            ended.context("a sender broke off")??;
        }
    }
    let times = std::mem::take(&mut *held(&times));
    Ok(SentAll {
        times,
        resident_at_quarter,
    })
}

fn next_chunk(open: &Mutex<VecDeque<ImageFile>>) -> Vec<ImageFile> {
    let mut open = held(open);
    let n = GRANTS.min(open.len());
    open.drain(..n).collect()
}

async fn send_chunk(
    client: &Client,
    root: &std::path::Path,
    images: &[ImageFile],
    times: &Mutex<Vec<Timed>>,
) -> Result<()> {
    let contents: Vec<Vec<u8>> = images
        .iter()
        .map(|it| std::fs::read(&it.path).with_context(|| it.key.clone()))
        .collect::<Result<_>>()?;
    let files: Vec<Upload<'_>> = images
        .iter()
        .zip(&contents)
        .map(|(it, content)| upload(it, content))
        .collect();
    let grants = client.grants(&files).await?;
    for (grant, content) in grants.iter().zip(&contents) {
        let put = Instant::now();
        let Sent::Stored(key) = client.put(grant, content).await? else {
            anyhow::bail!("{grant} was not taken");
        };
        // The file itself is looked for: asking the api so often would slow down what is measured.
        let record = root.join("records").join(format!("{key}.json"));
        while !record.exists() {
            ensure!(
                put.elapsed() < LIMIT,
                "{key} was not recorded within {LIMIT:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        held(times).push(Timed {
            visible: Instant::now(),
            latency: put.elapsed(),
        });
    }
    Ok(())
}

fn upload<'a>(image: &'a ImageFile, content: &'a [u8]) -> Upload<'a> {
    Upload {
        root: "hospital",
        batch: &image.batch,
        case: &image.case,
        date: None,
        name: &image.name,
        label_type: None,
        content,
    }
}

/// Ascending.
fn latencies_ms(times: &[Timed]) -> Vec<f64> {
    let mut latencies: Vec<f64> = times
        .iter()
        .map(|it| it.latency.as_secs_f64() * 1e3)
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

fn median_ms(times: &[Timed]) -> f64 {
    latencies_ms(times)[times.len() / 2]
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no sender panics with the list in its hands")
}
