//! What the tests of `origin` share: a site's origin, and the crypto provider that Pingora's connectors need.
//!
//! Compiled for tests only. Knows nothing of what is tested.

use std::time::Duration;

use jet9_config::site::{Domain, Https, Origin, OriginHost, OriginScheme, Profile, Route, Site};
use jet9_config::{ClusterId, HostName, SiteId};

/// An origin in clear text, with short times.
pub(crate) fn origin() -> Origin {
    Origin {
        cluster: ClusterId::parse("c-1").unwrap(),
        scheme: OriginScheme::Http,
        host: OriginHost::Preserve,
        port: 0,
        connect_timeout: Duration::from_secs(2),
        first_byte_timeout: Duration::from_secs(5),
        hold_max: Duration::from_secs(15),
        hold_requests: 2,
        retry_idempotent: 1,
    }
}

/// Installs the process's crypto provider; Pingora's connectors need one even in clear text.
pub(crate) fn provider() {
    // An error means that another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A site with that origin and nothing special.
pub(crate) fn site() -> Site {
    Site {
        id: SiteId::parse("s-1").unwrap(),
        domains: vec![Domain::Exact(HostName::parse("example.test").unwrap())],
        https: Https::Both,
        origin: origin(),
        cache: Profile::Rfc.defaults(),
        routes: Vec::new(),
        purge_from: Vec::new(),
        stub: None,
        body: 1 << 20,
        requests_per_second_per_client: 0,
    }
}

/// A route that changes at most the host.
pub(crate) fn route(path: &str, host: Option<&str>) -> Route {
    Route {
        path: path.to_owned(),
        cache: None,
        default: None,
        browser_max_age: None,
        host: host.map(|host| HostName::parse(host).unwrap()),
    }
}
