//! Wall-clock time as the semantics see it: a number handed in, never read here; and its form in HTTP fields.
//!
//! RFC 9111 counts in whole seconds; milliseconds are kept so that delays of a fetch add up correctly. Dates in fields follow RFC 9110
//! §5.6.7: three forms, GMT alone, letter case ignored (RFC 9111 §4.2). Invariant: no date and no sum of times overflows or panics.

use std::time::Duration;

mod date;

pub use date::HttpDate;

/// A moment of the wall clock, in milliseconds since the Unix epoch. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the Unix epoch; saturates.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The time that passed from `earlier` to `self`; zero if the clock went backwards.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved `by` into the future; saturates.
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The date of a field (RFC 9110 §5.6.7), `None` when it has none of the three forms. Dates before 1970 are 1970. A year of two
    /// digits is the one nearest below `reference` plus 50 years.
    pub fn parse_http_date(text: &[u8], reference: Self) -> Option<Self> {
        date::parse(text, reference)
    }

    /// This moment as a field carries it: `Sun, 06 Nov 1994 08:49:37 GMT`. From the year 10000 on, the end of 9999.
    pub const fn http_date(self) -> HttpDate {
        HttpDate::of(self)
    }
}
