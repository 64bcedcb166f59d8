//! The reader of site documents, TOML and JSON alike.
//!
//! Called by [`super::site_toml`] and [`super::site_json`]. One function a section, in the order of docs/configuration.md.
//! Knows the schema, the defaults and the bounds of each key; not whether another site has the same domain, nor whether the cluster exists.
//! Invariant: what this version cannot do is refused with these words, even where the key is well formed.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;

use super::node::network;
use crate::names::{ClusterId, DOMAIN_PATTERN, HostName, ID_PATTERN, NameError, SiteId};
use crate::reader::{Item, Table};
use crate::site::{
    Admission, Caching, ClientReload, DOMAINS_MAX, Domain, Https, KeyRules, Languages, Origin,
    OriginHost, OriginScheme, PATTERNS_MAX, Post, Profile, QueryOrder, Quota, ROUTE_PATH_MAX,
    ROUTES_MAX, Route, STUB_MAX, SetCookie, Site, SurrogateControl, UnknownCoding,
};
use crate::units::{DURATION_MAX, SIZE_MAX};

const MOMENT: Duration = Duration::from_millis(10);
const PROFILES: [(&str, Profile); 4] = [
    ("off", Profile::Off),
    ("rfc", Profile::Rfc),
    ("lamp-safe", Profile::LampSafe),
    ("static", Profile::Static),
];

pub(super) fn read(table: &mut Table<'_>) -> Option<Site> {
    let id = table.require("id", "the name of the site, and of its file");
    let id = id.and_then(|item| item.parse_like(ID_PATTERN, SiteId::parse));
    let domains = table.require("domains", "the names that the site answers to");
    let domains = domains.and_then(|item| self::domains(&item));
    let https = [
        ("redirect", Https::Redirect),
        ("both", Https::Both),
        ("only", Https::Only),
    ];
    let https = table.value("https", Https::Redirect, |item| item.word(&https));
    let origin = table.section("origin", origin);
    let cache = table.section("cache", caching);
    let routes = table.value("route", Vec::new(), |item| routes(&item));
    let purge_from = table.section("purge", |table| {
        table.value("from", Vec::new(), |item| item.list(|item| network(&item)))
    });
    let stub = table.section("pages", |table| {
        table.value("stub", None, |item| stub(&item))
    });
    let (body, requests_per_second_per_client) = table.section("limits", limits);
    if let Some(item) = table.take("litespeed")
        && item.boolean() == Some(true)
    {
        item.not_yet("the LiteSpeed dialect");
    }
    Some(Site {
        id: id?,
        domains: domains?,
        https,
        origin: origin?,
        cache,
        routes,
        purge_from,
        stub,
        body,
        requests_per_second_per_client,
    })
}

fn domains(item: &Item<'_>) -> Option<Vec<Domain>> {
    let items = item.array_of(1..=DOMAINS_MAX, "domains")?;
    let mut seen = HashSet::new();
    let mut domains = Vec::with_capacity(items.len());
    for item in items {
        if let Some(domain) = item.parse_like(DOMAIN_PATTERN, domain) {
            if seen.insert(domain.clone()) {
                domains.push(domain);
            } else {
                item.problem(format!("`{domain}` stands here twice"));
            }
        }
    }
    Some(domains)
}

fn domain(text: &str) -> Result<Domain, NameError> {
    let Some(name) = text.strip_prefix("*.") else {
        return match text.contains('*') {
            true => Err(NameError("a wildcard is one leading `*.`".into())),
            false => HostName::parse(text).map(Domain::Exact),
        };
    };
    let name = HostName::parse(name)?;
    match name.is_ip() {
        true => Err(NameError("an address has no wildcard".into())),
        false => Ok(Domain::Wildcard(name)),
    }
}

fn origin(table: &mut Table<'_>) -> Option<Origin> {
    let cluster = table.require("cluster", "the cluster that the site lives on");
    let cluster = cluster.and_then(|item| item.parse_like(ID_PATTERN, ClusterId::parse));
    let scheme = scheme(table);
    let host = |item: Item<'_>| match item.string()? {
        "preserve" => Some(OriginHost::Preserve),
        _ => item.parse(HostName::parse).map(OriginHost::Fixed),
    };
    let host = table.value("host", OriginHost::Preserve, host);
    let port = table.value("port", 0, |item| item.integer(0..=u16::MAX));
    let seconds = Duration::from_secs;
    let mut time =
        |name, default, max| table.value(name, default, |item| item.duration(MOMENT..=max));
    let connect_timeout = time("connect_timeout", seconds(2), seconds(60));
    let first_byte_timeout = time("first_byte_timeout", seconds(60), seconds(3600));
    let (hold_max, hold_requests) = table.section("hold", |table| {
        let max = table.value("max", seconds(15), |item| {
            item.duration(Duration::ZERO..=seconds(600))
        });
        (
            max,
            table.value("requests", 200, |item| item.integer(0..=1_000_000)),
        )
    });
    let retry_idempotent = table.section("retry", |table| {
        table.value("idempotent", 1, |item| item.integer(0..=10))
    });
    let breaker = table.value("breaker", true, |item| item.boolean());
    let unknown = [
        ("refuse", UnknownCoding::Refuse),
        ("until-close", UnknownCoding::UntilClose),
    ];
    let unknown_transfer_coding =
        table.value("unknown_transfer_coding", UnknownCoding::Refuse, |item| {
            item.word(&unknown)
        });
    Some(Origin {
        cluster: cluster?,
        scheme: scheme?,
        host,
        port,
        connect_timeout,
        first_byte_timeout,
        hold_max,
        hold_requests,
        retry_idempotent,
        breaker,
        unknown_transfer_coding,
    })
}

