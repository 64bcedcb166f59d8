//! The words of a site document as the rules of `jet9_cache::semantics`.
//!
//! Called once per site and route when a document comes into force. What a profile means is decided in `jet9_config::site` (it is data, and
//! documented there); here it only changes its type.

use jet9_cache::semantics::rules::{
    ClientReload, Languages, LiteSpeed, Post, Rules, SetCookie, Storing, SurrogateControl,
};
use jet9_config::site::{self, Caching, Profile, Route, Site};

/// The rules outside of routes.
pub(super) fn of_site(site: &Site) -> Rules {
    of(&site.cache, Storing::ProfileOff)
}

/// The rules of one route. The reason names what turned caching off: the route, or the site's profile.
pub(super) fn of_route(site: &Site, route: &Route) -> Rules {
    let off = match route.cache {
        Some(_) => Storing::RouteOff,
        None => Storing::ProfileOff,
    };
    of(&site.cache.on_route(route), off)
}

fn of(caching: &Caching, off: Storing) -> Rules {
    Rules {
        storing: match caching.profile {
            Profile::Off => off,
            Profile::Rfc | Profile::LampSafe | Profile::Static => Storing::Allowed,
        },
        default_lifetimes: caching.default.clone(),
        stale_while_revalidate: caching.stale_while_revalidate,
        stale_if_error: caching.stale_if_error,
        set_cookie: match caching.set_cookie {
            site::SetCookie::Safe => SetCookie::Safe,
            site::SetCookie::Rfc => SetCookie::Rfc,
        },
        client_reload: match caching.client_reload {
            site::ClientReload::Obey => ClientReload::Obey,
            site::ClientReload::Ignore => ClientReload::Ignore,
        },
        heuristic_cap: caching.heuristic_cap,
        languages: match caching.languages {
            site::Languages::AsSent => Languages::AsSent,
            site::Languages::ByQuality => Languages::ByQuality,
        },
        post: match caching.post {
            site::Post::Pass => Post::Pass,
            site::Post::Store => Post::Store,
        },
        surrogate_control: match caching.surrogate_control {
            site::SurrogateControl::Ignore => SurrogateControl::Ignore,
            site::SurrogateControl::Obey => SurrogateControl::Obey,
        },
        litespeed: if caching.litespeed {
            LiteSpeed::Obey
        } else {
            LiteSpeed::Ignore
        },
        ignore_cookies: caching.key.ignore_cookies.clone(),
    }
}
