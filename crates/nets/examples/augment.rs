//! How many pictures a second are changed and normalised, without any network.
//!
//! `cargo run --release -p cellmill-nets --example augment -- [SIDE] [PICTURES]`; the number of threads is rayon's
//! (`RAYON_NUM_THREADS`).

#![expect(
    clippy::print_stdout,
    reason = "a program that prints what it measured"
)]

use std::time::Instant;

use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{Augment, Samples};

const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut given = std::env::args().skip(1).map(|it| it.parse::<usize>());
    let side = given.next().transpose()?.unwrap_or(64);
    let n = given.next().transpose()?.unwrap_or(20_000);
    let mut rng = Rng::new(1, Purpose::Synthetic, [0, 0]);
    let one = side * side * 3;
    let pixels = (0..BATCH * one).map(|_| rng.bits() as u8).collect();
    let samples = Samples::try_new(side, pixels, vec![0; BATCH])?;
    let normalisation = samples.normalisation();
    let order: Vec<usize> = (0..BATCH).collect();
    let mut out = vec![0.0; BATCH * one];
    let blurred = Augment {
        blur: 1.0,
        ..Augment::default()
    };
    for (name, augment) in [
        ("none", Augment::NONE),
        ("default", Augment::default()),
        ("all blurred", blurred),
    ] {
        let steps = n.div_ceil(BATCH);
        let begun = Instant::now();
        for step in 0..steps {
            let key = [1, step as u64];
            augment.batch(&samples, &order, &normalisation, key, &mut out);
        }
        let per_second = (steps * BATCH) as f64 / begun.elapsed().as_secs_f64();
        // Equal sums before and after a change of the code tell that no bit moved.
        let sum = out.iter().fold(0_u64, |sum, it| {
            sum.rotate_left(5) ^ u64::from(it.to_bits())
        });
        println!("{name}: {per_second:.0} pictures/s, side {side}, bits {sum:016x}");
    }
    Ok(())
}
