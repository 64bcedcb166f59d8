//! Which calls are purges, what they name, and what is refused.

use jet9_cache::{Partition, Scheme};
use jet9_config::check;

use super::*;
use crate::request;

fn site(domains: &str) -> SiteRuntime {
    let text = format!("id = \"s-1\"\ndomains = [{domains}]\n[origin]\ncluster = \"c-1\"\n");
    let site = check::site_toml("s-1.toml", &text).expect("a site");
    SiteRuntime::new(site, Partition(7), 1)
}

fn keys() -> KeyHasher {
    KeyHasher::new([3; 16])
}

/// What a request for this URL is found under.
fn requested(site: &SiteRuntime, scheme: Scheme, host: &str, target: &'static str) -> What {
    let (rules, target) = (&site.site.cache.key, target.into());
    let key = request::key::of(
        &keys(),
        site.partition,
        rules,
        scheme,
        &host.into(),
        &target,
    );
    What::Url(key.url())
}

fn what(site: &SiteRuntime, members: &str) -> Result<Vec<What>, String> {
    let json = format!("{{\"site\":\"s-1\",{members}}}");
    let call = Call::parse(json.as_bytes()).map_err(|error| format!("{error:?}"))?;
    let told = |errors: Vec<FieldError>| {
        let one = |error: FieldError| format!("{}: {}", error.pointer, error.message);
        errors.into_iter().map(one).collect::<Vec<_>>().join("; ")
    };
    let is_name = |host: &str| site.site.domains.iter().any(|domain| domain.matches(host));
    call.what(&keys(), site, is_name).map_err(told)
}

#[test]
fn a_url_names_what_a_request_for_it_would_find() {
    let site = site("\"a.test\", \"*.shop.a.test\"");
    let check = |url: &str, host: &str, target: &'static str| {
        let named = what(&site, &format!("\"urls\":[{url:?}]")).expect(url);
        for scheme in [Scheme::Http, Scheme::Https] {
            assert_eq!(named, [requested(&site, scheme, host, target)], "{url}");
        }
    };
    check("https://a.test/x?b=1&a=2", "a.test", "/x?a=2&b=1");
    check("http://A.TEST:8080/x", "a.test", "/x");
    check("//a.test/x#part", "a.test", "/x");
    check("HTTPS://a.test", "a.test", "/");
    check("https://a.test?x=1", "a.test", "/?x=1");
    check("https://a.test./x", "a.test", "/x");
    check("https://y.shop.a.test/%D0%B6", "y.shop.a.test", "/%D0%B6");
    check("https://a.test/x?utm_source=y", "a.test", "/x");
}

