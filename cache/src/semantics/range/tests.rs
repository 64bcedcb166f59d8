//! Ranges, satisfiable and not.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::semantics::testing::{
    EARLIER_DATE, NOW_DATE, assessed, fields as map, get, rules, stored,
};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn part(first: u64, last: u64) -> Part {
    Part { first, last }
}

fn of(range: &str, length: u64) -> Selected {
    let request = [("range", range)];
    select(&get(&request), &map(&request), &stored(&[FRESH]), length)
}

#[test]
fn a_single_range_selects_one_part() {
    for (range, first, last) in [
        ("bytes=0-1", 0, 1),
        ("bytes=1-", 1, 9),
        ("bytes=-1", 9, 9),
        ("bytes=-99", 0, 9),
        ("bytes=5-99999999999999999999999", 5, 9),
        ("Bytes= 0-0 ,", 0, 0),
        ("bytes=0-0, 99-", 0, 0),
    ] {
        assert_eq!(of(range, 10), Selected::Part(part(first, last)), "{range}");
    }
}

#[test]
fn several_ranges_select_parts_in_their_order_unless_they_overlap() {
    assert_eq!(
        of("bytes=8-9,0-1", 10),
        Selected::Parts(vec![part(8, 9), part(0, 1)])
    );
    assert_eq!(of("bytes=0-5,5-6", 10), Selected::Whole);
    assert_eq!(of("bytes=0-,-1", 10), Selected::Whole);
    let many = (0..=PARTS_MAX)
        .map(|n| format!("{0}-{0}", n * 2))
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(of(&format!("bytes={many}"), 1000), Selected::Whole);
}

#[test]
fn ranges_beyond_the_end_cannot_be_satisfied() {
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,99-100"] {
        assert_eq!(of(range, 10), Selected::Unsatisfiable, "{range}");
    }
    assert_eq!(of("bytes=0-", 0), Selected::Unsatisfiable);
    assert_eq!(of("bytes=-5", 0), Selected::Unsatisfiable);
}

#[test]
fn what_is_malformed_gets_the_whole() {
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=a-b",
        "bytes=2-1",
        "bytes=-",
        "bytes=1",
        "bytes=0-1,x",
        "lines=0-1",
        "bytes=1-2-3",
        "bytes 0-1",
    ] {
        assert_eq!(of(range, 10), Selected::Whole, "{range}");
    }
}

#[test]
fn only_a_get_of_a_200_has_ranges() {
    let request = [("range", "bytes=0-1")];
    let whole = |policy: &RequestPolicy, response: &StoredResponse| {
        select(policy, &map(&request), response, 10) == Selected::Whole
    };
    let head = RequestPolicy {
        method: ReadMethod::Head,
        ..get(&request)
    };
    let not_found = assessed(&rules(), &[], 404, &[FRESH]).unwrap();
    assert!(!whole(&get(&request), &stored(&[FRESH])));
    assert!(whole(&head, &stored(&[FRESH])));
    assert!(whole(&get(&request), &not_found));
}

#[track_caller]
fn check_if_range(condition: &str, validators: &[(&str, &str)], holds: bool) {
    let request = [("range", "bytes=0-1"), ("if-range", condition)];
    let response: Vec<_> = validators.iter().copied().chain([FRESH]).collect();
    let selected = select(&get(&request), &map(&request), &stored(&response), 10);
    assert_eq!(
        selected == Selected::Part(part(0, 1)),
        holds,
        "{condition} {validators:?}"
    );
}

#[test]
fn if_range_compares_strongly() {
    check_if_range("\"a\"", &[("etag", "\"a\"")], true);
    check_if_range("\"b\"", &[("etag", "\"a\"")], false);
    check_if_range("W/\"a\"", &[("etag", "W/\"a\"")], false);
    check_if_range("\"a\"", &[("etag", "W/\"a\"")], false);
    check_if_range("\"a\"", &[], false);
    let modified = ("last-modified", EARLIER_DATE);
    check_if_range(EARLIER_DATE, &[modified], true);
    check_if_range(EARLIER_DATE, &[modified, ("date", EARLIER_DATE)], false);
    check_if_range(NOW_DATE, &[modified], false);
    check_if_range("garbage", &[modified, ("etag", "\"a\"")], false);
}

#[test]
fn a_date_beside_an_entity_tag_is_still_a_date() {
    let both = [("etag", "\"a\""), ("last-modified", EARLIER_DATE)];
    check_if_range(EARLIER_DATE, &both, true);
    check_if_range("Friday, 15-Jan-27 07:43:20 GMT", &both, true);
    check_if_range("Fri, 15 Jan 2027 07:43:21 GMT", &both, false);
}

#[test]
fn two_lines_of_if_range_name_no_one_state() {
    let request = [
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
        ("if-range", "\"b\""),
    ];
    let response = stored(&[FRESH, ("etag", "\"a\"")]);
    let selected = select(&get(&request), &map(&request), &response, 10);
    assert_eq!(selected, Selected::Whole);
}

#[test]
fn the_first_byte_wanted_is_that_of_the_earliest_part() {
    assert_eq!(of("bytes=8-9,2-3", 10).first(), 2);
    assert_eq!(of("bytes=-3", 10).first(), 7);
    assert_eq!(of("bytes=99-", 10).first(), 0);
    assert_eq!(of("", 10).first(), 0);
}

