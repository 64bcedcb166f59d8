//! The name under which a response is stored: the target URI, normalised by the rules of the site.
//!
//! Called by `lookup` for every request that may be answered from the store, and by `control::purge`, so that a purge of a URL names what
//! a request for it would find; and by `origin::forward` for what is fetched to be stored. Pure. Nothing is copied when there is nothing to normalise. Percent-encoding and dot segments stay as sent:
//! to the origin they may differ, so they are different names here.

use std::sync::Arc;

use bytes::Bytes;
use jet9_cache::{Key, KeyHasher, Partition, Scheme};
use jet9_config::site::{KeyRules, QueryOrder};

/// The key of a target URI on a site.
pub fn of(
    keys: &KeyHasher,
    partition: Partition,
    rules: &KeyRules,
    scheme: Scheme,
    host: &Arc<str>,
    path_and_query: &Bytes,
) -> Key {
    keys.key(
        partition,
        scheme,
        Arc::clone(host),
        normalise(rules, path_and_query),
    )
}

/// Path and query as they go into a key: ignored parameters left out, the others in the order that the rules ask for.
pub fn normalise(rules: &KeyRules, path_and_query: &Bytes) -> Bytes {
    rewrite(rules, path_and_query, rules.query)
}

/// Path and query without the ignored parameters, else as sent. What may be stored is fetched by it: a side must not write into what others
/// get what the key does not tell apart.
pub fn without_ignored(rules: &KeyRules, path_and_query: &Bytes) -> Bytes {
    rewrite(rules, path_and_query, QueryOrder::AsSent)
}

fn rewrite(rules: &KeyRules, path_and_query: &Bytes, order: QueryOrder) -> Bytes {
    let Some(question) = path_and_query.iter().position(|&byte| byte == b'?') else {
        return path_and_query.clone();
    };
    let query = &path_and_query[question + 1..];
    if is_normal(rules, query, order) {
        return path_and_query.clone();
    }
    let mut parameters: Vec<&[u8]> = query
        .split(|&byte| byte == b'&')
        .filter(|parameter| !is_ignored(rules, parameter))
        .collect();
    if order == QueryOrder::Sorted {
        parameters.sort_by_key(|parameter| name(parameter)); // stable: equal names keep their order, PHP arrays depend on it
    }
    let mut normal = path_and_query[..question].to_vec();
    for (position, parameter) in parameters.iter().enumerate() {
        normal.push(if position == 0 { b'?' } else { b'&' });
        normal.extend_from_slice(parameter);
    }
    normal.into()
}

fn is_normal(rules: &KeyRules, query: &[u8], order: QueryOrder) -> bool {
    let mut previous: &[u8] = b"";
    query.split(|&byte| byte == b'&').all(|parameter| {
        let in_order = order == QueryOrder::AsSent || previous <= name(parameter);
        previous = name(parameter);
        in_order && !is_ignored(rules, parameter)
    })
}

fn is_ignored(rules: &KeyRules, parameter: &[u8]) -> bool {
    let name = name(parameter);
    rules
        .ignore_parameters
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix.as_bytes()),
            None => name == pattern.as_bytes(),
        })
}

fn name(parameter: &[u8]) -> &[u8] {
    parameter
        .split(|&byte| byte == b'=')
        .next()
        .unwrap_or(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(query: QueryOrder) -> KeyRules {
        KeyRules {
            query,
            ignore_parameters: vec!["utm_*".into(), "gclid".into()],
            ignore_cookies: Vec::new(),
        }
    }

    fn check(query: QueryOrder, sent: &'static str, normal: &str) {
        let got = normalise(&rules(query), &Bytes::from_static(sent.as_bytes()));
        assert_eq!(got, normal.as_bytes(), "{sent}");
    }

    #[test]
    fn ignored_parameters_are_left_out_and_the_rest_is_sorted_by_name() {
        check(QueryOrder::Sorted, "/a", "/a");
        check(QueryOrder::Sorted, "/a?", "/a?");
        check(QueryOrder::Sorted, "/a?b=2&a=1", "/a?a=1&b=2");
        check(QueryOrder::Sorted, "/a?utm_source=x", "/a");
        check(QueryOrder::Sorted, "/a?gclid=1&z&utm_x=2&b", "/a?b&z");
        check(QueryOrder::Sorted, "/a?gclids=1", "/a?gclids=1");
        check(QueryOrder::AsSent, "/a?b=2&a=1&gclid=3", "/a?b=2&a=1");
    }

    #[test]
    fn what_is_fetched_to_be_stored_has_no_ignored_parameters_and_its_own_order() {
        let check = |sent: &'static str, fetched: &str| {
            let got = without_ignored(
                &rules(QueryOrder::Sorted),
                &Bytes::from_static(sent.as_bytes()),
            );
            assert_eq!(got, fetched.as_bytes(), "{sent}");
        };
        check("/a?b=2&gclid=3&a=1&a=0", "/a?b=2&a=1&a=0");
        check("/a?utm_source=x", "/a");
        check("/a?", "/a?");
        check("/a?b&a", "/a?b&a");
    }

    #[test]
    fn equal_names_keep_their_order() {
        check(
            QueryOrder::Sorted,
            "/a?x[]=2&b=0&x[]=1",
            "/a?b=0&x[]=2&x[]=1",
        );
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        let sent = Bytes::from_static(b"/a?a=1&b=2");
        assert_eq!(
            normalise(&rules(QueryOrder::Sorted), &sent).as_ptr(),
            sent.as_ptr()
        );
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(query in "[a-c=&]{0,12}") {
            let sent = Bytes::from(format!("/p?{query}"));
            let once = normalise(&rules(QueryOrder::Sorted), &sent);
            prop_assert_eq!(normalise(&rules(QueryOrder::Sorted), &once), once);
        }
    }
}
