//! Who calls, and what that one may: scopes, and the rights that calls need.
//!
//! A [`Principal`] is made by [`super::Tokens`] (a token) or by the admin API (the uid of a socket's peer), and asked by every route, and by purges
//! on a site's own names. Pure. Invariant 8: a scope names its site or its cluster, and gives no right over another.

use std::fmt;
use std::sync::Arc;

use jet9_config::{ClusterId, SiteId};

/// What the names of those begin with who have a token that was made.
const OF_TOKEN: &str = "token:";

/// What a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Reading everything that is no secret.
    Read,
    /// `site:<id>:purge`: purging this site.
    Purge(SiteId),
    /// `site:<id>:write`: replacing and removing this site.
    Write(SiteId),
    /// `cluster:<id>:publish`: publishing this cluster's state.
    Publish(ClusterId),
}

/// What a call needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right<'a> {
    /// What only `admin` has.
    Admin,
    /// Reading what is not of one site or cluster.
    Read,
    /// Reading this site: also for who may purge or write it.
    ReadSite(&'a str),
    /// Purging this site.
    Purge(&'a str),
    /// Replacing and removing this site.
    Write(&'a str),
    /// Reading this cluster: also for who may publish it.
    ReadCluster(&'a str),
    /// Publishing this cluster's state.
    Publish(&'a str),
}

/// Someone who may call. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: Arc<str>,
    scopes: Arc<[Scope]>,
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope: expected admin, read, site:<id>:purge, site:<id>:write or cluster:<id>:publish"
)]
pub struct ScopeError(String);

impl Principal {
    /// Someone with these scopes. The name is for the audit trail.
    pub fn new(name: impl Into<Arc<str>>, scopes: impl Into<Arc<[Scope]>>) -> Self {
        Self {
            name: name.into(),
            scopes: scopes.into(),
        }
    }

    /// Someone who may everything.
    pub fn admin(name: impl Into<Arc<str>>) -> Self {
        Self::new(name, [Scope::Admin])
    }

    /// What whoever has the token of this name is called.
    pub fn name_of_token(name: &str) -> String {
        format!("{OF_TOKEN}{name}")
    }

    /// Whether it is known by a token that can be withdrawn.
    pub(super) fn has_token(&self) -> bool {
        self.name.starts_with(OF_TOKEN)
    }

    /// Whether both came of the same token: another that was made with the same name and scopes is another's.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name)
    }

    /// Who it is, in the audit trail: `admin`, `token:<name>` or `uid:<number>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may everything.
    pub fn is_admin(&self) -> bool {
        self.may(Right::Admin)
    }

    /// The one site that it may purge, if that is all that its scopes say of purging.
    pub fn only_purges(&self) -> Option<&SiteId> {
        let mut sites = self.scopes.iter().filter_map(|scope| match scope {
            Scope::Purge(site) => Some(site),
            Scope::Admin | Scope::Read | Scope::Write(_) | Scope::Publish(_) => None,
        });
        let site = sites.next()?;
        sites.all(|other| other == site).then_some(site)
    }

    /// Whether one of its scopes gives this right.
    pub fn may(&self, right: Right<'_>) -> bool {
        self.scopes.iter().any(|scope| scope.gives(right))
    }
}

impl Scope {
    /// Reads a scope.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let wrong = || ScopeError(text.to_owned());
        let site = |id: &str| SiteId::parse(id).map_err(|_| wrong());
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["admin"] => Ok(Self::Admin),
            ["read"] => Ok(Self::Read),
            ["site", id, "purge"] => Ok(Self::Purge(site(id)?)),
            ["site", id, "write"] => Ok(Self::Write(site(id)?)),
            ["cluster", id, "publish"] => {
                let id = ClusterId::parse(id).map_err(|_| wrong())?;
                Ok(Self::Publish(id))
            }
            _ => Err(wrong()),
        }
    }

    fn gives(&self, right: Right<'_>) -> bool {
        match (self, right) {
            (Self::Admin, _) => true,
            (Self::Read, Right::Read | Right::ReadSite(_) | Right::ReadCluster(_)) => true,
            (Self::Purge(own), Right::Purge(site) | Right::ReadSite(site))
            | (Self::Write(own), Right::Write(site) | Right::ReadSite(site)) => {
                own.as_str() == site
            }
            (Self::Publish(own), Right::Publish(cluster) | Right::ReadCluster(cluster)) => {
                own.as_str() == cluster
            }
            (Self::Read | Self::Purge(_) | Self::Write(_) | Self::Publish(_), _) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Read => f.write_str("read"),
            Self::Purge(site) => write!(f, "site:{site}:purge"),
            Self::Write(site) => write!(f, "site:{site}:write"),
            Self::Publish(cluster) => write!(f, "cluster:{cluster}:publish"),
        }
    }
}

