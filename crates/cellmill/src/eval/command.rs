//! The command line of `eval`: a model's number, or what kind of files to compare.

use crate::cli::{Console, Error, Exit};
use crate::commands::predict;

use super::{detect, segment};

/// Measure a model on a data set's labelled cells, or detections and masks in files
///
/// With a model's number the server measures it. `detect` and `segment` compare files that any program may have
/// written, and need no server.
#[derive(Clone, Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub struct EvalArgs {
    #[command(subcommand)]
    files: Option<FilesCommand>,
    #[command(flatten)]
    model: predict::EvalModelArgs,
}

const EXAMPLES: &str = "\
Examples:
  cellmill eval 100 --dataset DkxD9Kjl
      confusion matrix, precision and recall by class, accuracy, balanced accuracy, macro-F1
  cellmill eval detect --truth smears/ --detections found.json
      average precision as COCO's evaluation has it, and F1
  cellmill eval segment --truth labels/ --masks found/
      F1, average precision and Dice of label images";

/// Files that are compared.
#[derive(Clone, Debug, clap::Subcommand)]
enum FilesCommand {
    Detect(detect::DetectArgs),
    Segment(segment::SegmentArgs),
}

pub async fn run(args: &EvalArgs, console: &mut Console) -> Result<Exit, Error> {
    match &args.files {
        Some(FilesCommand::Detect(args)) => detect::run(args, console),
        Some(FilesCommand::Segment(args)) => segment::run(args, console),
        None => predict::eval(&args.model, console).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(line: &str) -> Result<EvalArgs, clap::Error> {
        let words = ["cellmill", "eval"].into_iter().chain(line.split(' '));
        let Command::Eval(args) = Cli::try_parse_from(words)?.command else {
            panic!("it is eval")
        };
        Ok(*args)
    }

    #[test]
    fn a_model_is_named_as_ever_and_files_by_their_kind() {
        let of_model = parsed("100 --dataset DkxD9Kjl --binary --recall 0.9").unwrap();
        assert!(of_model.files.is_none());
        let detect = parsed("detect --truth a --detections b --max-dets 300 --json").unwrap();
        assert!(matches!(detect.files, Some(FilesCommand::Detect(_))));
        let segment = parsed("segment --truth a --masks b").unwrap();
        assert!(matches!(segment.files, Some(FilesCommand::Segment(_))));
        for wrong in [
            "100",
            "--dataset DkxD9Kjl",
            "detect",
            "100 detect --truth a --detections b",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