#[test]
fn what_the_client_of_an_if_range_has_already_is_left_out() {
    let plain = map(&[("range", "bytes=0-1")]);
    let conditional = map(&[("range", "bytes=0-1"), ("if-range", "\"a\"")]);
    for (name, kept) in [
        ("content-type", false),
        ("content-encoding", false),
        ("content-language", false),
        ("last-modified", false),
        ("etag", true),
        ("vary", true),
        ("content-location", true),
        ("access-control-allow-origin", true),
    ] {
        let name: HeaderName = name.parse().unwrap();
        assert!(is_carried(&name, &plain));
        assert_eq!(is_carried(&name, &conditional), kept, "{name}");
    }
}

#[test]
fn content_range_says_what_was_selected() {
    assert_eq!(part(0, 1).content_range(10).to_string(), "bytes 0-1/10");
    assert_eq!(ContentRange::unsatisfied(10).to_string(), "bytes */10");
}

#[test]
fn the_framing_of_parts_has_the_announced_length() {
    let content = b"0123456789";
    let parts = [part(0, 1), part(8, 9)];
    let framing = multipart::Multipart {
        boundary: "B".to_owned(),
        content_type: Some(HeaderValue::from_static("text/plain")),
        complete: 10,
    };
    let mut sent = Vec::new();
    for part in parts {
        sent.extend(framing.before(part));
        let range = usize::try_from(part.first()).unwrap()..=usize::try_from(part.last()).unwrap();
        sent.extend(&content[range]);
    }
    sent.extend(framing.end());
    assert_eq!(u64::try_from(sent.len()).unwrap(), framing.length(&parts));
    let expected = "\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                    \r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--B--\r\n";
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
    assert_eq!(framing.media_type(), "multipart/byteranges; boundary=B");
}

proptest! {
    #[test]
    fn parts_lie_within_the_content_and_do_not_overlap(
        range in "bytes=([0-9]{0,3}-[0-9]{0,3})(,[0-9]{0,3}-[0-9]{0,3}){0,4}",
        length in 0..500_u64,
    ) {
        let parts = match of(&range, length) {
            Selected::Part(part) => vec![part],
            Selected::Parts(parts) => parts,
            Selected::Whole | Selected::Unsatisfiable => vec![],
        };
        prop_assert!(parts.iter().all(|p| p.first() <= p.last() && p.last() < length && p.length() >= 1));
        prop_assert!(parts.iter().map(|p| p.length()).sum::<u64>() <= length);
    }

    #[test]
    fn no_value_panics(range in "[ -~]{0,40}", length: u64) {
        let _ = of(&range, length);
        let _ = of(&format!("bytes={range}"), length);
    }
}

/// A part as it is read: its `Content-Range`, and its bytes.
type Read = ((u64, u64, u64), Vec<u8>);

/// First and last position and the complete length that a `Content-Range` says (RFC 9110 §14.4).
fn read_content_range(value: &str) -> Option<(u64, u64, u64)> {
    let (range, complete) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((
        first.parse().ok()?,
        last.parse().ok()?,
        complete.parse().ok()?,
    ))
}

/// The `Content-Range`s of a `multipart/byteranges` and the bytes of its parts (RFC 2046 §5.1).
fn read_multipart(body: &[u8], boundary: &str) -> Option<Vec<Read>> {
    let body = String::from_utf8(body.to_vec()).ok()?;
    let delimiter = format!("\r\n--{boundary}");
    let (preamble, rest) = body.split_once(&delimiter)?;
    let rest = rest.strip_suffix(&format!("{delimiter}--\r\n"))?;
    let part = |part: &str| {
        let (head, content) = part.strip_prefix("\r\n")?.split_once("\r\n\r\n")?;
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "))?;
        Some((read_content_range(range)?, content.as_bytes().to_vec()))
    };
    preamble
        .is_empty()
        .then(|| rest.split(&delimiter).map(part).collect())?
}

proptest! {
    #[test]
    fn framed_parts_are_read_back_and_the_length_is_exact(
        parts in prop::collection::vec((0_u64..1000, 1_u64..50), 1..6),
        content_type in prop::option::of("[a-z]{1,5}/[a-z]{1,5}"),
    ) {
        let parts: Vec<_> = parts.iter().map(|(first, length)| part(*first, first + length - 1)).collect();
        let content_type = content_type.map(|text| HeaderValue::from_str(&text).unwrap());
        let framing = multipart::Multipart {
            boundary: "BOUNDARY".to_owned(),
            content_type,
            complete: 2000,
        };
        let mut body = Vec::new();
        let mut expected = Vec::new();
        for part in &parts {
            let content = vec![b'x'; usize::try_from(part.length()).unwrap()];
            body.extend(framing.before(*part));
            body.extend(&content);
            expected.push(((part.first(), part.last(), 2000), content));
        }
        body.extend(framing.end());
        prop_assert_eq!(framing.length(&parts), body.len() as u64);
        prop_assert_eq!(read_multipart(&body, "BOUNDARY"), Some(expected));
    }
}
