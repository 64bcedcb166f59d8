//! What is wrong with a document, and where: the one answer that `jet9 check`, the start of the process and the admin API give.
//!
//! Made by [`crate::check`]. `Display` writes one line a problem, `file:line:col: /pointer: message`, the form that editors and compilers
//! share; the admin API takes the fields instead (a JSON pointer, RFC 6901, per field of RFC 9457's problem document).
//! Knows nothing of how documents are read. Invariant: a [`Problems`] that `check` returns is never empty.

use std::fmt;

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the name of the source; empty for a document without a name.
    pub file: String,
    /// Line and column (in characters), from 1; `None` for documents that came as JSON.
    pub place: Option<(usize, usize)>,
    /// The JSON pointer (RFC 6901) of the value; empty for the document as a whole.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// All problems of a document, in the order of their places; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if let Some((line, column)) = self.place {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, place: Option<(usize, usize)>, pointer: &str, want: &str) {
        let problem = Problem {
            file: file.into(),
            place,
            pointer: pointer.into(),
            message: "is wrong".into(),
        };
        assert_eq!(problem.to_string(), want);
    }

    #[test]
    fn a_problem_is_written_as_compilers_write_theirs() {
        check(
            "a.toml",
            Some((3, 9)),
            "/node/id",
            "a.toml:3:9: /node/id: is wrong",
        );
        check("a.toml", Some((3, 9)), "", "a.toml:3:9: is wrong");
        check("a.json", None, "/id", "a.json: /id: is wrong");
        check("", None, "/id", "/id: is wrong");
        check("", None, "", "is wrong");
    }

    #[test]
    fn problems_are_one_a_line() {
        let one = Problem {
            file: "f".into(),
            place: Some((1, 1)),
            pointer: String::new(),
            message: "m".into(),
        };
        assert_eq!(
            Problems(vec![one.clone(), one]).to_string(),
            "f:1:1: m\nf:1:1: m"
        );
    }
}
