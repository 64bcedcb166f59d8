//! What the forms of the contract mean, a form a line.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn url(target: &str) -> Thing {
    here(target)
}

fn on(host: &str, target: &str) -> Thing {
    Thing::Url {
        host: Some(host.to_owned()),
        target: target.to_owned(),
    }
}

fn prefix(path: &str) -> Thing {
    Thing::Prefix(path.to_owned())
}

fn tag(name: &str) -> Thing {
    Thing::Tag(name.to_owned())
}

fn host(name: &str) -> Thing {
    Thing::Host(name.to_owned())
}

fn read_of(method: &str, target: &str, fields: &[(&str, &str)]) -> Option<Result<Order, Hint>> {
    let lines = fields.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    let fields: HeaderMap = lines.collect();
    read(&Asked {
        method,
        target,
        fields: &fields,
    })
}

/// The request purges these things, hard.
#[track_caller]
fn check(request: &str, fields: &[(&str, &str)], expected: &[Thing]) {
    check_mode(request, fields, expected, Mode::Hard);
}

#[track_caller]
fn check_mode(request: &str, fields: &[(&str, &str)], expected: &[Thing], mode: Mode) {
    let (method, target) = request.split_once(' ').unwrap();
    let order = read_of(method, target, fields)
        .expect("a purge")
        .expect("understood");
    assert_eq!(order.things, expected, "{request} {fields:?}");
    assert_eq!(order.mode, mode, "{request} {fields:?}");
}

/// The request is refused, and the hint says this.
#[track_caller]
fn check_refused(request: &str, fields: &[(&str, &str)], says: &str) {
    let (method, target) = request.split_once(' ').unwrap();
    let Hint(hint) = read_of(method, target, fields)
        .expect("a purge")
        .expect_err(request);
    assert!(
        hint.contains(says) && hint.contains("nothing was purged"),
        "{request} {fields:?}: {hint}"
    );
}

#[test]
fn other_requests_are_no_purges() {
    for (method, target) in [
        ("GET", "/"),
        ("POST", "/purge/x"),
        ("GET", "/purge"),
        ("GET", "/purged/x"),
        ("HEAD", "/purge/x"),
        ("purge", "/"),
        ("REFRESH", "/"),
    ] {
        assert_eq!(
            read_of(method, target, &[("xkey", "a")]),
            None,
            "{method} {target}"
        );
    }
}

#[test]
fn a_url_is_purged_as_it_is() {
    check("PURGE /a", &[], &[url("/a")]);
    check("PURGE /", &[], &[url("/")]);
    check("PURGE /a?x=*&y=(1)", &[], &[url("/a?x=*&y=(1)")]);
    check("PURGE /wiki/Foo_(bar)", &[], &[url("/wiki/Foo_(bar)")]);
    check("PURGE /a", &[("x-purge-method", "default")], &[url("/a")]);
    check("PURGE /a", &[("x-purge-method", "exact")], &[url("/a")]);
    check(
        "URIBAN /files/a.png?itok=1",
        &[],
        &[url("/files/a.png?itok=1")],
    );
    check_mode(
        "PURGE /a",
        &[("fastly-soft-purge", "1")],
        &[url("/a")],
        Mode::Soft,
    );
}

#[test]
fn an_open_end_is_a_prefix_and_everything_after_a_slash_is_everything() {
    for all in ["/.*", "/(.*)", "/*", "/purgeall", "/purge/*", "/purge/.*"] {
        check(&format!("PURGE {all}"), &[], &[Thing::All]);
    }
    let regex = [("x-purge-method", "regex")];
    check("PURGE /.*", &regex, &[Thing::All]);
    check("PURGE /blog/.*", &regex, &[prefix("/blog/")]);
    check("PURGE /blog/", &regex, &[prefix("/blog/")]);
    check("PURGE /blog.*", &[], &[prefix("/blog")]);
    check("PURGE /blog/(.*)", &[], &[prefix("/blog/")]);
    check("PURGE /blog/*", &[], &[prefix("/blog/")]);
    check("PURGE /blog/?.*", &[], &[prefix("/blog/?"), url("/blog/")]);
    check("FULLBAN /", &[], &[Thing::All]);
    check("FULLBAN /any", &[], &[Thing::All]);
    check("BAN /", &[], &[Thing::All]);
    check("BAN /blog", &[], &[prefix("/blog")]);
    check("BAN /blog/.*", &[], &[prefix("/blog/")]);
    check("BAN /style\\.css", &[], &[prefix("/style.css")]);
}