impl fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Read => f.write_str("read"),
            Self::ReadSite(site) => write!(f, "read, or one of site `{site}`"),
            Self::Purge(site) => write!(f, "site:{site}:purge"),
            Self::Write(site) => write!(f, "site:{site}:write"),
            Self::ReadCluster(cluster) => write!(f, "read, or cluster:{cluster}:publish"),
            Self::Publish(cluster) => write!(f, "cluster:{cluster}:publish"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: [Right<'static>; 10] = [
        Right::Admin,
        Right::Read,
        Right::ReadSite("a"),
        Right::ReadSite("b"),
        Right::Purge("a"),
        Right::Purge("b"),
        Right::Write("a"),
        Right::Write("b"),
        Right::ReadCluster("a"),
        Right::Publish("a"),
    ];

    #[test]
    fn a_scope_gives_what_it_names_and_nothing_of_another() {
        let check = |scope: &str, expected: &[Right<'_>]| {
            let scope = Scope::parse(scope).expect("a scope");
            let principal = Principal::new("x", [scope.clone()]);
            let given: Vec<_> = RIGHTS
                .into_iter()
                .filter(|right| principal.may(*right))
                .collect();
            assert_eq!(given, expected, "{scope}");
        };
        check("admin", &RIGHTS);
        check(
            "read",
            &[
                Right::Read,
                Right::ReadSite("a"),
                Right::ReadSite("b"),
                Right::ReadCluster("a"),
            ],
        );
        check("site:a:purge", &[Right::ReadSite("a"), Right::Purge("a")]);
        check("site:b:write", &[Right::ReadSite("b"), Right::Write("b")]);
        check(
            "cluster:a:publish",
            &[Right::ReadCluster("a"), Right::Publish("a")],
        );
        assert!(!Principal::new("x", []).may(Right::Read));
    }

    #[test]
    fn who_may_purge_one_site_alone_needs_not_name_it() {
        let check = |scopes: &[&str], expected: Option<&str>| {
            let scopes = scopes
                .iter()
                .map(|scope| Scope::parse(scope).expect("a scope"));
            let principal = Principal::new("x", scopes.collect::<Vec<_>>());
            let site = principal.only_purges().map(SiteId::as_str);
            assert_eq!(site, expected, "{principal:?}");
        };
        check(&["site:a:purge", "site:b:write", "read"], Some("a"));
        check(&["site:a:purge", "site:a:purge"], Some("a"));
        check(&["site:a:purge", "site:b:purge"], None);
        check(&["admin"], None);
        check(&[], None);
    }

    #[test]
    fn a_scope_prints_as_it_is_read_and_nothing_else_is_read() {
        for good in [
            "admin",
            "read",
            "site:s-1:purge",
            "site:s.1:write",
            "cluster:c:publish",
        ] {
            assert_eq!(Scope::parse(good).expect("a scope").to_string(), good);
        }
        for bad in [
            "",
            "Admin",
            "site:*:purge",
            "site::write",
            "site:a",
            "site:a:purge:x",
            "cluster:a:purge",
            "read ",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad:?}");
        }
    }
}
