//! Interim responses: to the client whose request caused the fetch, when they come, and to nobody else.

use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::gate::Gate;
use super::support::http1::{Response, get};
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::Setup;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn early_hints_reach_the_leading_client_before_the_origin_has_answered_and_are_not_stored() {
    scene(LIMIT, |scene| {
        let gate = Gate::default();
        let paused = gate.clone();
        let origin = Origin::start(move |_, wire| {
            wire.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nX-Interim: 1\r\n\r\n");
            paused.pass();
            wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"content")
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let mut leader = edge.clear();
        leader.send(get("site.test", "/hinted"));
        let hints = leader.interim().expect("hints while the origin waits");
        assert_eq!(hints.status, 103);
        assert_eq!(hints.field("link"), Some("</style.css>"));

        let mut follower = edge.clear();
        follower.send(get("site.test", "/hinted"));
        gate.open();
        for client in [&mut leader, &mut follower] {
            let answer = client.answer("GET").expect("the final response");
            let Response { head, content } = answer;
            assert_eq!((head.status, content.as_slice()), (200, &b"content"[..]));
            assert_eq!((head.field("x-interim"), head.interim.len()), (None, 0));
        }
        let hit = edge.get("site.test", "/hinted").head;
        assert_eq!((hit.field("x-interim"), hit.interim.len()), (None, 0));
        assert_eq!(origin.count("/hinted"), 1);
    });
}
