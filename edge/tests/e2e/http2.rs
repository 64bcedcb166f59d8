//! HTTP/2 before a real edge: what its log and its metrics tell of streams that run beside each other.

use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::Setup;

const LIMIT: Duration = Duration::from_secs(60);

/// Streams at once; less than `limits.http2_streams`.
const STREAMS: usize = 40;

/// More than the head of any answer here takes.
const HEAD_BYTES: u64 = 1_000;

#[test]
fn each_stream_has_a_line_of_its_own_with_its_own_status_and_bytes() {
    scene(LIMIT, |scene| {
        // `/n` answers with n × 1,000 bytes, every third with 404; even ones may be stored.
        let origin = Origin::start(|seen, wire| {
            let n: usize = seen.target.trim_start_matches('/').parse().unwrap_or(0);
            let status = if n.is_multiple_of(3) {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let lifetime = if n.is_multiple_of(2) {
                "max-age=60"
            } else {
                "no-store"
            };
            let fields = format!("Cache-Control: {lifetime}\r\n");
            wire.answer(status, &fields, &vec![b'x'; n * 1_000])
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let mut client = edge.http2("site.test");
        let targets: Vec<_> = (1..=STREAMS).map(|n| format!("/{n}")).collect();
        let answers = client.get_all("site.test", &targets);
        for (n, answer) in (1..).zip(&answers) {
            assert_eq!(answer.content.len(), n * 1_000);
        }
        let open = r#"jet9_edge_connections_open{protocol="h2"}"#;
        assert_eq!(edge.metrics()[open], 1.0);

        let lines = edge
            .access_log()
            .wait(STREAMS, |line| line["protocol"] == "h2");
        assert_eq!(lines.len(), STREAMS);
        let mut ids: Vec<_> = lines
            .iter()
            .map(|line| line["request_id"].to_string())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), STREAMS);
        for (n, target) in (1..).zip(&targets) {
            let line = lines
                .iter()
                .find(|line| line["path"] == target.as_str())
                .expect("its line");
            let status = if n % 3 == 0 { 404 } else { 200 };
            assert_eq!(
                (&line["status"], &line["error"]),
                (&status.into(), &serde_json::Value::Null)
            );
            let (received, sent) = (line["bytes_in"].as_u64(), line["bytes_out"].as_u64());
            let head = sent.expect("a number") - n * 1_000;
            assert!((100..HEAD_BYTES).contains(&head), "{line}");
            assert!(
                (10..HEAD_BYTES).contains(&received.expect("a number")),
                "{line}"
            );
            assert_eq!(line["tls_version"], "TLSv1.3", "{line}");
        }
        let counted = edge.metric_of("jet9_edge_requests_total", r#"protocol="h2""#);
        assert_eq!(counted, STREAMS as f64);
    });
}
