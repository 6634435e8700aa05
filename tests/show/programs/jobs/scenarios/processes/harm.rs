//! What is done to workers, server and jobs while they work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::show::frozen::{freeze, thaw};
use reqwest::Method;
use serde_json::json;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use super::catch::{Caught, Looked, catch};
use super::plan::{Harm, How, Moment, ServerHarm, Until};
use super::stage::Stage;
use super::{Calm, OTHER};
use crate::records::{has_ended, number, read};

/// Whoever stands still goes on after this at the latest: with a lock in hand it holds up all others.
const LONGEST: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(20);
/// What a server that is being started gets to answer a wish.
const LIMIT: Duration = Duration::from_mins(1);

/// What was done to one worker.
#[derive(Clone, Debug)]
pub(super) struct Harmed {
    pub(super) caught: Caught,
    pub(super) is_killed: bool,
    /// Another attempt had begun when it went on.
    pub(super) is_zombie: bool,
}

/// Does all harms one after the other; those who are frozen wake up meanwhile.
pub(super) async fn do_harms(
    stage: Arc<Stage>,
    harms: Vec<Harm>,
    calm: Calm,
) -> Result<Vec<Harmed>> {
    let mut looked = Looked::default();
    let mut aftermath = JoinSet::new();
    for harm in harms {
        let at = Arc::clone(&stage);
        let caught = spawn_blocking(move || {
            let caught = catch(&at, &harm, calm, &mut looked);
            (caught, looked)
        });
        let (caught, after) = caught.await.context("a catcher broke off")?;
        looked = after;
        let Some(caught) = caught? else {
            break;
        };
        let stage = Arc::clone(&stage);
        match harm.how {
            // Somebody must be left to take the unit over.
            How::Freeze(until) if stage.has_others(caught.process) => {
                stage.mark_frozen(caught.process, true);
                aftermath.spawn(async move { wake(&stage, caught, until).await });
            }
            how => {
                stage.kill_worker(caught.process)?;
                let pause = match how {
                    How::Kill { replaced_after } => replaced_after,
                    How::Freeze(_) => 0.0,
                };
                aftermath.spawn(async move {
                    sleep(Duration::from_secs_f64(pause)).await;
                    stage.start_worker()?;
                    Ok(Harmed {
                        caught,
                        is_killed: true,
                        is_zombie: false,
                    })
                });
            }
        }
    }
    let mut harmed = Vec::new();
    while let Some(one) = aftermath.join_next().await {
        harmed.push(one.context("an aftermath broke off")??);
    }
    Ok(harmed)
}

/// Lets a frozen worker go on when it is time, and says whether it is one whose unit was taken over.
async fn wake(stage: &Stage, caught: Caught, until: Until) -> Result<Harmed> {
    let begun = Instant::now();
    let is_taken = || -> Result<bool> {
        let unit = read(&caught.unit)?.unwrap_or_default();
        Ok(number(&unit, "attempt") > caught.attempt)
    };
    loop {
        let is_time = match until {
            Until::Taken => is_taken()?,
            Until::Ended => read(&caught.unit)?.is_some_and(|it| has_ended(&it)),
            Until::AllEnded => stage.is_over()?,
        };
        if is_time || begun.elapsed() > LONGEST {
            break;
        }
        sleep(LOOK).await;
    }
    let is_zombie = is_taken()?;
    thaw(caught.process)?;
    stage.mark_frozen(caught.process, false);
    Ok(Harmed {
        caught,
        is_killed: false,
        is_zombie,
    })
}

/// Kills or freezes the server, and brings it back.
pub(super) async fn harm_server(stage: &Stage, harm: Option<ServerHarm>, calm: Calm) -> Result<()> {
    match harm {
        None => Ok(()),
        Some(ServerHarm::Kill { at, down }) => {
            sleep(at.after(calm.jobs)).await;
            let server = stage.server.lock().await.take();
            server.context("the server is up")?.process.kill()?;
            sleep(Duration::from_secs_f64(down)).await;
            *stage.server.lock().await = Some(stage.new_server().await?);
            Ok(())
        }
        Some(ServerHarm::Freeze { at, lasts }) => {
            sleep(at.after(calm.jobs)).await;
            let server = stage.server.lock().await;
            let id = server.as_ref().context("the server is up")?.process.id();
            spawn_blocking(move || freeze(id))
                .await
                .context("freeze the server")??;
            sleep(Duration::from_secs_f64(lasts)).await;
            thaw(id)
        }
    }
}

/// Cancels a job; was that acknowledged? A refusal is an answer too: then it must be done.
pub(super) async fn cancel(stage: &Stage, at: Option<Moment>, calm: Calm) -> Result<bool> {
    let Some(at) = at else {
        return Ok(false);
    };
    sleep(at.after(calm.jobs)).await;
    let path = format!("/api/v1/jobs/data/{OTHER}/cancel");
    let (nothing, begun) = (json!({}), Instant::now());
    loop {
        if let Some(server) = stage.server.lock().await.as_ref() {
            let asked = server.client.ask(Method::POST, &path, &[], Some(&nothing));
            // One without an answer is asked again: a cancel that is written is acknowledged a second time.
            if let Ok((status, said)) = asked.await
                && !status.is_server_error()
            {
                let said = String::from_utf8_lossy(&said);
                ensure!(
                    status.is_success() || status == 409,
                    "{path}: {status} {said}"
                );
                return Ok(status.is_success());
            }
        }
        ensure!(begun.elapsed() < LIMIT, "nobody answers a cancel");
        sleep(LOOK).await;
    }
}
