//! HTTP dates: which moment does a `Date`, `Expires` or `Last-Modified` name (RFC 9110 §5.6.7)?
//!
//! Called by the semantics for every dated field. Own code, because recipients of freshness dates ignore letter case (RFC 9111 §4.2)
//! and pivot two-digit years on the present. Weekdays are checked for form, not against the date: senders err there and it is redundant.
//! Invariant: no input panics; what has another form than the three is no date, so that its response counts as stale.

use std::fmt;

use super::Timestamp;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const LONG_WEEKDAYS: [&[u8]; 7] = [
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
    b"Sunday",
];
/// The last second of the year 9999: the form has room for four digits.
const LAST_SECOND: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

/// A moment in the form that fields are written in (IMF-fixdate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate {
    seconds: u64,
}

impl HttpDate {
    pub(super) const fn of(moment: Timestamp) -> Self {
        let seconds = moment.unix_seconds();
        Self {
            seconds: if seconds > LAST_SECOND {
                LAST_SECOND
            } else {
                seconds
            },
        }
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds / DAY, self.seconds % DAY);
        let (year, month, day) = civil(days);
        // 1 January 1970 was a Thursday, the fourth of WEEKDAYS.
        let weekday = name(&WEEKDAYS, (days + 3) % 7);
        let month = name(&MONTHS, month - 1);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
        )
    }
}

