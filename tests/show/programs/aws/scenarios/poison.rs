//! A message and an image that can't be used: told of with the reason, everything beside them done.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cellmill_tests::aws::{Door, Stack};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;
use cellmill_tests::show::wait::wait_until;
use serde_json::Value;

use crate::lab::Lab;
use crate::material::{objects, photographs};
use crate::settled::decided;

/// A batch of a queue.
const N_IMAGES: usize = 10;
const MESSAGE: &str = "this is no event of a bucket, said the show";
const LIMIT: Duration = Duration::from_mins(3);

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("poison")?;
    let folder = photographs(lab.show, N_IMAGES, &place.join("data"))?;
    let is_image = |it: &(String, Vec<u8>)| it.0.starts_with("img/");
    let mut images: Vec<(String, Vec<u8>)> =
        objects(&folder)?.into_iter().filter(is_image).collect();
    images.truncate(N_IMAGES);
    // Half of it: the head is good, and the rest never comes.
    let poisoned = images.len() / 2;
    let half = images[poisoned].1.len() / 2;
    images[poisoned].1.truncate(half);
    let keys: Vec<String> = images.iter().map(|it| it.0.clone()).collect();

    let stack = lab.stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    stack
        .queue("uploads")
        .await?
        .send(&[MESSAGE.to_owned()])
        .await?;
    stack.bucket().put_all(images).await?;
    let states = decided(&door, &keys, LIMIT).await?;
    let n_ok = states.iter().filter(|it| *it == "ok").count();
    figures.exactly("poison.others_done", n_ok, "images", keys.len() - 1);
    figures.holds("poison.image_is_rejected", states[poisoned] == "rejected");
    let record = format!("records/{}.json", keys[poisoned]);
    let record = stack.bucket().get(&record).await?;
    let record: Value = serde_json::from_slice(&record.context("the image has a record")?)?;
    let rejection = &record["rejection"];
    figures.said("poison.image_code", rejection["code"].clone(), "");
    let has_reason = rejection["reason"]
        .as_str()
        .is_some_and(|it| !it.is_empty());
    figures.holds("poison.image_has_a_reason", has_reason);

    let letter = dead_letter(&door).await?;
    say(format_args!("  {letter}"));
    figures.holds("poison.letter_shows_the_input", letter["body"] == MESSAGE);
    let reason = letter["reason"].as_str().unwrap_or_default();
    figures.holds("poison.letter_says_why", !reason.is_empty());
    let attempts = letter["attempts"].as_f64().unwrap_or(0.0);
    figures.within("poison.letter_attempts", attempts, "attempts", [1.0, 5.0]);

    redrive(&door, &stack, figures, &letter).await?;
    stack.down().await.map(drop)
}

/// The letter about the message, when it is there.
async fn dead_letter(door: &Door) -> Result<Value> {
    let pause = Duration::from_millis(500);
    wait_until("the message is given up", LIMIT, pause, async || {
        let found = door
            .json(&["dead", "ls", "--of", "uploads", "--input", "no event"])
            .await?;
        Ok(found.as_array().and_then(|it| it.first()).cloned())
    })
    .await
}

/// What a filter does not name stays; what it names is tried again, and ends as before.
async fn redrive(door: &Door, stack: &Stack, figures: &mut Figures, first: &Value) -> Result<()> {
    let dead = stack.queue("uploads-dead").await?;
    let other = [
        "dead",
        "redrive",
        "--of",
        "uploads",
        "--input",
        "something else",
        "--all",
    ];
    door.json(&other).await?;
    let depth = dead.depth().await?;
    let n = (depth.waiting + depth.in_flight) as usize;
    figures.exactly("poison.letters_left_by_another_filter", n, "letters", 1);
    let own = [
        "dead", "redrive", "--of", "uploads", "--input", "no event", "--all",
    ];
    let sent = door.json(&own).await?;
    say(format_args!("  {sent}"));
    let again = dead_letter(door).await?;
    let is_same = again["body"] == MESSAGE && again["died_at"] != first["died_at"];
    figures.holds("poison.sent_again_it_ends_as_before", is_same);
    Ok(())
}