#[test]
fn a_path_is_meant_on_every_name_of_the_site() {
    let site_of_two = site("\"a.test\", \"b.test\"");
    let named = what(&site_of_two, r#""urls":["/x"]"#).expect("a path");
    let on = |host| requested(&site_of_two, Scheme::Http, host, "/x");
    assert_eq!(named, [on("a.test"), on("b.test")]);
    let error = what(&site("\"a.test\", \"*.b.test\""), r#""urls":["/x"]"#);
    assert!(error.expect_err("unclear").contains("`*.b.test`"));
}

#[test]
fn prefixes_tags_and_all_are_named_as_they_are() {
    let site = site("\"a.test\"");
    let members = r#""prefixes":["/shop/"],"tags":["t1","t 2"],"all":true"#;
    let expected = [
        What::All,
        What::Prefix(b"/shop/".as_slice().into()),
        What::Tag("t1".into()),
        What::Tag("t 2".into()),
    ];
    assert_eq!(what(&site, members).expect("good"), expected);
    let on_a_host = r#""prefixes":["//a.test/x/","https://A.test:81/y","//a.test"]"#;
    let expected = [b"/x/".as_slice(), b"/y", b"/"].map(|path| What::Prefix(path.into()));
    assert_eq!(what(&site, on_a_host).expect("good"), expected);
}

#[test]
fn what_is_not_certain_is_refused_with_its_pointer() {
    let site = site("\"a.test\"");
    let check = |members: &str, expected: &str| {
        let error = what(&site, members).expect_err(members);
        assert!(error.contains(expected), "{members}: {error}");
    };
    check(
        r#""urls":["https://b.test/"]"#,
        "/urls/0: `b.test` is not a name of site `s-1`",
    );
    check(
        r#""urls":["/ok","a.test/x"]"#,
        "/urls/1: expected an absolute",
    );
    check(
        r#""urls":["ftp://a.test/"]"#,
        "/urls/0: expected an absolute",
    );
    check(r#""urls":["https://u@a.test/"]"#, "user information");
    check(
        r#""urls":["https://a.test:99999/"]"#,
        "`99999` is not a port",
    );
    check(r#""urls":["https:///x"]"#, "/urls/0: ");
    check(r#""urls":["https://a.test/ж"]"#, "percent-encode");
    check(r#""urls":["https://a.test/a b"]"#, "percent-encode");
    check(
        r#""prefixes":["shop"]"#,
        "/prefixes/0: expected the beginning",
    );
    check(r#""prefixes":["/shop/*"]"#, "leave the `*` away");
    check(
        r#""prefixes":["/shop?b=1"]"#,
        "/prefixes/0: parameters have no fixed order",
    );
    check(
        r#""prefixes":["/shop/","//b.test/shop/"]"#,
        "/prefixes/1: `b.test` is not a name of site `s-1`",
    );
}

#[test]
fn what_paths_come_to_on_all_names_has_a_bound() {
    let names: Vec<_> = (0..100).map(|n| format!("\"n{n}.test\"")).collect();
    let site = site(&names.join(","));
    let paths = |count: usize| {
        let paths: Vec<_> = (0..count).map(|n| format!("\"/{n}\"")).collect();
        what(&site, &format!("\"urls\":[{}]", paths.join(",")))
    };
    assert_eq!(paths(100).expect("at the bound").len(), NAMED_MAX);
    let error = paths(101).expect_err("too many");
    assert!(error.contains("come to 10100 things"), "{error}");
}

#[test]
fn all_problems_of_a_call_are_told_at_once() {
    let check = |json: &str, expected: &[&str]| {
        let pointers = match Call::parse(json.as_bytes()).expect_err(json) {
            CallError::Fields(errors) => errors.into_iter().map(|e| e.pointer).collect(),
            CallError::Syntax(_) => vec!["syntax".to_owned()],
        };
        assert_eq!(pointers, expected, "{json}");
    };
    check("", &["syntax"]);
    check("{", &["syntax"]);
    check("\"nonsense\"", &["syntax"]);
    check("{}", &["/site"]);
    check(r#"{"site":5,"all":1}"#, &["/site", "/all"]);
    check(r#"{"site":"s"}"#, &[""]);
    check(r#"{"site":"s","all":false,"urls":[]}"#, &[""]);
    check(r#"{"site":"s","urlz":[],"a/b":1}"#, &["/a~1b", "/urlz"]);
    check(
        r#"{"site":"s","urls":["",5,null]}"#,
        &["/urls/0", "/urls/1", "/urls/2"],
    );
    check(r#"{"site":"s","urls":"/x"}"#, &["/urls"]);
    check(
        r#"{"site":"s","all":true,"mode":"x","wait":"x","timeout_ms":0}"#,
        &["/mode", "/wait", "/timeout_ms"],
    );
    check(r#"{"site":"s","all":true,"wait":["all"]}"#, &["/wait"]);
    let many = vec!["/x"; THINGS_MAX + 1];
    check(
        &serde_json::json!({"site": "s", "urls": many}).to_string(),
        &[""],
    );
}

#[test]
fn what_is_not_said_has_its_default() {
    let call = Call::parse(br#"{"site":"s","all":true,"mode":null}"#).expect("good");
    assert_eq!((call.mode, call.timeout), (Mode::Soft, TIMEOUT_DEFAULT));
    let text = br#"{"site":"s","all":true,"mode":"hard","wait":"local","timeout_ms":5}"#;
    let call = Call::parse(text).expect("good");
    assert_eq!(
        (call.mode, call.timeout),
        (Mode::Hard, Duration::from_millis(5))
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics_the_reader(text in ".{0,60}") {
        let site = site("\"a.test\"");
        let _ = Call::parse(text.as_bytes());
        let call = serde_json::json!({"site": "s", "urls": [text], "prefixes": [text]});
        if let Ok(call) = Call::parse(call.to_string().as_bytes()) {
            let _ = call.what(&keys(), &site, |_| true);
        }
    }
}