fn name(names: &[&'static [u8]], index: u64) -> &'static str {
    let bytes = usize::try_from(index)
        .ok()
        .and_then(|i| names.get(i))
        .copied()
        .unwrap_or(b"");
    std::str::from_utf8(bytes).unwrap_or_default()
}

pub(super) fn parse(text: &[u8], reference: Timestamp) -> Option<Timestamp> {
    let scan = || Scanner { rest: text };
    imf_fixdate(scan())
        .or_else(|| rfc850(scan(), reference))
        .or_else(|| asctime(scan()))?
        .moment()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(mut s: Scanner<'_>) -> Option<Date> {
    s.one_of(&WEEKDAYS)?;
    s.literal(b", ")?;
    let day = s.digits(2)?;
    s.literal(b" ")?;
    let month = s.one_of(&MONTHS)? + 1;
    s.literal(b" ")?;
    let year = s.digits(4)?;
    s.literal(b" ")?;
    let second = s.time_of_day()?;
    s.literal(b" GMT")?;
    s.end(Date {
        year,
        month,
        day,
        second,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(mut s: Scanner<'_>, reference: Timestamp) -> Option<Date> {
    s.one_of(&LONG_WEEKDAYS)?;
    s.literal(b", ")?;
    let day = s.digits(2)?;
    s.literal(b"-")?;
    let month = s.one_of(&MONTHS)? + 1;
    s.literal(b"-")?;
    let year = full_year(s.digits(2)?, reference);
    s.literal(b" ")?;
    let second = s.time_of_day()?;
    s.literal(b" GMT")?;
    s.end(Date {
        year,
        month,
        day,
        second,
    })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(mut s: Scanner<'_>) -> Option<Date> {
    s.one_of(&WEEKDAYS)?;
    s.literal(b" ")?;
    let month = s.one_of(&MONTHS)? + 1;
    s.literal(b" ")?;
    let day = if s.literal(b" ").is_some() {
        s.digits(1)?
    } else {
        s.digits(2)?
    };
    s.literal(b" ")?;
    let second = s.time_of_day()?;
    s.literal(b" ")?;
    let year = s.digits(4)?;
    s.end(Date {
        year,
        month,
        day,
        second,
    })
}

/// RFC 9110 §5.6.7: what appears to be more than 50 years in the future is in the past.
fn full_year(two_digits: u64, reference: Timestamp) -> u64 {
    let (now, ..) = civil(reference.unix_seconds().min(LAST_SECOND) / DAY);
    let year = now / 100 * 100 + two_digits;
    if year > now + 50 {
        year.saturating_sub(100)
    } else {
        year
    }
}

struct Date {
    year: u64,
    month: u64,
    day: u64,
    /// Of the day; 86400 for a leap second at its end.
    second: u64,
}

impl Date {
    fn moment(&self) -> Option<Timestamp> {
        if self.day == 0 || self.day > days_in(self.year, self.month) {
            return None;
        }
        if self.year < 1970 {
            return Some(Timestamp::default());
        }
        let days = days_since_1970(self.year, self.month, self.day);
        Some(Timestamp::from_unix_seconds(days * DAY + self.second))
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before the first of January of `year`, counted from the year 1.
const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let before_month: u64 = (1..month).map(|m| days_in(year, m)).sum();
    days_before_year(year) - days_before_year(1970) + before_month + day - 1
}

/// Year, month and day of the day that is `days` after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let ordinal = days + days_before_year(1970);
    // The mean year has 365.2425 days: the estimate is at most one year off.
    let mut year = ordinal * 400 / 146_097 + 1;
    if days_before_year(year) > ordinal {
        year -= 1;
    } else if days_before_year(year + 1) <= ordinal {
        year += 1;
    }
    let mut day = ordinal - days_before_year(year);
    let mut month = 1;
    while day >= days_in(year, month) {
        day -= days_in(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        let (head, rest) = self.rest.split_at_checked(expected.len())?;
        self.rest = head.eq_ignore_ascii_case(expected).then_some(rest)?;
        Some(())
    }

    fn one_of(&mut self, names: &[&'static [u8]]) -> Option<u64> {
        let found = (0..)
            .zip(names)
            .find(|(_, name)| self.literal(name).is_some())?;
        Some(found.0)
    }

    fn digits(&mut self, count: usize) -> Option<u64> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        head.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + u64::from(byte - b'0'))
        })
    }

    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.digits(2)?;
        self.literal(b":")?;
        let minute = self.digits(2)?;
        self.literal(b":")?;
        let second = self.digits(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
    }

    fn end(self, date: Date) -> Option<Date> {
        self.rest.is_empty().then_some(date)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOV_2026: Timestamp = Timestamp::from_unix_seconds(1_795_000_000);

    #[track_caller]
    fn check(text: &str, seconds: Option<u64>) {
        let parsed = Timestamp::parse_http_date(text.as_bytes(), NOV_2026);
        assert_eq!(parsed, seconds.map(Timestamp::from_unix_seconds), "{text}");
    }

    #[test]
    fn the_three_forms_name_the_same_moment() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Sun Nov 16 08:49:37 1994", Some(784_975_777));
    }

    #[test]
    fn letter_case_does_not_matter() {
        check("sUN, 06 NOV 1994 08:49:37 gMT", Some(784_111_777));
    }

    #[test]
    fn a_two_digit_year_is_at_most_50_years_ahead() {
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Friday, 01-Jan-99 00:00:00 GMT", Some(915_148_800));
    }

    #[test]
    fn a_date_before_the_epoch_is_the_epoch() {
        check("Mon, 01 Jan 0001 00:00:00 GMT", Some(0));
        check("Sat, 01 Jan 0000 00:00:00 GMT", Some(0));
    }

    #[test]
    fn a_leap_day_is_there_in_leap_years_alone() {
        check("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400));
        check("Thu, 29 Feb 1900 00:00:00 GMT", None);
        check("Wed, 29 Feb 2023 00:00:00 GMT", None);
    }

    #[test]
    fn other_forms_are_no_dates() {
        for text in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 18 Foo 2050 02:01:18 GMT",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_far_future_is_written_as_the_end_of_9999() {
        let end = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert_eq!(
            Timestamp::from_unix_millis(u64::MAX)
                .http_date()
                .to_string(),
            end
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0..=LAST_SECOND) {
            let moment = Timestamp::from_unix_seconds(seconds);
            let text = moment.http_date().to_string();
            prop_assert_eq!(Timestamp::parse_http_date(text.as_bytes(), NOV_2026), Some(moment));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), millis: u64) {
            let _ = Timestamp::parse_http_date(&bytes, Timestamp::from_unix_millis(millis));
        }

        #[test]
        fn no_digits_panic(text in "(Sun|Sunday), [0-9]{2}[ -]Feb[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let _ = Timestamp::parse_http_date(text.as_bytes(), NOV_2026);
        }
    }
}
