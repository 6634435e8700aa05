//! `synth`: photographs that nobody took, with what is on them.

use std::path::PathBuf;

use crate::cli::table;
use crate::cli::{Console, Error, Exit};
use crate::synth::{Spec, write_folder};

/// Make synthetic smear photographs with known truth, ready to import
///
/// Writes img/, csv/, classes.json and truth.json. The same settings give the same bytes on every machine.
#[derive(Clone, Debug, clap::Args)]
pub struct SynthArgs {
    /// The folder to make; it must be empty or not there
    dir: PathBuf,
    /// Photographs in all
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: u32,
    /// Cases, each with a stain of its own [default: one for every ten images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cases: Option<u32>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Width and height in pixels, such as 1024x768
    #[arg(long, value_name = "WxH", default_value = "1024x768", value_parser = parse_size)]
    size: (u32, u32),
    /// Kinds of cells
    #[arg(long, value_name = "K", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=6))]
    classes: u8,
    /// Small pictures of 160x120 with few cells, for tries with many images
    #[arg(long, conflicts_with = "size")]
    small: bool,
}

pub(crate) fn run(args: &SynthArgs, console: &mut Console) -> Result<Exit, Error> {
    let (width, height) = if args.small { (160, 120) } else { args.size };
    let spec = Spec {
        seed: args.seed,
        n_images: args.images,
        n_cases: args.cases.unwrap_or_else(|| args.images.div_ceil(10)),
        width,
        height,
        n_classes: args.classes,
    };
    let made = write_folder(&args.dir, &spec)?;
    console.answer(&made, |console, made| {
        console.line(format_args!(
            "{} images with {} cells, {}, in {}",
            made.images,
            made.cells,
            table::bytes(made.bytes),
            args.dir.display()
        ))
    })?;
    Ok(Exit::Ok)
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let refuse = || format!("`{text}` is not of the form 1024x768, 64 to 8192 pixels each");
    let (width, height) = text.split_once('x').ok_or_else(refuse)?;
    let side = |it: &str| it.parse().ok().filter(|it| (64..=8192).contains(it));
    Ok((
        side(width).ok_or_else(refuse)?,
        side(height).ok_or_else(refuse)?,
    ))
}
