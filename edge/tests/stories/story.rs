//! What a story is made of, once it was read.

use std::time::Duration;

use super::expectation::Rule;

/// One file.
pub(crate) struct Story {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// The file, as errors name it.
    pub(crate) file: String,
    /// Why it is not played with a disk.
    pub(crate) without_disk: Option<String>,
    /// Why it is not played over HTTP/2.
    pub(crate) without_http2: Option<String>,
    /// Sections of the site's document, where they are not the usual ones.
    pub(crate) site: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// A step and where it begins.
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) action: Action,
}

/// What happens in a step. A `who` is empty for the only client, or the only request at the origin.
pub(crate) enum Action {
    ClientSends {
        who: String,
        method: String,
        target: String,
        message: Message,
    },
    ClientWaits {
        who: String,
    },
    ClientBegins {
        who: String,
    },
    ClientSees {
        who: String,
        status: u16,
        end: End,
        rules: Vec<Rule>,
    },
    OriginSees {
        who: String,
        method: String,
        target: String,
        rules: Vec<Rule>,
    },
    OriginSeesNothing,
    OriginAnswers {
        who: String,
        status: u16,
        message: Message,
    },
    OriginAdds {
        who: String,
        content: Vec<u8>,
    },
    OriginCloses {
        who: String,
    },
    OriginStops,
    OriginStarts,
    Advance(Duration),
    Restart {
        how: Ending,
        when: When,
    },
    Purge(serde_json::Value),
}

/// How an answer's content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Broken,
}

/// How the edge ends before it starts again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is asked to stop.
    Stop,
    /// As a power failure would.
    Kill,
}

/// In which plays it restarts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    WithDisk,
}

/// What a client or the origin sends: fields in order, a value of `None` for one that must not be added, and the content.
#[derive(Default)]
pub(crate) struct Message {
    pub(crate) fields: Vec<(String, Option<String>)>,
    pub(crate) content: Vec<u8>,
}

impl Message {
    /// Whether the story says anything about a field.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The value that the story gives a field first.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut named = self
            .fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.find_map(|(_, value)| value.as_deref())
    }
}
