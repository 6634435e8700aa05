//! `why`: what happened to a job, a unit, an image or a CSV.

use cellmill_api::views::WhyView;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit, ServerArgs};

/// Say why a job, a unit, an image or a CSV is where it is: what happened, when, by whom
///
/// It is read from the documents themselves: the job's history, the attempts of its units and how each ended, the
/// records of files, and the audit trail: who decided what. So it also says why something was done twice, or not at all.
///
/// Examples:
///   cellmill why DkxD9Kjl                          a job; `DkxD9Kjl/train` where a directory has several
///   cellmill why DkxD9Kjl/data-00003               one unit of it
///   cellmill why img/b1/c1/Images/20190722_1.png   a photograph
///   cellmill why csv/b1/2019-7-22/c1/20190722_1.csv   a doctor's points
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::doc_markdown, reason = "the help is shown as it stands here")]
pub struct WhyArgs {
    /// A job, a unit, or the key of an image or a CSV
    subject: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &WhyArgs, console: &mut Console) -> Result<Exit, Error> {
    let why = args.server.client()?.why(&args.subject).await?;
    console.answer(&why, |console, why| show(why, console))?;
    Ok(Exit::Ok)
}

fn show(why: &WhyView, console: &mut Console) -> Result<(), Error> {
    console.line(&why.subject)?;
    for sentence in &why.answer {
        console.line(format_args!("  {sentence}"))?;
    }
    if why.events.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["when", "who", "what"]);
    for it in &why.events {
        table.row([table::moment(it.at), it.who.clone(), it.what.clone()]);
    }
    console.line("")?;
    console.line(table.render())
}