#[test]
fn any_other_pattern_is_refused() {
    for pattern in [
        "/a*b",
        "/*/b",
        "/.*projects.*",
        "/a.*b",
        "/(a|b)/.*",
        "/[a-z]+/.*",
        "/a\\d.*",
        "/a/.*.*",
    ] {
        check_refused(
            &format!("PURGE {pattern}"),
            &[],
            "regular expressions are not run",
        );
        check_refused(
            &format!("BAN {pattern}"),
            &[],
            "regular expressions are not run",
        );
    }
    check_refused("BAN /(a)", &[], "regular expressions");
    check_refused("BAN /a?x=1", &[], "parameters have no fixed order");
    check_refused(
        "PURGE /a?x=1.*",
        &[("x-purge-method", "regex")],
        "parameters",
    );
    check_refused(
        "PURGE /a",
        &[("x-purge-method", "fancy")],
        "`X-Purge-Method`",
    );
}

#[test]
fn a_purge_location_stands_before_the_path() {
    check("GET /purge/a/b?c", &[], &[url("/a/b?c")]);
    check("GET /purge/", &[], &[url("/")]);
    check("GET /purge/*", &[], &[Thing::All]);
    check("GET /purge/a/*", &[], &[prefix("/a/")]);
    check("PURGE /purge/a", &[], &[url("/a"), url("/purge/a")]);
}

#[test]
fn bans_by_fields_are_narrowed_by_hosts() {
    let check = |url, host, expected: &[Thing]| {
        check("BAN /", &[("x-url", url), ("x-host", host)], expected)
    };
    check(".*", ".*", &[Thing::All]);
    check("/a/.*", ".*", &[prefix("/a/")]);
    check("^/a", ".*", &[prefix("/a")]);
    check("^/a\\.html$", ".*", &[url("/a.html")]);
    check(
        "^/a$",
        "^(a.test|b\\.test)$",
        &[
            on("a.test", "/a"),
            on("b.test", "/a"),
            host("a.test"),
            host("b.test"),
        ],
    );
    check("/a", "a.test", &[prefix("/a"), host("a.test")]);
    check("^/$", ".*", &[url("/")]);
    check(".*", "^a.test$", &[Thing::All, host("a.test")]);
}

#[test]
fn what_bans_cannot_be_narrowed_by_is_refused() {
    check(
        "BAN /",
        &[("x-url", "/a"), ("x-content-type", ".*")],
        &[prefix("/a")],
    );
    check_refused(
        "BAN /",
        &[("x-url", "/a"), ("x-content-type", "image/png")],
        "type of content",
    );
    check_refused(
        "BAN /",
        &[("x-url", "/a"), ("x-host", ".*\\.test")],
        "give a host",
    );
    check_refused("BAN /", &[("x-url", "a/b")], "regular expressions");
    check_refused("BAN /", &[("x-host", "a.test")], "`X-Url`");
    check_refused(
        "BAN /",
        &[("x-url", "/a"), ("x-cache-tags", "a")],
        "cannot be combined",
    );
}

