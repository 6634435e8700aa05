//! A worker of the predecessor's kind: it cuts, trains and predicts, and what is said on the wire is the same, byte for
//! byte.

use anyhow::Result;
use cellmill_tests::show::Figures;

use super::repository_tests::count;

pub(super) async fn run(figures: &mut Figures) -> Result<()> {
    let worker = ["legacy"];
    count(figures, "legacy.worker", "tests/examples/run", &worker).await?;
    // With the features of the script, so that nothing is built twice.
    let features = [
        "test",
        "--locked",
        "--workspace",
        "--features",
        "cellmill-tests/examples",
    ];
    let server = [&features[..], &["--test", "http", "legacy"]].concat();
    count(figures, "legacy.server", "cargo", &server).await
}
