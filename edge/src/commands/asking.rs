//! How a command asks a running edge and shows what it answered.
//!
//! The arguments that all commands share which ask and print, and the two steps that all of them take. Whom to ask: [`crate::client`]; how it
//! looks: [`super::output`].

use serde_json::Value;

use super::Failure;
use super::output::{self, Column, Format, Output};
use crate::client::{Answered, Ask, Client, Target};

/// Which edge is asked, and in which form its answer is printed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Asking {
    /// Which edge.
    #[command(flatten)]
    pub target: Target,
    /// In which form.
    #[command(flatten)]
    pub output: Output,
}

impl Asking {
    /// Asks.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Failure> {
        Client::find(&self.target)?.ask(ask)
    }

    /// Whether a human reads it.
    pub(super) fn is_table(&self) -> bool {
        self.output.format == Format::Table
    }

    /// Prints a list, which stands under this name in the answer.
    pub(super) fn list(&self, body: &Value, name: &str, columns: &[Column]) -> Result<(), Failure> {
        let rows = body[name].as_array().map_or(&[][..], Vec::as_slice);
        output::print(self.output, body, rows, columns)
    }

    /// Prints one thing, which is all of the answer.
    pub(super) fn one(&self, body: &Value, columns: &[Column]) -> Result<(), Failure> {
        output::print(self.output, body, std::slice::from_ref(body), columns)
    }
}