fn scheme(table: &mut Table<'_>) -> Option<OriginScheme> {
    let https = table
        .take("scheme")
        .map(|item| item.word(&[("http", false), ("https", true)]));
    let tls_name = table.take("tls_name");
    let parsed = tls_name.as_ref().map(|item| item.parse(HostName::parse));
    match (https.unwrap_or(Some(false))?, parsed) {
        (true, Some(tls_name)) => Some(OriginScheme::Https {
            tls_name: tls_name?,
        }),
        (true, None) => {
            table.complain(
                "tls_name",
                "`tls_name` is missing: the name that the sides' certificate must have",
            );
            None
        }
        (false, None) => Some(OriginScheme::Http),
        (false, Some(_)) => {
            table.complain(
                "tls_name",
                "there is no certificate to verify: origin.scheme is \"http\"",
            );
            None
        }
    }
}

fn caching(table: &mut Table<'_>) -> Caching {
    let profile = table.value("profile", Profile::LampSafe, |item| item.word(&PROFILES));
    let default = profile.defaults();
    let any = Duration::ZERO..=DURATION_MAX;
    let guess = |item: Item<'_>| {
        let cap = item.duration(any.clone())?;
        Some((!cap.is_zero()).then_some(cap))
    };
    let set_cookie = [("safe", SetCookie::Safe), ("rfc", SetCookie::Rfc)];
    let client_reload = [
        ("obey", ClientReload::Obey),
        ("ignore", ClientReload::Ignore),
    ];
    let languages = [
        ("as-sent", Languages::AsSent),
        ("by-quality", Languages::ByQuality),
    ];
    let post = [("pass", Post::Pass), ("store", Post::Store)];
    let surrogate_control = [
        ("ignore", SurrogateControl::Ignore),
        ("obey", SurrogateControl::Obey),
    ];
    let admission = [("auto", Admission::Auto), ("all", Admission::All)];
    Caching {
        profile,
        default: table.value("default", default.default, |item| lifetimes(&item)),
        heuristic_cap: table.value("heuristic_cap", default.heuristic_cap, guess),
        stale_while_revalidate: table.value(
            "stale_while_revalidate",
            default.stale_while_revalidate,
            |item| item.duration(any.clone()),
        ),
        stale_if_error: table.value("stale_if_error", default.stale_if_error, |item| {
            unlimited(&item)
        }),
        set_cookie: table.value("set_cookie", default.set_cookie, |item| {
            item.word(&set_cookie)
        }),
        client_reload: table.value("client_reload", default.client_reload, |item| {
            item.word(&client_reload)
        }),
        languages: table.value("languages", default.languages, |item| item.word(&languages)),
        post: table.value("post", default.post, |item| item.word(&post)),
        surrogate_control: table.value("surrogate_control", default.surrogate_control, |item| {
            item.word(&surrogate_control)
        }),
        litespeed: table.value("litespeed", default.litespeed, |item| item.boolean()),
        key: table.section("key", |table| key(table, default.key)),
        admission: table.value("admission", default.admission, |item| item.word(&admission)),
        quota: table.section("quota", quota),
    }
}

fn quota(table: &mut Table<'_>) -> Quota {
    let size = |item: Item<'_>| item.size(1..=SIZE_MAX).map(Some);
    let quota = Quota {
        share: table.value("share", None, size),
        cap: table.value("cap", None, size),
        guaranteed: table.value("guaranteed", 0, |item| item.size(0..=SIZE_MAX)),
    };
    let share = quota.share.or(quota.cap).unwrap_or(u64::MAX);
    if share > quota.cap.unwrap_or(u64::MAX) {
        table.complain("share", "`share` is above `cap`");
    }
    if quota.guaranteed > share {
        table.complain("guaranteed", "`guaranteed` is above `share` or `cap`");
    }
    quota
}

fn key(table: &mut Table<'_>, default: KeyRules) -> KeyRules {
    let query = [
        ("sorted", QueryOrder::Sorted),
        ("as-sent", QueryOrder::AsSent),
    ];
    let parameter = |byte: u8| byte.is_ascii_graphic() && !b"&=#*".contains(&byte);
    let cookie = |byte: u8| byte.is_ascii_graphic() && !b"=;,\"*".contains(&byte);
    KeyRules {
        query: table.value("query", default.query, |item| item.word(&query)),
        ignore_parameters: table.value("ignore_parameters", default.ignore_parameters, |item| {
            patterns(&item, parameter)
        }),
        ignore_cookies: table.value("ignore_cookies", default.ignore_cookies, |item| {
            patterns(&item, cookie)
        }),
    }
}

