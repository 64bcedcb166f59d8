//! Which tests may be lost, and why: the lists in `loadtests/conformance/*.txt`.
//!
//! A line is the name of a test, a space, and the reason; what begins with `#` is for readers.

/// Names of tests with their reasons.
pub(super) struct Known(Vec<(&'static str, &'static str)>);

impl Known {
    /// Reads lists.
    pub(super) fn read(lists: &[&'static str]) -> Self {
        let lines = lists.iter().flat_map(|list| list.lines());
        let lines = lines.filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(|line| line.split_once(' ')).collect())
    }

    /// Why this test may be lost.
    pub(super) fn reason(&self, id: &str) -> Option<&'static str> {
        let known = self.0.iter().find(|(known, _)| *known == id);
        known.map(|(_, reason)| *reason)
    }

    /// The names.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_what_stands_behind_the_name() {
        let known = Known::read(&["# why\na-test for a reason\n", "b of another\n"]);
        assert_eq!(known.reason("a-test"), Some("for a reason"));
        assert_eq!(known.reason("b"), Some("of another"));
        assert_eq!(known.reason("c"), None);
        assert_eq!(known.all().count(), 2);
    }
}
