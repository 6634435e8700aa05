//! The command: a place, a server, the stages, a report.

use std::path::{Path, PathBuf};

use cellmill_service::{Settings, Shutdown};

use crate::cli::{Console, Error, Exit};
use crate::client::Client;
use crate::standalone::{Running, UpOptions, start};
use crate::synth::{Spec, write_folder};

use super::report::Report;
use super::stages::{self, Place, Stages};

/// Show everything at once: pictures in, cells, a trained classifier, its predictions
///
/// Makes synthetic photographs (or takes a folder of yours in the documented layout), starts a server over a new
/// folder, and goes the whole way: signed uploads, labels, data sets of types 0, 1 and 2, a training, a prediction of
/// cases that the training never saw. Takes a few minutes. At the end it says where everything lies.
///
/// Examples:
///   cellmill demo
///   cellmill demo --from ./my-lab --root ./tried-out --stay
///   cellmill demo --endpoint URL
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct DemoArgs {
    /// Photographs and points in the documented layout, instead of synthetic ones. A file split.csv in it
    /// (batch,case,split) says which cases are kept apart; without one a fifth of the cases is
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The folder to keep everything in; it must be empty or not there [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Go the whole way on this server instead of one of its own: its address, as of a deployed stack. A worker must
    /// be there; nothing on it is overwritten, and what the demo makes stays
    #[arg(long, value_name = "URL", conflicts_with_all = ["root", "stay"])]
    endpoint: Option<String>,
    /// Go on answering until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Decides the synthetic photographs, the split and the training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Epochs of the training [default: that of `train`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: Option<u32>,
}

/// Synthetic photographs: enough to learn from, few enough to be quick.
const IMAGES: u32 = 60;
const CASES: u32 = 12;
const KINDS: u8 = 3;

/// Goes the whole way.
pub async fn run(args: &DemoArgs, console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(|error| Error::Usage {
        what: cellmill_service::report(&error),
        hint: Some("`cellmill settings` lists them".to_owned()),
    })?;
    cellmill_service::init_log(&cellmill_service::settings::LogSettings {
        filter: if std::env::var_os("CELLMILL_LOG").is_some() {
            settings.log.filter
        } else {
            // Its own report is what the demo says.
            "error".to_owned()
        },
        ..settings.log
    });
    let root = root(args)?;
    let beside = beside(&root);
    let mut stages = Stages::new(!console.is_json());
    let from = match &args.from {
        Some(dir) => dir.clone(),
        None => stages.time("make photographs", || photographs(args, &beside))?,
    };
    let shutdown = Shutdown::on_signals().map_err(Error::inner("receive signals"))?;
    if let Some(url) = &args.endpoint {
        console.note(format_args!(
            "everything lies behind {url}, pictures to look at in {}",
            beside.display()
        ));
        let demo = Demo {
            url: url.clone(),
            place: Place::Elsewhere(url.clone()),
            from,
            beside,
        };
        let report = Box::pin(demo.go(args, &mut stages, &shutdown, console)).await?;
        console.answer(&report, Report::show)?;
        return Ok(Exit::Ok);
    }
    console.note(format_args!(
        "everything lies in {}, pictures to look at in {}",
        root.display(),
        beside.display()
    ));
    let running = serve(&root, shutdown.clone()).await?;
    let url = format!("http://{}", running.address);
    let demo = Demo {
        url: url.clone(),
        place: Place::Root(running.root.clone()),
        from,
        beside,
    };
    let report = match Box::pin(demo.go(args, &mut stages, &shutdown, console)).await {
        Ok(report) => report,
        Err(error) => {
            running
                .stop()
                .await
                .map_err(Error::inner("end the server"))?;
            return Err(error);
        }
    };
    console.answer(&report, Report::show)?;
    if args.stay {
        console.note(format_args!("the server answers at {url} until Ctrl-C"));
        running
            .ended()
            .await
            .map_err(Error::inner("run the server"))?;
    } else {
        running
            .stop()
            .await
            .map_err(Error::inner("end the server"))?;
    }
    Ok(Exit::Ok)
}

/// A demo whose server answers.
struct Demo {
    url: String,
    place: Place,
    from: PathBuf,
    beside: PathBuf,
}

impl Demo {
    /// Goes the way. Ctrl-C ends it where it is; what was made stays.
    async fn go(
        &self,
        args: &DemoArgs,
        stages: &mut Stages,
        shutdown: &Shutdown,
        console: &mut Console,
    ) -> Result<Report, Error> {
        let client = Client::new(&self.url)?;
        let way = stages::Way {
            client: &client,
            from: &self.from,
            place: &self.place,
            beside: &self.beside,
            seed: args.seed,
            epochs: args.epochs,
        };
        tokio::select! {
            result = way.go(stages, console) => result,
            () = shutdown.tripped() => Err(Error::usage("ended by Ctrl-C; what was made so far stays")),
        }
    }
}

/// The root folder: new, or one that is empty.
fn root(args: &DemoArgs) -> Result<PathBuf, Error> {
    let Some(root) = &args.root else {
        let id = cellmill_worker::fresh_id("demo").to_string();
        return Ok(std::env::temp_dir()
            .join(format!("cellmill-{id}"))
            .join("root"));
    };
    let is_used = std::fs::read_dir(root).is_ok_and(|mut it| it.next().is_some());
    if is_used {
        return Err(Error::Usage {
            what: format!("the folder `{}` is not empty", root.display()),
            hint: Some("name a new one with --root: a demo begins with nothing".to_owned()),
        });
    }
    Ok(root.clone())
}

/// What belongs to the demo and not to the root: synthetic photographs, pictures to look at.
fn beside(root: &Path) -> PathBuf {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    root.with_file_name(format!("{name}-demo"))
}

fn photographs(args: &DemoArgs, beside: &Path) -> Result<PathBuf, Error> {
    let dir = beside.join("photographs");
    std::fs::create_dir_all(beside).map_err(Error::file("create", beside))?;
    let spec = Spec {
        seed: args.seed,
        n_images: IMAGES,
        n_cases: CASES,
        width: 1024,
        height: 768,
        n_classes: KINDS,
    };
    write_folder(&dir, &spec)?;
    Ok(dir)
}

async fn serve(root: &Path, shutdown: Shutdown) -> Result<Running, Error> {
    let options = UpOptions {
        root: root.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        workers: None,
    };
    start(options, shutdown)
        .await
        .map_err(Error::inner("start the server"))
}
