//! Bytes as the two log formats want them, and times in words. Pure.

use std::io::Write;

/// Appends the inside of a JSON string: any bytes become valid JSON on one line; what is not UTF-8 becomes U+FFFD.
pub(super) fn escape_json(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        escape_json_text(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_json_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut plain = 0;
    for (index, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != 0x7f {
            continue;
        }
        out.extend_from_slice(&text[plain..index]);
        plain = index + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => hex(out, b"\\u00", byte),
        }
    }
    out.extend_from_slice(&text[plain..]);
}

/// Appends a value of the combined format, escaped as nginx does: `\xHH` for quotes, backslashes and all that is not printable ASCII.
pub(super) fn escape_combined(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => hex(out, b"\\x", byte),
            0x20..=0x7e => out.push(byte),
            _ => hex(out, b"\\x", byte),
        }
    }
}

fn hex(out: &mut Vec<u8>, prefix: &[u8], byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(prefix);
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// A civil date and time, UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Appends `2026-11-04T12:00:00.123Z` (RFC 3339).
pub(in crate::record) fn rfc3339(out: &mut Vec<u8>, unix_millis: u64) {
    let time = Civil::of(unix_millis / 1000);
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        unix_millis % 1000
    );
}

/// Appends `04/Nov/2026:12:00:00 +0000`.
pub(in crate::record) fn common_log_time(out: &mut Vec<u8>, unix_millis: u64) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = Civil::of(unix_millis / 1000);
    let month = usize::try_from(time.month - 1).unwrap_or(0);
    let _ = write!(
        out,
        "{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000",
        time.day, MONTHS[month], time.year, time.hour, time.minute, time.second
    );
}

impl Civil {
    /// The Gregorian calendar, counted in eras of 400 years that begin on the first of March, so that leap days come last.
    const fn of(unix_seconds: u64) -> Self {
        let days = unix_seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let second = unix_seconds % 86_400;
        Self {
            year: era * 400 + year_of_era + (month <= 2) as u64,
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_formats_want_them() {
        let check = |millis: u64, expected: &str, common: &str| {
            let mut out = Vec::new();
            rfc3339(&mut out, millis);
            out.push(b' ');
            common_log_time(&mut out, millis);
            assert_eq!(
                String::from_utf8_lossy(&out),
                format!("{expected} {common}")
            );
        };
        check(0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000");
        check(
            951_782_400_007,
            "2000-02-29T00:00:00.007Z",
            "29/Feb/2000:00:00:00 +0000",
        );
        check(
            1_795_296_798_241,
            "2026-11-21T21:33:18.241Z",
            "21/Nov/2026:21:33:18 +0000",
        );
        check(
            4_107_542_399_999,
            "2100-02-28T23:59:59.999Z",
            "28/Feb/2100:23:59:59 +0000",
        );
    }

    #[test]
    fn any_bytes_make_valid_json_on_one_line() {
        let check = |bytes: &[u8], expected: &str| {
            let mut out = Vec::new();
            escape_json(&mut out, bytes);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(b"/plain?a=b", "/plain?a=b");
        check(b"a\"b\\c", "a\\\"b\\\\c");
        check(b"a\nb\0\x7f", "a\\u000Ab\\u0000\\u007F");
        check("жук".as_bytes(), "жук");
        check(b"a\xff\xfeb", "a\u{fffd}\u{fffd}b");
        check(b"", "");
    }

    #[test]
    fn the_combined_format_escapes_what_would_break_its_quotes() {
        let mut out = Vec::new();
        escape_combined(&mut out, b"a\"b\\c\n\xd0 ~");
        assert_eq!(out, b"a\\x22b\\x5Cc\\x0A\\xD0 ~");
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_reads_back_as_it_was(text: String) {
            let mut out = vec![b'"'];
            escape_json(&mut out, text.as_bytes());
            out.push(b'"');
            let back: String = serde_json::from_slice(&out).expect("valid JSON");
            proptest::prop_assert_eq!(back, text);
        }

        #[test]
        fn any_bytes_are_valid_json(bytes: Vec<u8>) {
            let mut out = vec![b'"'];
            escape_json(&mut out, &bytes);
            out.push(b'"');
            let back: Result<String, _> = serde_json::from_slice(&out);
            proptest::prop_assert!(back.is_ok());
        }
    }
}