/// Names with an optional trailing `*`; `allowed` says which bytes a name may have.
fn patterns(item: &Item<'_>, allowed: impl Fn(u8) -> bool) -> Option<Vec<String>> {
    let items = item.array_of(0..=PATTERNS_MAX, "patterns")?;
    let pattern = |text: &str| {
        let name = text.strip_suffix('*').unwrap_or(text);
        match !text.is_empty() && name.bytes().all(&allowed) {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "expected a name, or the beginning of names and one `*`, found {text:?}"
            )),
        }
    };
    Some(
        items
            .iter()
            .filter_map(|item| item.parse(pattern))
            .collect(),
    )
}

fn unlimited(item: &Item<'_>) -> Option<Duration> {
    match item.string() {
        Some("unlimited") => Some(DURATION_MAX),
        Some(_) => item.duration(Duration::ZERO..=DURATION_MAX),
        None => None,
    }
}

/// Lifetimes by status. Interim responses are never stored, 206 and 304 only under the lifetime of what they are a part of.
fn lifetimes(item: &Item<'_>) -> Option<Vec<(StatusCode, Duration)>> {
    let mut lifetimes = Vec::new();
    for (key, item) in item.entries()? {
        let status = StatusCode::from_bytes(key.as_bytes()).ok();
        let status = status.filter(|status| !matches!(status.as_u16(), 100..=199 | 206 | 304));
        if status.is_none() {
            item.key_problem(format!(
                "expected a final status other than 206 and 304 such as \"404\", found {key:?}"
            ));
        }
        let lifetime = item.duration(Duration::ZERO..=DURATION_MAX);
        lifetimes.extend(status.zip(lifetime));
    }
    lifetimes.sort_by_key(|(status, _)| *status);
    Some(lifetimes)
}

fn routes(item: &Item<'_>) -> Option<Vec<Route>> {
    let items = item.array_of(0..=ROUTES_MAX, "routes")?;
    let mut routes: Vec<Route> = Vec::with_capacity(items.len());
    for item in items {
        let Some(route) = item.clone().table(route) else {
            continue;
        };
        if let Some(earlier) = routes.iter().find(|earlier| earlier.covers(&route)) {
            item.problem(format!(
                "never reached: the earlier route `{}` matches all of it",
                earlier.path
            ));
        }
        routes.push(route);
    }
    Some(routes)
}

fn route(table: &mut Table<'_>) -> Option<Route> {
    let path = table.require(
        "path",
        "which requests the route is for, such as \"/wp-admin/*\"",
    );
    let path = path.and_then(|item| item.parse(route_path));
    if let Some(item) = table.take("browser_max_age") {
        item.not_yet("browser_max_age; leave it out");
    }
    let route = Route {
        path: String::new(),
        cache: table.value("cache", None, |item| item.word(&PROFILES).map(Some)),
        default: table.value("default", None, |item| lifetimes(&item).map(Some)),
        host: table.value("host", None, |item| item.parse(HostName::parse).map(Some)),
    };
    Some(Route {
        path: path?,
        ..route
    })
}

fn route_path(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    if !name.starts_with('/') {
        return Err(format!(
            "expected a path that begins with `/`, found {text:?}"
        ));
    }
    if text.len() > ROUTE_PATH_MAX {
        return Err(format!("a route's path has at most {ROUTE_PATH_MAX} bytes"));
    }
    match name
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '*' | '?' | '#'))
    {
        Some('*') => Err("a path has at most one `*`, at its end".into()),
        Some('?' | '#') => Err("a route matches the path alone, without query and fragment".into()),
        Some(other) => Err(format!(
            "{other:?} is not allowed in a path: write it percent-encoded, as requests have it"
        )),
        None => Ok(text.to_owned()),
    }
}

/// `"builtin"` or `{ html = "…" }`. No file: a document must mean the same by whatever way it comes, and be replaced whole.
fn stub(item: &Item<'_>) -> Option<Option<String>> {
    let html = |table: &mut Table<'_>| table.require("html", "the page")?.parse(stub_text);
    item.clone().table_or(
        |item| item.table(html).map(Some),
        |item| item.word(&[("builtin", ())]).map(|()| None),
    )
}

fn stub_text(text: &str) -> Result<String, String> {
    match text.len() {
        1..=STUB_MAX => Ok(text.to_owned()),
        length => Err(format!("the page has {length} bytes, not 1 to {STUB_MAX}")),
    }
}

fn limits(table: &mut Table<'_>) -> (u64, u32) {
    let body = table.value("body", 64 << 20, |item| item.size(0..=SIZE_MAX));
    let Some(item) = table.take("requests_per_second_per_client") else {
        return (body, 0);
    };
    let requests = item.integer(0..=u32::MAX).unwrap_or(0);
    if requests > 0 {
        item.not_yet("a limit on a client's requests; leave it 0");
    }
    (body, requests)
}
