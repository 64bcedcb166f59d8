//! What is wrong with a document, and where.

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the name of the source.
    pub file: String,
    /// Line and column, from 1; `None` for documents that came as JSON.
    pub place: Option<(usize, usize)>,
    /// The JSON pointer (RFC 6901) of the value.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// All problems of a document; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);
