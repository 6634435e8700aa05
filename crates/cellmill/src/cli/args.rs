//! The commands and what they share.

use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::commands::{
    case, dataset, dead, images, janitor, jobs, label_types, models, predict, settings, synth,
    train, up, why, workers,
};
use crate::{cost, demo, eval, import, show, support, verify};

use super::exit::EXIT_CODES;
use super::{Console, Error, Exit};

/// Turn microscope photographs of cells into labelled cells and data sets
#[derive(Debug, Parser)]
#[command(name = "cellmill", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(demo::DemoArgs),
    Up(up::UpArgs),
    Import(import::ImportArgs),
    Images(images::ImagesArgs),
    Image(images::ImageArgs),
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    Train(Box<train::TrainArgs>),
    Predict(Box<predict::PredictArgs>),
    Eval(Box<eval::EvalArgs>),
    #[command(subcommand)]
    Models(models::ModelsCommand),
    #[command(subcommand)]
    LabelType(label_types::LabelTypeCommand),
    #[command(subcommand)]
    Preannotate(label_types::PreannotateCommand),
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    Why(why::WhyArgs),
    Workers(workers::WorkersArgs),
    Support(support::SupportArgs),
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    Show(show::ShowArgs),
    Synth(synth::SynthArgs),
    Janitor(janitor::JanitorArgs),
    #[command(subcommand)]
    Case(case::CaseCommand),
    Verify(verify::VerifyArgs),
    Cost(Box<cost::CostArgs>),
    Settings(settings::SettingsArgs),
}

/// Which server to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// Address of the server; requests to an API Gateway of AWS are signed with the credentials of the environment
    #[arg(
        long = "endpoint",
        visible_alias = "url",
        value_name = "URL",
        env = cellmill_service::settings::env::ENDPOINT,
        default_value = "http://127.0.0.1:8750"
    )]
    pub url: String,
}

impl ServerArgs {
    pub fn client(&self) -> Result<Client, Error> {
        Ok(Client::new(&self.url)?)
    }
}

impl Cli {
    /// Runs the command that was given.
    pub async fn run(self, console: &mut Console) -> Result<Exit, Error> {
        match self.command {
            Command::Demo(args) => Box::pin(demo::run(&args, console)).await,
            Command::Up(args) => up::run(args, console).await,
            Command::Import(args) => import::run(&args, console).await,
            Command::Images(args) => images::list(&args, console).await,
            Command::Image(args) => images::one(&args, console).await,
            Command::Dataset(command) => dataset::run(command, console).await,
            Command::Train(args) => Box::pin(train::run(&args, console)).await,
            Command::Predict(args) => predict::run(&args, console).await,
            Command::Eval(args) => eval::run(&args, console).await,
            Command::Models(command) => models::run(command, console).await,
            Command::LabelType(command) => label_types::run(command, console).await,
            Command::Preannotate(command) => label_types::preannotate(command, console).await,
            Command::Jobs(command) => jobs::run(command, console).await,
            Command::Why(args) => why::run(&args, console).await,
            Command::Workers(args) => workers::run(&args, console).await,
            Command::Support(args) => support::run(&args, console).await,
            Command::Dead(command) => dead::run(command, console).await,
            Command::Show(args) => show::run(&args, console).await,
            Command::Synth(args) => synth::run(&args, console),
            Command::Janitor(args) => janitor::run(&args, console).await,
            Command::Case(command) => case::run(command, console).await,
            Command::Verify(args) => verify::run(&args, console).await,
            Command::Cost(args) => cost::run(&args, console),
            Command::Settings(args) => settings::run(&args, console),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::SomeRejected,
            Exit::NotReachable,
            Exit::Refused,
        ] {
            assert!(help.contains(&format!("\n  {}  ", exit.code())), "{exit:?}");
        }
    }

    #[test]
    fn help_shows_the_commands() {
        let help = Cli::command().term_width(80).render_help().to_string();
        expect_test::expect![[r"
            Turn microscope photographs of cells into labelled cells and data sets

            Usage: cellmill [OPTIONS] <COMMAND>

            Commands:
              demo         Show everything at once: pictures in, cells, a trained classifier, its predictions
              up           Run everything in this process over a folder: server, functions and workers
              import       Send a folder of photographs and doctors' points, or of class folders, to a server
              images       List images
              image        Show what is known of one image
              dataset      Make data sets, and look at them
              train        Train a classifier on the cells of a data set, or a detector on their boxes, and say how good it is
              predict      Let a model say what the cells of a data set, or of new images, are
              eval         Measure a model on a data set's labelled cells, or detections and masks in files
              models       Look at models, bring one from elsewhere, choose one for a label type
              label-type   Look at label types, define them, train their models
              preannotate  Let a model label new images first, or no model
              jobs         Look at jobs, cancel, stop or raise them, repeat failed ones
              why          Say why a job, a unit, an image or a CSV is where it is: what happened, when, by whom
              workers      List workers: what they serve, what they do, how their machines are
              support      Write a file for whoever helps: version, settings, health, figures, workers, jobs, dead letters
              dead         Look at messages that were given up, and send them again
              show         Write an image with its boxes as a PNG
              synth        Make synthetic smear photographs with known truth, ready to import
              janitor      Do one round of housekeeping over a root folder or a bucket, or say what it would do
              case         Erase a patient's case from a root folder or a bucket
              verify       Check that every document of a root folder parses and that everything it names exists
              cost         Reckon what images cost on AWS, stage by stage, and what they take at home
              settings     List the environment variables that `up` reads
              help         Print this message or the help of the given subcommand(s)

            Options:
                  --json     Answer in JSON, for programs
              -h, --help     Print help
              -V, --version  Print version

            Exit codes:
              0  done
              1  something failed: unreadable files, a failed job, problems found by verify
              2  the command line is wrong, or the folder is not of the documented layout
              3  done, but some files were refused or rejected, or conflict with others
              4  no server answers
              5  the server refused the request
        "]].assert_eq(&help);
    }
}
