//! Documents that are good, and each field that can be wrong, by its pointer.

use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "v": 1, "cluster": "c1", "epoch": 42, "phase": "serving", "master": "a",
        "sides": {
            "a": {"addrs": ["192.0.2.10:443", "[2001:db8::1]:443"], "guard": "192.0.2.10:8443", "drained": false},
            "b": {"addrs": ["198.51.100.10:443"], "drained": true},
        },
        "fencing": "confirmed", "edge_lease_ms": 2000, "hold_ms": 9000, "since_unix_ms": 1_795_296_798_241_u64, "reason": "standby",
        "prev": {"epoch": 40, "master": "b", "ended": "demoted", "ended_unix_ms": 1_795_296_797_100_u64, "data_loss_from_unix_ms": 17},
        "publisher": {"id": "c1-q", "seq": 118}, "incarnation": "2026-11",
    })
}

fn parse(value: &Value) -> Result<Document, DocumentError> {
    Document::parse(value.to_string().as_bytes())
}

/// The good document with one value replaced (`null`: taken away) is refused at `pointer`.
fn check(place: &str, value: Value, pointer: &str) {
    let case = format!("{place} = {value}");
    let mut document = good();
    let (parent, name) = place.rsplit_once('/').expect("a pointer");
    document.pointer_mut(parent).expect("a place")[name] = value;
    let error = parse(&document).expect_err(&case);
    assert_eq!(error.pointer, pointer, "{case}: {error}");
    assert!(error.to_string().starts_with(pointer));
}

#[test]
fn every_field_of_a_good_document_is_read() {
    let document = parse(&good()).expect("good");
    let side = |addrs: &[&str], guard: Option<&str>, drained| SideFacts {
        addrs: addrs
            .iter()
            .map(|addr| addr.parse().expect("an address"))
            .collect(),
        guard: guard.map(|addr| addr.parse().expect("an address")),
        drained,
    };
    let expected = Document {
        cluster: ClusterId::parse("c1").expect("an id"),
        epoch: Epoch(42),
        phase: Phase::Serving { master: Side::A },
        a: side(
            &["192.0.2.10:443", "[2001:db8::1]:443"],
            Some("192.0.2.10:8443"),
            false,
        ),
        b: side(&["198.51.100.10:443"], None, true),
        fencing: Fencing::Confirmed,
        edge_lease_ms: 2000,
        hold_ms: 9000,
        incarnation: Some("2026-11".to_owned()),
        reason: Some("standby".to_owned()),
        prev_master: Some(Side::B),
        prev_ended: Some(Ended::Demoted),
        data_loss_from_unix_ms: Some(17),
        publisher_seq: Some(118),
    };
    assert_eq!(document, expected);
}

#[test]
fn what_is_optional_may_be_absent() {
    let least = json!({
        "v": 1, "cluster": "c1", "epoch": 1, "phase": "serving", "master": "b", "fencing": "none",
        "sides": {"b": {"addrs": ["127.0.0.1:8001"]}},
    });
    let document = parse(&least).expect("good");
    assert_eq!(
        (document.edge_lease_ms, document.hold_ms),
        (EDGE_LEASE_MS_DEFAULT, HOLD_MS_DEFAULT)
    );
    assert_eq!(
        (
            document.publisher_seq,
            document.prev_ended,
            document.incarnation
        ),
        (None, None, None)
    );
    assert_eq!(document.a, SideFacts::default());
}

#[test]
fn a_newer_publisher_of_the_same_version_blinds_nobody() {
    let mut document = good();
    document["quorum"] = json!({"nodes": [1, 2.5, -3, null, true]});
    document["sides"]["c"] = json!("a third");
    document["sides"]["a"]["rack"] = json!("r7");
    document["prev"]["ended"] = json!("evaporated");
    document["reason"] = json!("é".repeat(1_000));
    let document = parse(&document).expect("good");
    assert_eq!(document.prev_ended, Some(Ended::Unconfirmed));
    assert_eq!(document.reason, Some("é".repeat(REASON_CHARS_MAX)));
}

