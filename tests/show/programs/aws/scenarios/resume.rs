//! A large upload that is cut off in the middle, and goes on where it was.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cellmill_tests::aws::{Door, Proxy};
use cellmill_tests::show::Figures;
use cellmill_tests::show::child::Running;
use cellmill_tests::show::place::say;
use cellmill_tests::show::wait::wait_until;

use crate::lab::Lab;
use crate::material::plain_tiff;

/// 201 MB in pixels of three bytes.
const SIDE: u32 = 8192;
const QUICK_SIDE: u32 = 4096;
const KEY: &str = "img/show/large/Images/large.tif";
const LIMIT: Duration = Duration::from_mins(5);
/// What is sent again: the parts that were on their way, and at most a part beside.
const MAX_SENT_AGAIN: f64 = 0.62;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("uploads/resume")?;
    let side = if lab.show.options.quick {
        QUICK_SIDE
    } else {
        SIDE
    };
    let file = plain_tiff(side, side);
    let n_bytes = file.len() as u64;
    let path = place.join("data").join(KEY);
    std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    std::fs::create_dir_all(place.join("data/csv"))?;
    std::fs::write(&path, file).context("write a large image")?;
    figures.told("uploads.large_file", n_bytes as f64 / 1e6, "MB");

    let stack = lab.proxied_stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    let proxy = stack.proxy()?;
    let data = place.join("data").to_string_lossy().into_owned();
    // One at a time: what is on its way when it is cut off is sent again.
    let args = ["import", &data, "--json", "--parallel", "1"];
    let mut first = Running::start(&mut door.command(&args), &place.join("import.log"))?;
    let pause = Duration::from_millis(5);
    wait_until("half of the file was sent", LIMIT, pause, async || {
        anyhow::ensure!(first.is_alive(), "the import ended: {}", first.log()?);
        Ok((sent(proxy) >= n_bytes / 2).then_some(()))
    })
    .await?;
    first.kill()?;
    // What was on its way is counted until the storage has done with it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = sent(proxy);
    figures.told(
        "uploads.killed_at",
        before as f64 / n_bytes as f64,
        "of the file",
    );
    let report = door.json(&["import", &data]).await?;
    say(format_args!("  {report}"));
    let again = (sent(proxy) - before) as f64 / n_bytes as f64;
    figures.at_most(
        "uploads.sent_after_the_kill",
        again,
        "of the file",
        MAX_SENT_AGAIN,
    );
    let stored = stack.bucket().list(KEY).await?;
    let is_whole = stored.first().is_some_and(|it| it.bytes == n_bytes);
    figures.holds("uploads.resumed_file_is_whole", is_whole);
    let states = door.states(&[KEY.to_owned()]).await?;
    figures.holds("uploads.resumed_file_is_ok", states == ["ok"]);
    stack.down().await.map(drop)
}

/// Bytes of parts that went through the proxy.
fn sent(proxy: &Proxy) -> u64 {
    let parts = proxy.counts().only(|it| it.operation == "UploadPart");
    parts.rows.iter().map(|it| it.tally.bytes_in).sum()
}
