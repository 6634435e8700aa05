//! Where the time of a training goes, on made-up pictures.
//!
//! `cargo run --release -p cellmill-nets --example profile -- [SIDE] [PICTURES]`; the number of threads is rayon's
//! (`RAYON_NUM_THREADS`).

use std::io::Write as _;
use std::ops::ControlFlow;

use cellmill_nets::rng::{Purpose, Rng};
use cellmill_nets::{Device, ProfilePart, Samples, TrainOptions, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut given = std::env::args().skip(1).map(|it| it.parse::<usize>());
    let side = given.next().transpose()?.unwrap_or(64);
    let n = given.next().transpose()?.unwrap_or(1280);
    let mut rng = Rng::new(1, Purpose::Synthetic, [0, 0]);
    let mut made = |n: usize| {
        let pixels = (0..n * side * side * 3).map(|_| rng.bits() as u8).collect();
        Samples::try_new(side, pixels, (0..n).map(|it| it % 2).collect())
    };
    let (train, validation) = (made(n)?, made(n / 8)?);
    let options = TrainOptions {
        side,
        epochs: 3,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(options, train, validation, &Device::Cpu.open()?)?;
    while !trainer.is_finished() {
        trainer.epoch(&mut |_| ControlFlow::Continue(()))?;
    }
    let (profile, mut out) = (trainer.profile(), std::io::stdout());
    for part in ProfilePart::ALL {
        writeln!(
            out,
            "{:10} {:8.3} s",
            part.as_str(),
            profile.of(part).as_secs_f64()
        )?;
    }
    let pictures = profile.pictures as f64;
    let rate = pictures / profile.looped().as_secs_f64();
    let alone = pictures / profile.computed().as_secs_f64();
    writeln!(
        out,
        "{rate:.0} pictures/s with everything, {alone:.0} computed, ratio {:.3}",
        rate / alone
    )?;
    Ok(())
}
