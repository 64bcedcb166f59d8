//! Chunked content.

use proptest::prelude::*;

use super::*;

/// Contents that break a rule, whole or cut off where they do.
pub(super) const REFUSED: &[Refused] = &[
    (b"\r\n", Rule::ChunkSize),
    (b"x\r\n", Rule::ChunkSize),
    (b"-1\r\n", Rule::ChunkSize),
    (b"+1\r\n", Rule::ChunkSize),
    (b" 1\r\n", Rule::ChunkSize),
    (b"0x1\r\n", Rule::ChunkSize),
    (b"1_0\r\n", Rule::ChunkSize),
    (b"\xef\xbc\x95\r\n", Rule::ChunkSize),
    (b"8000000000000000\r\n", Rule::ChunkSize),
    (b"10000000000000000\r\n", Rule::ChunkSize),
    (b"ffffffffffffffff0\r\n", Rule::ChunkSize),
    (b"0000000000000000000000000000000\r\n", Rule::ChunkLineBytes),
    (b"5;a=b\r\nhello", Rule::ChunkExtension),
    (b"5;\r\nhello", Rule::ChunkExtension),
    (b"5 \r\nhello", Rule::ChunkExtension),
    (b"5\t\r\nhello", Rule::ChunkExtension),
    (b"0;a\r\n\r\n", Rule::ChunkExtension),
    (b"5;a=\"\r\n\"\r\nhello", Rule::ChunkExtension),
    (b"5\nhello\r\n0\r\n\r\n", Rule::ChunkLineEnd),
    (b"5\r\rhello", Rule::ChunkLineEnd),
    (b"5\rxhello", Rule::ChunkLineEnd),
    (b"5\r\nhello\n0\r\n\r\n", Rule::ChunkLineEnd),
    (b"5\r\nhello0\r\n\r\n", Rule::ChunkLineEnd),
    (b"5\r\nhello\rx", Rule::ChunkLineEnd),
    (b"5\r\nhello!\r\n", Rule::ChunkLineEnd),
    (b"0\n\n", Rule::ChunkLineEnd),
    (b"0\r\n\n", Rule::Trailer),
    (b"0\r\n\rx", Rule::Trailer),
    (b"0\r\n: b\r\n\r\n", Rule::Trailer),
    (b"0\r\nA : b\r\n\r\n", Rule::Trailer),
    (b"0\r\n A: b\r\n\r\n", Rule::Trailer),
    (b"0\r\nA\r\n\r\n", Rule::Trailer),
    (b"0\r\nA: b\n\r\n", Rule::Trailer),
    (b"0\r\nA: b\rc\r\n\r\n", Rule::Trailer),
    (b"0\r\nA: b\x00\r\n\r\n", Rule::Trailer),
    (b"0\r\nA: b\r\n c\r\n\r\n", Rule::Trailer),
    (b"0\r\nGET / HTTP/1.1\r\n\r\n", Rule::Trailer),
    (LONG_TRAILER, Rule::TrailerBytes),
];

const LONG_TRAILER: &[u8] = &{
    let mut bytes = [b'a'; 200];
    (bytes[0], bytes[1], bytes[2], bytes[4]) = (b'0', b'\r', b'\n', b':');
    bytes
};

fn decoder() -> ChunkedDecoder {
    ChunkedDecoder::new(&Limits {
        head_bytes: 100,
        ..Limits::default()
    })
}

/// The content, whether it has ended, and what is left of the input.
type Decoded = Result<(Vec<u8>, bool, Vec<u8>), Rule>;

/// Feeds the pieces one after the other, as they would arrive.
fn decode<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Decoded {
    let mut decoder = decoder();
    let mut input = BytesMut::new();
    let mut content = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input).map_err(|refusal| refusal.rule)? {
                Chunked::Data(data) => {
                    assert!(!data.is_empty());
                    content.extend_from_slice(&data);
                }
                Chunked::NeedMore => {
                    assert!(input.is_empty());
                    break;
                }
                Chunked::End => break,
            }
        }
    }
    Ok((content, decoder.has_ended(), input.to_vec()))
}

fn check(input: &[u8], expected: &Decoded) {
    let shown = input.escape_ascii();
    assert_eq!(&decode([input].into_iter()), expected, "{shown}");
    assert_eq!(&decode(input.chunks(1)), expected, "byte by byte: {shown}");
}

#[test]
fn well_formed_content_is_taken_apart() {
    let check = |input: &[u8], content: &[u8], ended, rest: &[u8]| {
        check(input, &Ok((content.to_vec(), ended, rest.to_vec())));
    };
    check(b"", b"", false, b"");
    check(b"0\r\n\r\n", b"", true, b"");
    check(b"5\r\nhello\r\n0\r\n\r\n", b"hello", true, b"");
    check(
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"hello world",
        true,
        b"",
    );
    check(b"A\r\n0123456789\r\n", b"0123456789", false, b"");
    check(
        b"00a\r\n0123456789\r\n000\r\n\r\nGET",
        b"0123456789",
        true,
        b"GET",
    );
    check(b"2\r\n\r\n\r\n0\r\n\r\n\r\n", b"\r\n", true, b"\r\n");
    check(
        b"0\r\nA: b\r\nContent-Length: 5\r\nC:\r\n\r\nX",
        b"",
        true,
        b"X",
    );
    check(b"5\r\nhe", b"he", false, b"");
    check(b"7fffffffffffffff\r\nx", b"x", false, b"");
}

#[test]
fn malformed_content_is_refused() {
    for (input, rule) in REFUSED {
        check(input, &Err(*rule));
    }
}

#[test]
fn a_refusal_is_final() {
    let mut decoder = decoder();
    let mut input = BytesMut::from(&b"x0\r\n\r\n"[..]);
    let first = decoder.decode(&mut input);
    assert_eq!(first, Err(Refusal::from(Rule::ChunkSize)));
    assert_eq!(decoder.decode(&mut input), first);
    assert!(!decoder.has_ended());
}

#[test]
fn content_is_not_copied() {
    let mut input = BytesMut::from(&b"5\r\nhello\r\n"[..]);
    let whole = input.as_ptr_range();
    let Ok(Chunked::Data(data)) = decoder().decode(&mut input) else {
        panic!("no data");
    };
    assert!(whole.contains(&data.as_ptr()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_however_they_arrive(
        input in prop::collection::vec(prop::sample::select(&b"0015aF\r\n\r\n;: x\0\x80"[..]), 0..80),
        size in 1..9_usize,
    ) {
        let whole = decode([&input[..]].into_iter());
        prop_assert_eq!(&decode(input.chunks(size)), &whole);
        prop_assert_eq!(&decode(input.chunks(1)), &whole);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8),
        size in 1..40_usize,
    ) {
        let mut sent = Vec::new();
        for piece in &pieces {
            sent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            sent.extend_from_slice(piece);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decode(sent.chunks(size)), Ok((pieces.concat(), true, Vec::new())));
    }
}
