//! What holds for all bytes.

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::*;

/// Pieces of heads, good and bad. Chains of them pass often enough, and fail in every way.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /a%20b?c=[d]|{e} HTTP/1.1\r\n",
    b"GET http://a.test/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"Host: a.test\r\n",
    b"Host: A.Test.:8080\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, x-hop\r\n",
    b"Connection: Upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Hop: 1\r\n",
    b"X_Y: 2\r\n",
    b"Cookie: a=b\r\n",
    b"X-Raw: \xff\t\x80\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"a",
    b"\0",
    b",",
];

/// The pieces, all but now and then in an order that makes sense.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let any_piece = prop::sample::select(PIECES);
    let line = prop::sample::select(&PIECES[..5]);
    let host = prop::sample::select(&PIECES[5..7]);
    let fields = prop::collection::vec(prop::sample::select(&PIECES[7..17]), 0..6);
    let sensible = (line, host, fields)
        .prop_map(|(line, host, fields)| [line, host, &fields.concat(), b"\r\n"].concat());
    let spoilt = (
        sensible.clone(),
        any::<prop::sample::Index>(),
        any_piece.clone(),
    )
        .prop_map(|(mut head, at, piece)| {
            let at = at.index(head.len());
            head.splice(at..at, piece.iter().copied());
            head
        });
    let random = prop::collection::vec(any_piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => sensible, 4 => spoilt, 2 => random, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// What httparse makes of a head: method, target, minor version, and how many fields.
fn as_httparse_reads(head: &[u8]) -> Option<(String, String, u8, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(head).ok()?;
    assert_eq!(status, httparse::Status::Complete(head.len()));
    let (method, target) = (request.method?.to_owned(), request.path?.to_owned());
    Some((method, target, request.version?, request.headers.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_accepted_goes_onward_with_the_same_meaning(head in head()) {
        let Ok(accepted) = read(&head) else {
            return Ok(());
        };
        let composed = compose_http1_head(&accepted.request);
        let again = read(&composed);
        prop_assert!(again.is_ok(), "{:?} from {}", again, composed.escape_ascii());
        prop_assert_eq!(parts(&again.unwrap().request), parts(&accepted.request));
        let target = PathAndQuery::from_maybe_shared(accepted.request.path_and_query.clone()).unwrap();
        prop_assert_eq!(target.as_str().as_bytes(), &accepted.request.path_and_query[..]);
    }

    #[test]
    fn another_parser_reads_accepted_heads_alike(head in head()) {
        let Ok(accepted) = read(&head) else {
            return Ok(());
        };
        let request = accepted.request;
        let read = as_httparse_reads(&head);
        prop_assert!(read.is_some(), "{}", head.escape_ascii());
        let (method, target, version, fields) = read.unwrap();
        prop_assert_eq!(method, request.method.as_str());
        prop_assert!(target.as_bytes().ends_with(&request.path_and_query[..]));
        prop_assert_eq!(version == 1, request.protocol == crate::message::Protocol::Http11);
        prop_assert!(fields > request.fields.len());
        // And what goes onward, exactly.
        let composed = compose_http1_head(&request);
        let (method, target, version, _) = as_httparse_reads(&composed).unwrap();
        prop_assert_eq!((&method[..], version), (request.method.as_str(), 1));
        prop_assert_eq!(target.as_bytes(), &request.path_and_query[..]);
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_arrives(head in head(), size in 1..20_usize) {
        let limits = Limits::default();
        let whole = Search::default().end(&head, &limits);
        let mut search = Search::default();
        let mut found = Ok(None);
        for arrived in (0..head.len()).step_by(size).chain([head.len()]) {
            found = search.end(&head[..arrived], &limits);
            if found != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(found, whole);
        if read(&head).is_ok() {
            prop_assert_eq!(whole, Ok(Some(head.len())));
        }
    }
}
