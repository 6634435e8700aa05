//! `dead`: messages that were given up, why, and how they are sent again.

use cellmill_core::messages::queue_names;
use cellmill_queue::letters::{self, OpenedLetter};
use cellmill_queue::{Queue, QueueName};
use cellmill_service::Settings;
use serde::Serialize;

use crate::cli::table::{self, Table};
use crate::cli::{Console, Error, Exit};

use super::root::HomeArgs;

/// Look at messages that were given up, and send them again
///
/// A message is given up when it can't succeed, or failed five times. It stays in the dead-letter queue of its
/// queue (14 days on AWS, for ever in a folder) until it is sent again. Sending again is harmless: whatever a message
/// asks for is looked up in the documents, and what is done is not done twice.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DeadCommand {
    /// List messages that were given up: input, reason, attempts
    Ls(LsArgs),
    /// Send messages that were given up into their queues again
    Redrive(RedriveArgs),
}

/// Which messages
#[derive(Clone, Debug, clap::Args)]
pub struct Filter {
    /// Only of this queue, such as `uploads`; repeat it for more
    #[arg(long = "of", value_name = "QUEUE", value_parser = queue_name)]
    queues: Vec<QueueName>,
    /// Only those whose reason holds this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those whose input holds this text, such as a part of a key
    #[arg(long, value_name = "TEXT")]
    input: Option<String>,
    /// Only these
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Look at no more of a queue than this
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)))]
pub struct RedriveArgs {
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    filter: Filter,
    /// Send all that the filters leave
    #[arg(long, group = "which")]
    all: bool,
    /// Only say what would be sent
    #[arg(long, group = "which")]
    dry_run: bool,
}

fn queue_name(text: &str) -> Result<QueueName, String> {
    QueueName::parse(text).map_err(|it| it.to_string())
}

impl Filter {
    fn queues(&self) -> Vec<QueueName> {
        if !self.queues.is_empty() {
            return self.queues.clone();
        }
        let parsed = queue_names().into_iter();
        parsed.filter_map(|it| QueueName::parse(&it).ok()).collect()
    }

    fn takes(&self, letter: &OpenedLetter) -> bool {
        let holds = |text: &Option<String>, inside: &str| {
            text.as_ref().is_none_or(|it| inside.contains(it.as_str()))
        };
        let reason = letter.reason.as_deref().unwrap_or_default();
        holds(&self.reason, reason)
            && holds(&self.input, &letter.body)
            && (self.id.is_empty() || self.id.contains(&letter.id))
    }

    async fn find(&self, queue: &dyn Queue) -> Result<Vec<OpenedLetter>, Error> {
        let mut found = Vec::new();
        for name in self.queues() {
            let letters = letters::list(queue, &name, self.limit).await;
            let letters = letters.map_err(Error::inner(format!(
                "look at the dead letters of `{name}`"
            )))?;
            found.extend(letters.into_iter().filter(|it| self.takes(it)));
        }
        Ok(found)
    }
}

pub(crate) async fn run(command: DeadCommand, console: &mut Console) -> Result<Exit, Error> {
    let settings = Settings::from_env().map_err(Error::inner("read the settings"))?;
    match command {
        DeadCommand::Ls(args) => {
            let queue = args.home.open_queue(&settings).await?;
            let found = args.filter.find(&*queue).await?;
            console.answer(&found, |console, found| show(found, console))?;
            Ok(Exit::Ok)
        }
        DeadCommand::Redrive(args) => redrive(&args, &settings, console).await,
    }
}

/// What was sent again, for programs.
#[derive(Clone, Debug, Serialize)]
struct Redriven {
    n_sent: usize,
    dry_run: bool,
    messages: Vec<OpenedLetter>,
}

async fn redrive(
    args: &RedriveArgs,
    settings: &Settings,
    console: &mut Console,
) -> Result<Exit, Error> {
    let queue = args.home.open_queue(settings).await?;
    let found = args.filter.find(&*queue).await?;
    let mut n_sent = 0;
    if !args.dry_run {
        for name in args.filter.queues() {
            let of_queue = found.iter().filter(|it| it.queue == name.as_str());
            let ids: Vec<String> = of_queue.map(|it| it.id.clone()).collect();
            if !ids.is_empty() {
                let sent = letters::redrive(&*queue, &name, &ids).await;
                n_sent += sent.map_err(Error::inner(format!("send to `{name}` again")))?;
            }
        }
    }
    let redriven = Redriven {
        n_sent,
        dry_run: args.dry_run,
        messages: found,
    };
    console.answer(&redriven, |console, redriven| {
        show(&redriven.messages, console)?;
        if redriven.dry_run {
            console.note("none was sent; --all without --dry-run sends them");
        } else {
            console.note(format!("{} sent again", redriven.n_sent));
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

/// What a table shows of an input or a reason.
const SHOWN_CHARS: usize = 100;

fn show(letters: &[OpenedLetter], console: &mut Console) -> Result<(), Error> {
    if letters.is_empty() {
        console.note("no message was given up");
        return Ok(());
    }
    let mut table = Table::new(["QUEUE", "ID", "GIVEN UP", "ATTEMPTS", "INPUT", "REASON"]);
    for it in letters {
        let reason = it
            .reason
            .as_deref()
            .unwrap_or("none was written: its handlers crashed or ran out of time, see their log");
        table.row([
            it.queue.clone(),
            it.id.clone(),
            table::moment(it.died_at.unwrap_or(it.sent_at)),
            it.attempts.to_string(),
            cut(&subject(&it.body)),
            cut(reason),
        ]);
    }
    console.line(table.render())?;
    Ok(())
}

/// The keys that an event names, else the whole text.
fn subject(body: &str) -> String {
    match cellmill_core::events::parse(body) {
        Ok(created) if !created.is_empty() => {
            let keys: Vec<String> = created.into_iter().map(|it| it.key).collect();
            keys.join(", ")
        }
        _ => body.to_owned(),
    }
}

fn cut(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= SHOWN_CHARS {
        return flat;
    }
    let head: String = flat.chars().take(SHOWN_CHARS - 1).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: &str, reason: Option<&str>) -> OpenedLetter {
        OpenedLetter {
            id: "1".to_owned(),
            queue: "uploads".to_owned(),
            body: body.to_owned(),
            reason: reason.map(str::to_owned),
            attempts: 1,
            sent_at: chrono::DateTime::default(),
            died_at: None,
        }
    }

    #[test]
    fn a_filter_takes_what_holds_all_of_its_texts() {
        let filter = Filter {
            queues: Vec::new(),
            reason: Some("disk".to_owned()),
            input: Some("img/b1/".to_owned()),
            id: Vec::new(),
            limit: 10,
        };
        assert!(filter.takes(&letter("img/b1/c/Images/a.png", Some("the disk is full"))));
        assert!(!filter.takes(&letter("img/b2/c/Images/a.png", Some("the disk is full"))));
        assert!(!filter.takes(&letter("img/b1/c/Images/a.png", None)));
    }

    #[test]
    fn the_subject_of_an_event_is_its_keys() {
        let event = cellmill_core::events::print(&cellmill_core::events::ObjectCreated {
            key: "img/b/c/Images/a.png".to_owned(),
            etag: None,
            size: None,
            version_id: None,
            sequencer: None,
        });
        assert_eq!(subject(&event), "img/b/c/Images/a.png");
        assert_eq!(subject("{poison"), "{poison");
    }
}