#[test]
fn the_families_of_ban_fields() {
    let check = |name, value, expected: &[Thing]| check("BAN /", &[(name, value)], expected);
    check("x-ban-url", "/a", &[prefix("/a")]);
    check("x-ban-regex", ".*", &[Thing::All]);
    check("x-ban-path", "^/a$", &[url("/a")]);
    check("x-ban-all", "1", &[Thing::All]);
    check("x-ban-tags", "a|b", &[tag("a"), tag("b")]);
    check("varnish-ban-all", "1", &[Thing::All]);
    check("varnish-ban-typo3-pid", "12", &[tag("typo3-pid:12")]);
    check("varnish-ban-typo3-tag", "tt_news_3", &[tag("tt_news_3")]);
    check("typo3-pid", "12", &[tag("typo3-pid:12")]);
    let both = |name, value| [("varnish-ban-typo3-sitename", "h"), (name, value)];
    tests::check(
        "BAN /",
        &both("varnish-ban-typo3-pid", "12"),
        &[tag("typo3:h:12")],
    );
    tests::check(
        "BAN /",
        &both("varnish-ban-all", "1"),
        &[tag("typo3-sitename:h")],
    );
    tests::check(
        "BAN /",
        &[("x-ban-method", "url"), ("x-ban-url", "/a(1)")],
        &[url("/a(1)")],
    );
    check_refused(
        "BAN /",
        &[("x-ban-moon", "full")],
        "`x-ban-moon` is not understood",
    );
    check_refused(
        "BAN /",
        &[("varnish-ban-query", "x")],
        "`varnish-ban-query`",
    );
}

#[test]
fn what_fields_say_twice_or_not_at_all_is_refused_not_half_done() {
    let ban = |fields: &[(&str, &str)], says| check_refused("BAN /", fields, says);
    ban(&[("x-ban-tags", "")], "names no tag");
    ban(&[("x-ban-tags", "()|(,)")], "names no tag");
    ban(&[("varnish-ban-typo3-tag", " ")], "is empty");
    ban(&[("typo3-pid", "")], "is empty");
    ban(&[("x-ban-host", ""), ("x-ban-url", "/a")], "is empty");
    ban(&[("x-ban-url", "/a"), ("x-ban-regex", "/b")], "twice");
    ban(&[("x-ban-url", "/a"), ("x-ban-url", "/b")], "twice");
    ban(&[("x-url", "/a"), ("x-url", "/b")], "twice");
    ban(&[("x-url", "/a"), ("x-ban-url", "/b")], "twice");
    ban(
        &[("x-url", "/a"), ("x-host", "a.test"), ("x-host", "b.test")],
        "twice",
    );
    ban(&[("x-ban-tag", "a"), ("varnish-ban-tags", "b")], "twice");
    ban(&[("x-ban-tags", "a"), ("typo3-pid", "1")], "twice");
    ban(
        &[("varnish-ban-typo3-tag", "a"), ("typo3-pid", "1")],
        "twice",
    );
    ban(
        &[("x-ban-all", "1"), ("x-ban-url", "/a")],
        "cannot be combined",
    );
    ban(&[("x-ban-all", "1"), ("xkey", "a")], "cannot be combined");
    ban(&[("clear-cache", "1"), ("xkey", "a")], "cannot be combined");
    check(
        "BAN /",
        &[("x-ban-all", "1"), ("x-ban-url", ".*")],
        &[Thing::All],
    );
    check(
        "BAN /",
        &[("x-ban-all", "1"), ("x-host", "a.test")],
        &[Thing::All, host("a.test")],
    );
}

#[test]
fn lists_of_tags_are_taken_as_they_are() {
    let (a, b) = (tag("a"), tag("b"));
    for name in [
        "surrogate-key",
        "cache-tag",
        "cache-tags",
        "x-cache-tags",
        "xkey",
        "xkey-purge",
    ] {
        check("PURGE /", &[(name, "a b")], &[a.clone(), b.clone()]);
        check("PURGE /any", &[(name, "a,  b")], &[a.clone(), b.clone()]);
        check(
            "BAN /",
            &[(name, "a"), (name, "b")],
            &[a.clone(), b.clone()],
        );
        check_refused("PURGE /", &[(name, " ")], "names no tag");
    }
    check_mode(
        "PURGEKEYS /",
        &[("xkey-softpurge", "a b")],
        &[a.clone(), b.clone()],
        Mode::Soft,
    );
    check("PURGETAGS /", &[("x-cache-tags", "a,b")], &[a, b]);
    check("PURGE /", &[("xkey", "a|b(1)")], &[tag("a|b(1)")]);
    check_refused("PURGEKEYS /", &[], "name the tags");
    check("PURGE /", &[("clear-cache", "true")], &[Thing::All]);
}

