//! Lines as log readers get them.

use std::sync::Arc;

use jet9_cache::Timestamp;
use jet9_cache::semantics::status::CacheStatus;
use jet9_cache::store::Tier;
use jet9_cluster::Epoch;
use jet9_config::Side;

use super::*;
use crate::exchange::{Answered, Asked};
use crate::request::client::{Client, TlsFacts};

fn exchange() -> Exchange {
    let client = Client {
        address: Some("192.0.2.7:4711".parse().expect("an address")),
        local: None,
        tls: Some(TlsFacts {
            server_name: None,
            version: "TLSv1.3",
        }),
    };
    let started = crate::clock::monotonic();
    let wall = Timestamp::from_unix_millis(1_795_296_798_241);
    let mut exchange = Exchange::begin(Arc::new(client), "r-1".into(), started, wall);
    exchange.asked = Asked {
        protocol: Some(Protocol::Http2),
        method: "GET".into(),
        scheme: "https",
        host: "example.test".into(),
        path: "/a\"b".into(),
        query: "q=1".into(),
        user_agent: "Mozilla/5.0 \"x\"".into(),
        referer: String::new(),
    };
    exchange.attempts.push(Attempt {
        side: Side::B,
        epoch: Epoch(42),
        sent: Some(wall),
        status: Some(200),
        took: Duration::from_micros(12_345),
    });
    exchange.cache = Some(CacheStatus::hit(376));
    exchange.age = Some(Duration::from_millis(24_900));
    exchange.tier = Some(Tier::Disk);
    exchange.answered = Answered {
        status: 200,
        bytes_in: 100,
        bytes_out: 2000,
        first_byte: Some(started + Duration::from_millis(13)),
        complete: true,
    };
    exchange
}

fn line(format: Format, exchange: &Exchange) -> String {
    let now = exchange.started + Duration::from_micros(15_002);
    let line = format.line(&Node::new("edge1", "local"), exchange, now);
    String::from_utf8(line).expect("text")
}

#[test]
fn parts_that_the_disk_did_not_give_back_are_told_where_there_were_any() {
    let mut exchange = exchange();
    for (parts, expected) in [(None, false), (Some(0), false), (Some(3), true)] {
        exchange.parts = parts.map(|parts| Arc::new(parts.into()));
        let line = line(Format::Json, &exchange);
        assert_eq!(
            line.contains(r#""attempts":1,"parts":3,"hold_ms""#),
            expected
        );
        assert_eq!(line.contains("parts"), expected);
    }
}

#[test]
fn a_line_of_json_has_every_field_in_its_order() {
    let line = line(Format::Json, &exchange());
    let expected = concat!(
        r#"{"ts":"2026-11-21T21:33:18.241Z","node":"edge1","zone":"local","request_id":"r-1","#,
        r#""client_ip":"192.0.2.7","protocol":"h2","tls_version":"TLSv1.3","method":"GET","scheme":"https","#,
        r#""host":"example.test","path":"/a\"b","query":"q=1","status":200,"bytes_in":100,"bytes_out":2000,"#,
        r#""cache":"hit","cache_ttl":376,"cache_age":24,"cache_tier":"disk","collapsed":false,"#,
        r#""side":"b","epoch":42,"origin_status":200,"attempts":1,"#,
        r#""hold_ms":0.000,"origin_ms":12.345,"first_byte_ms":13.000,"total_ms":15.002,"#,
        r#""user_agent":"Mozilla/5.0 \"x\""}"#,
        "\n",
    );
    assert_eq!(line, expected);
    let _: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
}

#[test]
fn a_head_that_could_not_be_read_makes_a_line_too() {
    let client = Arc::new(Client::edge());
    let started = crate::clock::monotonic();
    let mut exchange = Exchange::begin(client, "r-2".into(), started, Timestamp::default());
    exchange.answered.status = 400;
    exchange.error = Some("refused");
    let value: serde_json::Value =
        serde_json::from_str(&line(Format::Json, &exchange)).expect("valid JSON");
    assert_eq!(value["status"], 400);
    assert_eq!(value["error"], "refused");
    assert_eq!(value["cache"], "none");
    for absent in [
        "client_ip",
        "protocol",
        "method",
        "path",
        "side",
        "origin_ms",
    ] {
        assert!(value.get(absent).is_none(), "{absent}");
    }
    let expected = "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\"\n";
    assert_eq!(line(Format::Combined, &exchange), expected);
}

#[test]
fn a_combined_line_is_what_log_readers_expect() {
    let expected = concat!(
        r#"192.0.2.7 - - [21/Nov/2026:21:33:18 +0000] "GET /a\x22b?q=1 HTTP/2.0" 200 2000 "-" "#,
        r#""Mozilla/5.0 \x22x\x22""#,
        "\n",
    );
    assert_eq!(line(Format::Combined, &exchange()), expected);
}

#[test]
fn a_sample_is_even() {
    let check = |share: f64, expected: usize| {
        let sampler = Sampler::new(share);
        let taken = (0..1000).filter(|_| sampler.takes()).count();
        assert_eq!(taken, expected, "{share}");
    };
    check(1.0, 1000);
    check(0.0, 0);
    check(0.25, 250);
    check(0.5, 500);
}