#[test]
fn each_wrong_field_is_named_by_its_pointer() {
    for v in [json!(null), json!(0), json!(2), json!("1"), json!(1.0)] {
        check("/v", v, "/v");
    }
    for epoch in [
        json!(null),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("7"),
        json!(1_u64 << 53),
        json!(u64::MAX),
    ] {
        check("/epoch", epoch, "/epoch");
    }
    check("/cluster", json!(null), "/cluster");
    check("/cluster", json!("../c1"), "/cluster");
    check("/phase", json!("happy"), "/phase");
    check("/phase", json!(null), "/phase");
    for phase in ["switching", "down", "drained"] {
        check("/phase", json!(phase), "/master");
    }
    for master in [json!(null), json!("c"), json!("A"), json!(1)] {
        check("/master", master, "/master");
    }
    check("/sides", json!(null), "/sides");
    check(
        "/sides",
        json!([{"addrs": ["192.0.2.1:1"]}, {"addrs": []}]),
        "/sides",
    );
    check("/sides/a", json!(null), "/master");
    check("/sides/a", json!([]), "/sides/a");
    check("/sides/a/addrs", json!(null), "/sides/a/addrs");
    check("/sides/a/addrs", json!([]), "/sides/a/addrs");
    check(
        "/sides/a/addrs",
        json!(vec!["192.0.2.1:1"; ADDRS_MAX + 1]),
        "/sides/a/addrs",
    );
    for addr in [
        json!("a.example:443"),
        json!("192.0.2.1"),
        json!("192.0.2.1:0"),
        json!("0.0.0.0:80"),
        json!("[::]:80"),
        json!("239.1.1.1:80"),
        json!(7),
    ] {
        check(
            "/sides/b/addrs",
            json!(["192.0.2.1:1", addr]),
            "/sides/b/addrs/1",
        );
    }
    check("/sides/a/guard", json!("guard"), "/sides/a/guard");
    check("/fencing", json!(null), "/fencing");
    check("/fencing", json!("maybe"), "/fencing");
    for lease in [
        json!(0),
        json!(EDGE_LEASE_MS.0 - 1),
        json!(EDGE_LEASE_MS.1 + 1),
        json!("3s"),
    ] {
        check("/edge_lease_ms", lease, "/edge_lease_ms");
    }
    check("/hold_ms", json!(HOLD_MS_MAX + 1), "/hold_ms");
    check("/hold_ms", json!(-1), "/hold_ms");
    for incarnation in [
        json!(""),
        json!("a\nb"),
        json!("x".repeat(INCARNATION_BYTES_MAX + 1)),
        json!(1),
    ] {
        check("/incarnation", incarnation, "/incarnation");
    }
    check("/publisher/seq", json!("118"), "/publisher/seq");
    check(
        "/prev/data_loss_from_unix_ms",
        json!(-1),
        "/prev/data_loss_from_unix_ms",
    );
}

#[test]
fn only_an_unknown_version_is_told_of_a_document_of_another_version() {
    let error =
        Document::parse(br#"{"v": 2, "epoch": "new kind", "sides": 7}"#).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "/v: version 2 is not known here; this edge reads version 1"
    );
}

#[test]
fn what_is_no_json_object_is_refused_whole() {
    let twice = good()
        .to_string()
        .replace("\"epoch\":42", "\"epoch\":42,\"epoch\":43");
    let twice_inside = good()
        .to_string()
        .replace("\"drained\":true", "\"drained\":true,\"addrs\":[]");
    let long = format!("{}{}", good(), " ".repeat(DOCUMENT_BYTES_MAX));
    let deep = format!("{{\"v\":{}", "[".repeat(10_000));
    for text in [
        "",
        "[]",
        "null",
        "{\"v\":1",
        "{\"v\":1}{}",
        &twice,
        &twice_inside,
        &long,
        &deep,
    ] {
        let error = Document::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.pointer, "", "{error}");
        assert!(error.to_string().starts_with("the document: "), "{error}");
    }
}
