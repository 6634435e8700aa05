//! The command line.

use cellmill_core::keys::JobKind;
use cellmill_core::messages::UnitClass;
use cellmill_nets::{Device, Precision};
use clap::Parser;

/// Takes units of jobs from a queue and works on them until it is told to stop.
///
/// Beside a standalone program over a folder: `worker-gpu --store file:///data/lab`. On AWS:
/// `worker-gpu --store s3://bucket --queue sqs://stack --class gpu --device cuda:0`.
#[derive(Clone, Debug, Parser)]
#[command(name = "worker-gpu", version)]
pub struct Options {
    /// Where everything is kept: `file:///absolute/root` or `s3://bucket`; the setting `CELLMILL_STORE` when left out
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where hints come from: `sqlite:///folder/file` or `sqs://prefix`; the setting `CELLMILL_QUEUE` when left out, and without
    /// that the queue file in the store's folder
    #[arg(long, value_name = "URL")]
    pub queue: Option<String>,
    /// A class of units to serve; repeat it for more
    #[arg(long = "class", value_name = "CLASS", default_value = "cpu", value_parser = UnitClass::parse)]
    pub classes: Vec<UnitClass>,
    /// The kinds of jobs to take, separated by commas: `data` finds and cuts cells, `train` trains classifiers,
    /// `predict` has a classifier name cells
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "data,train,predict", value_parser = kind)]
    pub kinds: Vec<JobKind>,
    /// What networks compute on: `cpu` or `cuda:<n>`; a device that is not there is an error. One training or
    /// prediction has it at a time, units of other kinds go on beside it
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// What products are computed with on a card: `f32` or `bf16`, which is faster and rounds more. Weights, sums and
    /// normalisation stay in `f32`
    #[arg(long, default_value = "f32")]
    pub precision: Precision,
    /// Units at the same time, each on a thread of its own, and as many threads for networks; the setting
    /// `CELLMILL_THREADS` when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// A program that does the units of `--kinds`, in place of the algorithms here: it gets a folder and one line of
    /// JSON on its standard input. See examples/exec-worker
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// With `--exec`: a program that says nothing for this long is ended and its unit tried again
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub exec_silence_s: u64,
    /// With `--exec`: what a program gets to end when its unit is not wanted any more, before it is killed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(0..=15))]
    pub exec_grace_s: u64,
    /// Leave new images alone: else the model of their label type labels them, when this worker serves the class
    /// `cpu` or `gpu`
    #[arg(long)]
    pub no_preannotate: bool,
}

impl Options {
    /// Does it label new images?
    pub(crate) fn preannotates(&self) -> bool {
        let is_usual = |it: &UnitClass| [UnitClass::cpu(), UnitClass::gpu()].contains(it);
        !self.no_preannotate && self.exec.is_none() && self.classes.iter().any(is_usual)
    }
}

fn kind(text: &str) -> Result<JobKind, String> {
    JobKind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = JobKind::ALL.iter().map(|it| it.as_str()).collect();
        format!("a kind of job is one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["worker-gpu"].iter().chain(arguments))
    }

    #[test]
    fn the_defaults_work_beside_a_standalone_program() {
        let options = parse(&[]).unwrap();
        assert_eq!(
            (options.kinds, options.classes),
            (
                vec![JobKind::Data, JobKind::Train, JobKind::Predict],
                vec![UnitClass::cpu()]
            )
        );
        assert_eq!(
            (options.device, options.store, options.queue),
            (Device::Cpu, None, None)
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (arguments, told) in [
            (["--device", "gpu"], "`cuda:<n>`"),
            (["--kinds", "data,bake"], "one of data, train"),
            (["--class", "A"], "lower-case"),
            (["--threads", "0"], "1..=256"),
        ] {
            let error = parse(&arguments).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(
            parse(&["--kinds", "data,train"]).unwrap().kinds,
            [JobKind::Data, JobKind::Train]
        );
    }

    #[test]
    fn new_images_are_labelled_by_usual_workers_unless_told_not_to() {
        assert!(parse(&[]).unwrap().preannotates());
        assert!(parse(&["--class", "gpu"]).unwrap().preannotates());
        assert!(!parse(&["--class", "gpu80"]).unwrap().preannotates());
        assert!(!parse(&["--no-preannotate"]).unwrap().preannotates());
    }
}
