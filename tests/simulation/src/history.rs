//! What happened, in the order in which it did, in lines that a person can read.

use std::fmt;
use std::time::Duration;

use cellmill_store::fault::Kind;
use cellmill_store::gate::Call;

use crate::machine::NAMES;
use crate::plan::{Deed, Fate, Moment, Of, Verb};

/// The record of one schedule. Nothing is kept unless somebody wants to read it.
#[derive(Debug, Default)]
pub struct History {
    is_told: bool,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at: Duration,
    pub who: Option<usize>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Started {
        incarnation: u32,
    },
    Woke,
    Fault {
        deed: Deed,
        moment: Option<Moment>,
    },
    /// A call that came to the store.
    Call {
        call: String,
        is_done: bool,
    },
    /// One that did not.
    Refused {
        call: String,
        counted: Vec<(Of, u32)>,
    },
    /// A document changed.
    Changed(String),
    Queue(String),
    Fate {
        fate: Option<Fate>,
        body: String,
    },
    User {
        verb: Option<Verb>,
        job: String,
        answer: String,
    },
    Note(String),
    Violation(String),
}

impl What {
    pub fn call(call: &Call, is_done: bool) -> Self {
        Self::Call {
            call: format!("{:?} {}", call.operation, call.key),
            is_done,
        }
    }

    pub fn refused(call: &Call, counted: Vec<(Of, u32)>) -> Self {
        Self::Refused {
            call: format!("{:?} {}", call.operation, call.key),
            counted,
        }
    }
}

impl History {
    pub fn new(is_told: bool) -> Self {
        Self {
            is_told,
            events: Vec::new(),
        }
    }

    pub fn tell(&mut self, at: Duration, who: Option<usize>, what: impl FnOnce() -> What) {
        if self.is_told {
            let what = what();
            self.events.push(Event { at, who, what });
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map_or("", |it| NAMES[it]);
        write!(f, "{:>9.3} {who:<10} {}", self.at.as_secs_f64(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { incarnation } => write!(f, "starts, process {incarnation}"),
            Self::Woke => write!(f, "wakes up"),
            Self::Fault { deed, moment } => {
                let moment = match moment {
                    Some(Moment::Before) => ", before the call",
                    Some(Moment::After) => ", after the call",
                    None => "",
                };
                write!(f, "!! {}{moment}", deed_text(*deed))
            }
            Self::Call {
                call,
                is_done: true,
            } => write!(f, "   {call}"),
            Self::Call { call, .. } => write!(f, "   {call}: refused"),
            Self::Refused { call, .. } => write!(f, "   {call}: did not arrive"),
            Self::Changed(text) => write!(f, "-> {text}"),
            Self::Fate { fate, body } => match fate {
                None => write!(f, "   sends {body}"),
                Some(Fate::Lost) => write!(f, "!! sends {body}: lost"),
                Some(Fate::Twice(late)) => {
                    write!(f, "!! sends {body}: twice, again after {late:?}")
                }
                Some(Fate::Late(late)) => write!(f, "!! sends {body}: late by {late:?}"),
            },
            Self::User { verb, job, answer } => {
                let verb = verb.map_or("submit", Verb::as_str);
                write!(f, "** a person: {verb} {job}: {answer}")
            }
            Self::Queue(text) | Self::Note(text) => write!(f, "   {text}"),
            Self::Violation(text) => write!(f, "## VIOLATION: {text}"),
        }
    }
}

fn deed_text(deed: Deed) -> String {
    match deed {
        Deed::Fail(Kind::Unavailable) => "no answer".to_owned(),
        Deed::Fail(Kind::Precondition) => "answer 412".to_owned(),
        Deed::Fail(Kind::Exists) => "answer 409".to_owned(),
        Deed::Fail(kind) => format!("answer {kind:?}"),
        Deed::Late(time) => format!("no answer, and it comes {time:?} late"),
        Deed::Slow(time) => format!("slow, {time:?}"),
        Deed::Freeze(time) => format!("the process stands still for {time:?}"),
        Deed::LastWrite(time) => {
            format!("the process is killed, its write comes {time:?} late")
        }
        Deed::Crash => "the process is killed".to_owned(),
    }
}
