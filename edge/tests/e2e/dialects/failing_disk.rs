//! A purge that the disk did not keep is never answered as done, whatever door it came through, and the same purge is done later.

use serde_json::json;

use super::super::support::edge::Jet9;
use super::super::support::http1::Client;
use super::super::support::refusing_disk::{deaf, limit_files};
use super::super::support::scene::scene;
use super::super::support::wait::until_true;
use super::{LIMIT, Pages, SIDE, from, is_stored, request, setup, stored};

#[test]
fn a_purge_that_cannot_be_kept_is_an_error_through_every_door() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let files = setup(&pages).write(scene.dir());
        let mut edge = Jet9::start_as(deaf, scene, files);
        let version = stored(&edge, "site.test", "/x");
        let purge = |edge: &Jet9| from(edge, SIDE).ask(request("PURGE /x", "site.test", &[]));
        let call = json!({ "site": "s-1", "urls": ["/x"], "mode": "hard" });
        let keyed = |edge: &Jet9| {
            let body = call.to_string();
            let mut client = Client::unix(&edge.files.dir.join("data/admin.sock"));
            client.ask(format!(
                "POST /v1/purges HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k-1\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
        };
        limit_files(&edge, Some(0));
        for line in [
            "PURGE /x",
            "PURGE /.*",
            "BAN /",
            "FULLBAN /",
            "GET /purge/x",
        ] {
            let answer = from(&edge, SIDE).ask(request(line, "site.test", &[]));
            assert_eq!(answer.status, 500, "{line}: {answer:?}");
        }
        for _ in 0..2 {
            let answer = keyed(&edge);
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.head.field("retry-after"), Some("5"));
        }
        let fastly = edge.admin("POST", "/service/s-1/purge_all", &json!({}));
        assert_eq!(fastly.status, 503, "{fastly:?}");
        let command = edge.command(&["purge", "--site", "s-1", "--all", "--hard"]);
        assert_eq!(command.status.code(), Some(1), "{command:?}");
        // Nothing of all this was done, nor is it after a crash.
        assert!(is_stored(&edge, "site.test", "/x", &version));
        limit_files(&edge, None);
        until_true("the journal is written again", || {
            purge(&edge).status == 200
        });
        assert!(!is_stored(&edge, "site.test", "/x", &version));
        // A call that failed is not answered out of memory when it is sent again; one that was done is.
        let second = stored(&edge, "site.test", "/x");
        let done = keyed(&edge);
        assert_eq!(done.status, 200, "{done:?}");
        assert!(!is_stored(&edge, "site.test", "/x", &second));
        assert_eq!(keyed(&edge).text(), done.text());
        edge.process.kill();
        edge.start_again();
        assert_ne!(
            edge.get("site.test", "/x").text(),
            version,
            "the purge was kept"
        );
    });
}