#[test]
fn alternations_of_tags_are_taken_apart() {
    let (a, b) = (tag("cat_p_1"), tag("cat_c_2"));
    let magento = "((^|,)cat_p_1(,|$))|((^|,)cat_c_2(,|$))";
    check(
        "PURGE /",
        &[("x-magento-tags-pattern", magento)],
        &[a.clone(), b.clone()],
    );
    check(
        "PURGE /",
        &[("x-magento-tags-pattern", "cat_p_1|cat_c_2")],
        &[a.clone(), b.clone()],
    );
    check(
        "PURGE /",
        &[("x-magento-tags-pattern", ".*")],
        &[Thing::All],
    );
    let fos = [
        ("x-host", ".*"),
        ("x-url", ".*"),
        ("x-content-type", ".*"),
        ("x-cache-tags", "(^|,)(cat_p_1|cat_c_2)(,|$)"),
    ];
    check("BAN /", &fos, &[a, b]);
    check(
        "BAN /",
        &[("cache-tags", "node\\:1|node_list")],
        &[tag("node:1"), tag("node_list")],
    );
    check(
        "BAN /",
        &[("cache-tags", "node:1 node_list")],
        &[tag("node:1"), tag("node_list")],
    );
    check(
        "BAN /",
        &[("purge-cache-tags", "config:user.role.anonymous")],
        &[tag("config:user.role.anonymous")],
    );
    for pattern in ["cat_.*", "cat_p_[12]", "cat_p_\\d", "^cat", "a+"] {
        check_refused(
            "PURGE /",
            &[("x-magento-tags-pattern", pattern)],
            "tags are matched whole",
        );
        check_refused(
            "BAN /",
            &[("x-cache-tags", pattern)],
            "tags are matched whole",
        );
    }
}

#[test]
fn more_than_the_limit_is_refused_whole() {
    let tags = |count: usize| {
        (0..count)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let order = read_of("PURGE", "/", &[("xkey", &tags(THINGS_MAX))])
        .unwrap()
        .unwrap();
    assert_eq!(order.things.len(), THINGS_MAX);
    check_refused(
        "PURGE /",
        &[("xkey", &tags(THINGS_MAX + 1))],
        "at most 1000",
    );
}

proptest! {
    #[test]
    fn no_request_panics_and_what_is_ordered_is_bounded_and_never_empty(
        method in "(PURGE|BAN|URIBAN|FULLBAN|PURGEKEYS|PURGETAGS|GET)",
        target in "/(purge/)?[a-z.*()?\\\\|$^]{0,12}",
        name in "(x-url|x-host|x-ban-url|x-ban-tags|xkey|x-cache-tags|x-magento-tags-pattern|varnish-ban-all|varnish-ban-typo3-tag|accept)",
        value in "[a-z/.*()|$^,\\\\ ]{0,16}",
    ) {
        if let Some(Ok(order)) = read_of(&method, &target, &[(&name, &value)]) {
            prop_assert!(!order.things.is_empty() && order.things.len() <= THINGS_MAX);
            for thing in order.things {
                let paths = match thing {
                    Thing::Url { target, .. } => Some(target),
                    Thing::Prefix(prefix) => Some(prefix),
                    Thing::All | Thing::Tag(_) | Thing::Host(_) => None,
                };
                prop_assert!(paths.is_none_or(|path| path.starts_with('/')));
            }
        }
    }
}
