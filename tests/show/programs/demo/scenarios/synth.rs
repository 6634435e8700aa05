//! The demo as a newcomer runs it: on synthetic photographs.

use anyhow::Result;
use cellmill_tests::show::{Figures, Show};

use crate::demo_report::Demo;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let demo = Demo::run(show, &show.place("synth"), None).await?;
    demo.judge(show, figures, "synth").await
}
