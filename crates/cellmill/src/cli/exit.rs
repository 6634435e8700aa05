//! What the program's exit code says.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Ok,
    /// Something failed: a file could not be read, a job failed, `verify` found problems.
    Failed,
    /// The command line is wrong, or the folder given is not of the documented form.
    Usage,
    /// The command went through, but some files were refused, rejected or conflict with others.
    SomeRejected,
    /// No server answers.
    NotReachable,
    /// The server refused the request.
    Refused,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::SomeRejected => 3,
            Self::NotReachable => 4,
            Self::Refused => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The list of exit codes as `--help` shows it.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something failed: unreadable files, a failed job, problems found by verify
  2  the command line is wrong, or the folder is not of the documented layout
  3  done, but some files were refused or rejected, or conflict with others
  4  no server answers
  5  the server refused the request";
