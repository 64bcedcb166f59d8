//! Durations and sizes as documents write them: `"10s"`, `"64MiB"`.
//!
//! Called for every such value of a document, and by the command line. The grammar is deliberately one number and one unit:
//! `duration = 1*DIGIT ( "ms" / "s" / "m" / "h" / "d" )`, `size = 1*DIGIT ( "B" / "KiB" / "MiB" / "GiB" / "TiB" )`; no blanks, signs,
//! fractions or sums, and no decimal megabytes, so that a value can be read in one way only.
//! Invariant: a duration is at most [`DURATION_MAX`], so that adding it to a point in time cannot overflow.

use std::time::Duration;

/// The longest duration that a document can say: ten years. `"unlimited"`, where it is allowed, means this.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// The largest size that a document can say: 2^63 − 1 bytes, what file offsets can hold.
pub const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// The grammar of a duration as a regular expression (ECMA-262), for the description of the admin API.
pub(crate) const DURATION_PATTERN: &str = "^[0-9]+(ms|s|m|h|d)$";

/// The grammar of a size likewise.
pub(crate) const SIZE_PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";

/// A text that is not a duration or a size; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Parses a duration.
///
/// # Errors
/// When the text is not of the grammar, or longer than [`DURATION_MAX`].
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    if number.is_empty() || milliseconds == 0 {
        return Err(UnitError(format!(
            "expected a duration such as \"10s\" (units: ms, s, m, h, d), found {text:?}"
        )));
    }
    (number.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| {
            UnitError(format!(
                "{text:?} is longer than 3650d, the longest duration"
            ))
        })
}

/// Parses a size into bytes.
///
/// # Errors
/// When the text is not of the grammar, or larger than [`SIZE_MAX`].
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => u32::MAX,
    };
    if number.is_empty() || shift == u32::MAX {
        return Err(UnitError(format!(
            "expected a size such as \"64MiB\" (units: B, KiB, MiB, GiB, TiB), found {text:?}"
        )));
    }
    (number.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes <= SIZE_MAX)
        .ok_or_else(|| {
            UnitError(format!(
                "{text:?} is larger than 2^63 − 1 bytes, the largest size"
            ))
        })
}

/// Writes a duration in the largest unit that says it exactly.
pub fn display_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let fitting =
        |(size, _): &(u128, &str)| milliseconds != 0 && milliseconds.is_multiple_of(*size);
    match units.into_iter().find(fitting) {
        Some((size, unit)) => format!("{}{unit}", milliseconds / size),
        None if milliseconds == 0 => "0s".into(),
        None => format!("{milliseconds}ms"),
    }
}

/// Writes a size in the largest unit that says it exactly.
pub fn display_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = |(shift, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    match units.into_iter().find(fitting) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_one_number_and_one_unit() {
        let check = |text: &str, want: Option<u64>| {
            let got = duration(text);
            assert_eq!(
                got.clone().ok(),
                want.map(Duration::from_millis),
                "{text}: {got:?}"
            );
        };
        check("0s", Some(0));
        check("500ms", Some(500));
        check("10s", Some(10_000));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("7d", Some(604_800_000));
        check("3650d", Some(315_360_000_000));
        for wrong in [
            "",
            "s",
            "10",
            "10 s",
            " 10s",
            "10s ",
            "-1s",
            "+1s",
            "1.5s",
            "1h30m",
            "10S",
            "10sec",
            "1w",
            "1us",
            "3651d",
            "99999999999999999999s",
            "18446744073709551615d",
            "١s",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_are_one_number_and_one_binary_unit() {
        let check = |text: &str, want: Option<u64>| {
            let got = size(text);
            assert_eq!(got.clone().ok(), want, "{text}: {got:?}");
        };
        check("0B", Some(0));
        check("1024B", Some(1024));
        check("16KiB", Some(16 << 10));
        check("64MiB", Some(64 << 20));
        check("4GiB", Some(4 << 30));
        check("2TiB", Some(2 << 40));
        check("9223372036854775807B", Some(SIZE_MAX));
        for wrong in [
            "",
            "B",
            "64",
            "64MB",
            "64M",
            "64mib",
            "64 MiB",
            "-1B",
            "1.5GiB",
            "9223372036854775808B",
            "8388608TiB",
            "99999999999999999999B",
        ] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn durations_round_trip(milliseconds in 0u64..=315_360_000_000) {
            let value = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration(&display_duration(value)), Ok(value));
        }

        #[test]
        fn sizes_round_trip(bytes in 0..=SIZE_MAX, shift in 0u32..40) {
            let value = bytes >> shift << shift;
            prop_assert_eq!(size(&display_size(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (duration(&text), size(&text));
        }
    }
}
