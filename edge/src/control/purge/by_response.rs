//! Purges that a side orders by its answers: the dialect of the LiteSpeed server, and `Cache-Group-Invalidation` (RFC 9875).
//!
//! Called with every final answer of a side, before it goes on to its client: by `response::store` for what is fetched for the store, by
//! `response::missing` for parts of what is stored, by `framework::phases` for what passes through. A side speaks for the site that it was
//! asked for and for no other. Nobody is told what became of such an order, so it is not refused: where it is too much, everything of the
//! site is purged in its place, once for all who wait for that.

use http::{HeaderMap, HeaderName, Method};
use jet9_cache::Partition;
use jet9_cache::purge::{Mode, Purge, PurgeError, What};
use jet9_cache::semantics::tags;

use super::call::THINGS_MAX;
use super::dialect::{Order, Thing};
use super::{NotPurged, Performed, TIMEOUT_DEFAULT};
use crate::control::sites::SiteRuntime;
use crate::message::Request;
use crate::parts::Edge;

const LITESPEED: [HeaderName; 2] = [
    HeaderName::from_static("x-litespeed-purge"),
    HeaderName::from_static("x-litespeed-purge2"),
];

/// Does what the answer to a request orders.
pub async fn by_response(edge: &Edge, site: &SiteRuntime, request: &Request, answer: &HeaderMap) {
    for order in orders(&request.method, answer) {
        let host = request.host.as_str();
        let what = order
            .things
            .iter()
            .map(|thing| what(edge, site, host, thing))
            .collect();
        let purge = super::of_site(site, what, order.mode);
        match in_any_case(edge, site.partition, purge).await {
            Ok(None | Some(Performed::Applied(_))) => {}
            Ok(Some(Performed::Lagging)) => log::error!("{host}: a purge by response is late"),
            Err(error) => log::error!("{host}: a purge by response: {error}"),
        }
    }
}

/// Purges, or purges everything where there is no room for all that was named: more, never less. `None`: everything was purged for somebody
/// else meanwhile.
async fn in_any_case(
    edge: &Edge,
    site: Partition,
    purge: Purge,
) -> Result<Option<Performed>, PurgeError> {
    let mode = purge.mode;
    if purge.what.len() <= THINGS_MAX {
        match super::admitted(edge, purge, TIMEOUT_DEFAULT).await {
            Err(NotPurged::TooMany) => {}
            Err(NotPurged::Failed(error)) => return Err(error),
            Ok(performed) => return Ok(Some(performed)),
        }
    }
    let all = async |mode| {
        let all = Purge {
            partition: Some(site),
            what: vec![What::All],
            mode,
        };
        super::perform(edge, all, TIMEOUT_DEFAULT).await
    };
    edge.purges.everything(site).purge(mode, all).await
}

fn what(edge: &Edge, site: &SiteRuntime, host: &str, thing: &Thing) -> What {
    match thing {
        Thing::Url { target, .. } => super::url(edge.cache.keys(), site, host, target.as_bytes()),
        Thing::Prefix(prefix) => What::Prefix(prefix.as_bytes().into()),
        Thing::Tag(tag) => What::Tag(tag.as_str().into()),
        Thing::All | Thing::Host(_) => What::All,
    }
}

/// What an answer orders.
fn orders(method: &Method, answer: &HeaderMap) -> Vec<Order> {
    let mut orders = Vec::new();
    for line in LITESPEED.iter().flat_map(|name| answer.get_all(name)) {
        let text = String::from_utf8_lossy(line.as_bytes());
        orders.extend(text.split(';').filter_map(litespeed));
    }
    if !method.is_safe() {
        let groups = tags::invalidated_groups(answer).into_iter().map(Thing::Tag);
        orders.extend(order(groups.collect(), Mode::Hard));
    }
    orders
}

/// One section of the field: `public` or `private`, `stale`, then tags, URLs, or `*`. There are no private responses in this store.
fn litespeed(section: &str) -> Option<Order> {
    let mut things = Vec::new();
    let mut mode = Mode::Hard;
    for member in section.split(',').map(str::trim) {
        let tag = member
            .strip_prefix("tag=")
            .unwrap_or(member)
            .trim_matches('"');
        match tag {
            "" | "public" => {}
            "private" => return None,
            "stale" => mode = Mode::Soft,
            "*" => things.push(Thing::All),
            path if path.starts_with('/') => things.push(Thing::Url {
                host: None,
                target: path.to_owned(),
            }),
            tag => things.push(Thing::Tag(tag.to_owned())),
        }
    }
    order(things, mode)
}

fn order(things: Vec<Thing>, mode: Mode) -> Option<Order> {
    (!things.is_empty()).then_some(Order { things, mode })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn tag(name: &str) -> Thing {
        Thing::Tag(name.to_owned())
    }

    #[track_caller]
    fn check(
        method: &Method,
        fields: &[(&'static str, &'static str)],
        expected: &[(&[Thing], Mode)],
    ) {
        let lines = fields.iter();
        let lines = lines.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let got = orders(method, &lines.collect());
        let got: Vec<_> = got
            .iter()
            .map(|order| (&*order.things, order.mode))
            .collect();
        assert_eq!(got, expected, "{fields:?}");
    }

    #[test]
    fn a_side_names_tags_urls_or_everything_as_to_litespeed() {
        let check = |value, expected: &[(&[Thing], Mode)]| {
            check(&Method::GET, &[("x-litespeed-purge", value)], expected)
        };
        let page = Thing::Url {
            host: None,
            target: "/page.php?x=1".to_owned(),
        };
        check("*", &[(&[Thing::All], Mode::Hard)]);
        check("public, *", &[(&[Thing::All], Mode::Hard)]);
        check("tag=*", &[(&[Thing::All], Mode::Hard)]);
        check(
            "tag=one, tag=two",
            &[(&[tag("one"), tag("two")], Mode::Hard)],
        );
        check("public,stale,one", &[(&[tag("one")], Mode::Soft)]);
        check("/page.php?x=1", &[(&[page], Mode::Hard)]);
        check("private,*", &[]);
        check(
            "private, tag=a; public, tag=b",
            &[(&[tag("b")], Mode::Hard)],
        );
        check(
            "stale,a;b",
            &[(&[tag("a")], Mode::Soft), (&[tag("b")], Mode::Hard)],
        );
        check("", &[]);
    }

    #[test]
    fn both_fields_count_and_every_line() {
        let lines = [
            ("x-litespeed-purge", "a"),
            ("x-litespeed-purge", "b"),
            ("x-litespeed-purge2", "c"),
        ];
        let (a, b, c) = ([tag("a")], [tag("b")], [tag("c")]);
        check(
            &Method::HEAD,
            &lines,
            &[(&a, Mode::Hard), (&b, Mode::Hard), (&c, Mode::Hard)],
        );
    }

    #[test]
    fn groups_are_invalidated_by_unsafe_requests_alone() {
        let lines = [("cache-group-invalidation", "\"a b\", \"c\"")];
        check(
            &Method::POST,
            &lines,
            &[(&[tag("a b"), tag("c")], Mode::Hard)],
        );
        check(&Method::GET, &lines, &[]);
    }
}
