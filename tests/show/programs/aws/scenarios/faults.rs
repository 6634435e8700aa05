//! A storm between everything and the endpoint: the flow finishes, nothing is double.

use anyhow::Result;
use cellmill_tests::aws::{Door, Fault, Plan};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;

use super::samebucket::on_stack;
use crate::flow::{DATASET, PREDICTED, TRAINED};
use crate::lab::Lab;
use crate::material::photographs;

const N_CASES: usize = 6;
/// Everything about the storm follows from it.
const SEED: u64 = 18_110_019;

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("faults")?;
    let folder = photographs(lab.show, N_CASES, &place.join("data"))?;

    let stack = lab.stack().await?;
    let calm = on_stack(lab, &stack, &folder, &lab.show.make_place("faults/calm")?).await?;
    stack.down().await?;

    let stack = lab.proxied_stack().await?;
    let proxy = stack.proxy()?;
    proxy.reset();
    proxy.follow(Plan::storm(SEED));
    let stormy = lab.show.make_place("faults/storm")?;
    let tree = on_stack(lab, &stack, &folder, &stormy).await?;
    proxy.follow(Plan::default());
    let counts = proxy.counts();
    figures.told("faults.requests", counts.requests() as f64, "requests");
    for (name, fault) in [
        ("put_off_503", Fault::SlowDown),
        ("conflict_409", Fault::Conflict),
        ("answer_lost", Fault::AnswerLost),
    ] {
        let n = counts.injected(fault) as f64;
        // A storm that hit nothing shows nothing.
        figures.at_least(&format!("faults.injected.{name}"), n, "requests", 1.0);
    }
    let differences = calm.differences(&tree);
    for it in differences.iter().take(20) {
        say(format_args!("    {it}"));
    }
    figures.exactly("faults.differences", differences.len(), "files", 0);
    let is_verified = lab.show.is_verified(&stormy.join("mirror")).await?;
    figures.holds("faults.verify_finds_nothing", is_verified);

    let door = Door::of_stack(&lab.show.program, &stack)?;
    let mut n_done = 0;
    for (kind, dir) in [
        ("data", DATASET),
        ("train", TRAINED),
        ("predict", PREDICTED),
    ] {
        let job = door.get(&format!("/api/v1/jobs/{kind}/{dir}")).await?;
        n_done += usize::from(job["state"] == "done");
    }
    figures.exactly("faults.jobs_done", n_done, "jobs", 3);
    stack.down().await.map(drop)
}
