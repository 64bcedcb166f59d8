//! What `jet9` can be asked to do, one module a command.
//!
//! Called by `main`, which turns arguments into these calls and their results into exit codes. Each command has `Arguments` and
//! `run(&Arguments) -> Result<ExitCode, Failure>`; what it prints for the user is its own.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

pub mod check;
pub mod quickstart;
pub mod run;

pub mod cache;
pub mod cert;
pub mod cluster;
pub mod explain;
pub mod node;
pub mod purge;
pub mod site;
pub mod token;

pub mod asking;
pub mod output;

/// What a command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It did not work.
    Failure = 1,
    /// It was asked in a way that makes no sense.
    Usage = 2,
    /// What it was asked about is not there.
    NotFound = 3,
    /// What it was asked to do contradicts what is there.
    Conflict = 4,
    /// It was done in part, or not in time.
    Partial = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command failed: for the user's eyes, and for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What is wrong and what to do, in one or more lines.
    pub message: String,
}

impl Failure {
    /// A failure of the ordinary kind.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::with(Code::Failure, message)
    }

    /// A failure with a code of its own.
    pub fn with(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The text of a file that a user names; `-`: of standard input.
fn read_file(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}
