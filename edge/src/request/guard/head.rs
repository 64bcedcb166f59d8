//! Where does a head end? Asked by `framework::front` after each read, until it knows.
//!
//! RFC 9112 §2.1, §2.2. Looks at every byte once however the bytes arrive, and refuses as early as it can what could only be refused
//! later: lines that end in LF alone, and heads beyond their limits. What the lines say is judged afterwards, by [`super::parse_http1`].

use jet9_config::limits::Limits;
use memchr::memchr_iter;

use super::{Refusal, Rule};

/// The search for the end of one head in a growing buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Bytes looked at.
    searched: usize,
    /// Where the line begins that has not ended yet.
    line: usize,
    /// Lines that have ended, the request line included; an empty line before it is not counted.
    lines: usize,
}

impl Search {
    /// The length of the head at the beginning of `buffer`, its empty line included; `None` until that has arrived.
    ///
    /// `buffer` holds what it held at the last call, and maybe more. A new head takes a new search.
    ///
    /// # Errors
    /// When no continuation could be accepted.
    pub fn end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        Ok(self.find(buffer, limits)?)
    }

    fn find(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Rule> {
        let start = self.searched;
        let unseen = buffer.get(start..).unwrap_or_default();
        for lf in memchr_iter(b'\n', unseen).map(|at| start + at) {
            self.searched = lf + 1;
            if self.line_ends(buffer, lf, limits)? {
                return Ok(Some(lf + 1));
            }
        }
        self.searched = buffer.len();
        self.check_unfinished(buffer, limits).map(|()| None)
    }

    /// Whether the line that the LF at `lf` ends is the last of the head.
    fn line_ends(&mut self, buffer: &[u8], lf: usize, limits: &Limits) -> Result<bool, Rule> {
        let begins = std::mem::replace(&mut self.line, lf + 1);
        let line = &buffer[begins..lf];
        let (line, ended_by_cr) = match line.split_last() {
            Some((b'\r', line)) => (line, true),
            _ => (line, false),
        };
        if self.lines == 0 {
            check_request_line(line, limits)?;
        }
        if exceeds(lf + 1, limits.head_bytes) {
            return Err(Rule::HeadBytes);
        }
        if !ended_by_cr {
            return Err(Rule::BareLf);
        }
        if line.is_empty() && self.lines == 0 {
            return if begins == 0 {
                Ok(false)
            } else {
                Err(Rule::EmptyLines)
            };
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.lines += 1;
        // The request line is the one more.
        if self.lines > limits.head_fields.saturating_add(1) {
            return Err(Rule::HeadFields);
        }
        Ok(false)
    }

    fn check_unfinished(&self, buffer: &[u8], limits: &Limits) -> Result<(), Rule> {
        if self.lines == 0 {
            let line = buffer.get(self.line..).unwrap_or_default();
            check_request_line(line.strip_suffix(b"\r").unwrap_or(line), limits)?;
        }
        // Already full, and at least one byte is to come.
        if exceeds(buffer.len().saturating_add(1), limits.head_bytes) {
            return Err(Rule::HeadBytes);
        }
        Ok(())
    }
}

/// Judges a request line, whole or not, by its length and its first byte: a TLS handshake on a port for clear text is refused at once.
fn check_request_line(line: &[u8], limits: &Limits) -> Result<(), Rule> {
    if exceeds(line.len(), limits.request_line_bytes) {
        return Err(Rule::RequestLineBytes);
    }
    match line.first() {
        Some(&byte) if !super::fields::is_token_byte(byte) => Err(Rule::Method),
        _ => Ok(()),
    }
}

fn exceeds(length: usize, limit: u64) -> bool {
    u64::try_from(length).is_ok_and(|length| length > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Rule> {
        let found = Search::default().end(buffer, limits);
        found.map_err(|refusal| refusal.rule)
    }

    /// The same, one byte at a time; also counts that every byte is looked at once.
    fn bytewise(buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Rule> {
        let mut search = Search::default();
        let mut looked_at = 0;
        for arrived in 1..=buffer.len() {
            looked_at += arrived - search.searched;
            match search.end(&buffer[..arrived], limits) {
                Ok(None) => assert_eq!(search.searched, arrived),
                Ok(Some(end)) => {
                    assert_eq!(looked_at, end);
                    return Ok(Some(end));
                }
                Err(refusal) => return Err(refusal.rule),
            }
        }
        assert_eq!(looked_at, buffer.len());
        Ok(None)
    }

    fn check(buffer: &str, expected: Result<Option<usize>, Rule>) {
        let limits = Limits {
            head_bytes: 64,
            head_fields: 3,
            request_line_bytes: 20,
            ..Limits::default()
        };
        assert_eq!(whole(buffer.as_bytes(), &limits), expected, "{buffer:?}");
        assert_eq!(
            bytewise(buffer.as_bytes(), &limits),
            expected,
            "byte by byte: {buffer:?}"
        );
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        check("", Ok(None));
        check("GET / HTTP/1.1\r\n", Ok(None));
        check("GET / HTTP/1.1\r\nHost: a\r\n", Ok(None));
        check("GET / HTTP/1.1\r\nHost: a\r\n\r", Ok(None));
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some(27)));
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n\n", Ok(Some(27)));
        check("GET / HTTP/1.1\r\n\r\nGET /", Ok(Some(18)));
    }

    #[test]
    fn one_empty_line_may_precede_a_request_line() {
        check("\r\n", Ok(None));
        check("\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(20)));
        check("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Err(Rule::EmptyLines));
    }

    #[test]
    fn lines_that_end_in_lf_alone_are_refused_at_once() {
        check("\n", Err(Rule::BareLf));
        check("GET / HTTP/1.1\n", Err(Rule::BareLf));
        check("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Rule::BareLf));
        check("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(Rule::BareLf));
    }

    #[test]
    fn limits_are_kept_before_the_head_is_complete() {
        check("GET /67890123456789", Ok(None));
        check("GET /678901234567890\r", Ok(None));
        check("GET /6789012345678901", Err(Rule::RequestLineBytes));
        let three = "GET / HTTP/1.1\r\na:1\r\na:2\r\na:3\r\n";
        check(three, Ok(None));
        check(&format!("{three}a:4\r\n"), Err(Rule::HeadFields));
        let padded = |n: usize| format!("GET / HTTP/1.1\r\na:{}", "x".repeat(n));
        check(&padded(45), Ok(None));
        check(&padded(46), Err(Rule::HeadBytes));
        check(&format!("{}\r\n\r\n", padded(42)), Ok(Some(64)));
        check(&format!("{}\r\n\r\n", padded(43)), Err(Rule::HeadBytes));
    }

    #[test]
    fn what_cannot_begin_a_request_is_refused_at_its_first_byte() {
        check("\u{16}\u{3}\u{1}", Err(Rule::Method));
        check("\0", Err(Rule::Method));
        check(" GET", Err(Rule::Method));
        check("\r\n\t", Err(Rule::Method));
    }
}
