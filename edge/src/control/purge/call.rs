//! The JSON of `POST /v1/purges`, checked whole.
//!
//! `{site, urls, prefixes, tags, all, mode, wait, timeout_ms}`. Called by `control::api`. Pure. All problems are collected, each with the JSON
//! pointer of its value; a call with one purges nothing. What is given must be certain to mean what its author meant: URLs name a host of
//! the site, patterns are refused where a literal is asked for.

use std::time::Duration;

use jet9_cache::KeyHasher;
use jet9_cache::purge::{Mode, What};
use jet9_config::HostName;
use serde_json::{Map, Value};

use super::TIMEOUT_DEFAULT;
use crate::control::sites::SiteRuntime;

/// Things that one call may name. A save of a large shop purges some hundred.
pub const THINGS_MAX: usize = 1000;

/// What the things of one call may come to: a path is one on each name of its site. The journal writes a few times as many in one group.
pub const NAMED_MAX: usize = 10_000;

/// Bytes of one URL, prefix or tag.
pub const THING_BYTES_MAX: usize = 16 << 10;

/// What a call may say.
pub const MEMBERS: [&str; 8] = [
    "site",
    "urls",
    "prefixes",
    "tags",
    "all",
    "mode",
    "wait",
    "timeout_ms",
];

/// The longest that a call may wait.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// A call that is well-formed. What it names is not yet compared with a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `site`.
    pub site: String,
    /// `urls`.
    urls: Vec<String>,
    /// `prefixes`.
    prefixes: Vec<String>,
    /// `tags`.
    tags: Vec<String>,
    /// `all`.
    all: bool,
    /// `mode`; soft where it is not given: what is stale can still be shown when the origin fails.
    pub mode: Mode,
    /// `wait`.
    pub wait: Wait,
    /// `timeout_ms`.
    pub timeout: Duration,
}

/// Whose acknowledgement is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// This node's.
    Local,
    /// Every node's. A node without a fleet is all there is.
    All,
}

/// One problem of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The JSON pointer (RFC 6901) of the value.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// It is not JSON.
    Syntax(String),
    /// These values are wrong; never empty.
    Fields(Vec<FieldError>),
}

impl Call {
    /// Reads a call.
    ///
    /// # Errors
    /// All its problems.
    pub fn parse(json: &[u8]) -> Result<Self, CallError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| CallError::Syntax(error.to_string()))?;
        let Value::Object(members) = value else {
            return Err(CallError::Syntax("expected an object".into()));
        };
        let mut reader = Reader::new(members);
        let call = Self {
            site: reader.site(),
            urls: reader.texts("urls"),
            prefixes: reader.texts("prefixes"),
            tags: reader.texts("tags"),
            all: reader.flag("all"),
            mode: reader.mode(),
            wait: reader.wait(),
            timeout: reader.timeout(),
        };
        reader.finish(&call)?;
        Ok(call)
    }

    /// What the call names on its site. `is_name`: whether a host is one of that site's names.
    ///
    /// # Errors
    /// Everything that is not of that site, or no URL.
    pub fn what(
        &self,
        keys: &KeyHasher,
        site: &SiteRuntime,
        is_name: impl Fn(&str) -> bool,
    ) -> Result<Vec<What>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut what = Vec::new();
        if self.all {
            what.push(What::All);
        }
        for (index, text) in self.urls.iter().enumerate() {
            match url_of(keys, site, &is_name, text) {
                Ok(urls) => what.extend(urls),
                Err(message) => errors.push(field(format!("/urls/{index}"), message)),
            }
        }
        for (index, text) in self.prefixes.iter().enumerate() {
            match prefix_of(site, &is_name, text) {
                Ok(prefix) => what.push(prefix),
                Err(message) => errors.push(field(format!("/prefixes/{index}"), message)),
            }
        }
        let tags = self.tags.iter();
        what.extend(tags.map(|tag| What::Tag(tag.as_str().into())));
        if what.len() > NAMED_MAX {
            let message = format!(
                "these come to {} things on the names of the site; at most {NAMED_MAX}: purge in parts, or a prefix",
                what.len()
            );
            errors.push(field("", message));
        }
        if errors.is_empty() {
            Ok(what)
        } else {
            Err(errors)
        }
    }
}

/// The URLs that a text names: an absolute one, or a path, which is meant on every name of the site.
fn url_of(
    keys: &KeyHasher,
    site: &SiteRuntime,
    is_name: impl Fn(&str) -> bool,
    text: &str,
) -> Result<Vec<What>, String> {
    let text = text.split('#').next().unwrap_or(text);
    let url = |host: &str, target: &str| super::url(keys, site, host, target.as_bytes());
    if text.starts_with('/') && !text.starts_with("//") {
        check_target(text)?;
        return Ok(super::exact_names(site)?
            .map(|name| url(name.as_str(), text))
            .collect());
    }
    let rest = strip_scheme(text).ok_or("expected an absolute http or https URL, or a path")?;
    let (host, target) = of_site(site, is_name, rest)?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{target}");
    check_target(&target)?;
    Ok(vec![url(host.as_str(), &target)])
}

/// Host and target of what follows `//`; the host is one of the site's names.
fn of_site<'t>(
    site: &SiteRuntime,
    is_name: impl Fn(&str) -> bool,
    rest: &'t str,
) -> Result<(HostName, &'t str), String> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let host = host_of(authority)?;
    match is_name(host.as_str()) {
        true => Ok((host, target)),
        false => Err(format!("`{host}` is not a name of site `{}`", site.site.id)),
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("//")?;
    let known = ["http:", "https:", ""];
    known
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some(rest)
}

/// The host of an authority; a port is left out, for a purge means every port.
fn host_of(authority: &str) -> Result<HostName, String> {
    if authority.contains('@') {
        return Err("user information has no place in the URL of a purge".into());
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            if !port.is_empty() && port.parse::<u16>().is_err() {
                return Err(format!("`{port}` is not a port"));
            }
            host
        }
        _ => authority,
    };
    HostName::parse(host).map_err(|error| error.to_string())
}

/// A path with query as requests have them.
fn check_target(target: &str) -> Result<(), String> {
    if target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err("percent-encode what is not printable ASCII, as browsers do".into())
}

/// The beginning of paths. A host may stand before it, as other services have it; it is meant on every name of the site even so.
fn prefix_of(
    site: &SiteRuntime,
    is_name: impl Fn(&str) -> bool,
    text: &str,
) -> Result<What, String> {
    let text = match strip_scheme(text) {
        Some(rest) => match of_site(site, is_name, rest)? {
            (_, "") => "/",
            (_, target) => target,
        },
        None => text,
    };
    if !text.starts_with('/') {
        return Err("expected the beginning of a path, with its slash; it is meant on every name of the site".into());
    }
    if text.contains('*') {
        return Err("a prefix is literal: leave the `*` away".into());
    }
    if text.contains('?') {
        return Err("parameters have no fixed order, so there is no beginning of a query: end the prefix before its `?`".into());
    }
    check_target(text)?;
    Ok(What::Prefix(text.as_bytes().into()))
}

fn field(pointer: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// Takes the members of a call apart and collects what is wrong with them.
struct Reader {
    members: Map<String, Value>,
    unknown: Vec<String>,
    errors: Vec<FieldError>,
}

impl Reader {
    fn new(members: Map<String, Value>) -> Self {
        let names = members.keys();
        let unknown = names.filter(|name| !MEMBERS.contains(&name.as_str()));
        Self {
            unknown: unknown.cloned().collect(),
            members,
            errors: Vec::new(),
        }
    }

    /// A member; `null` is as good as none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.errors.push(field(pointer, message));
    }

    fn site(&mut self) -> String {
        match self.take("site") {
            Some(Value::String(site)) => site,
            Some(_) => {
                self.wrong("/site", "expected the id of a site");
                String::new()
            }
            None => {
                self.wrong("/site", "missing: a purge is of one site");
                String::new()
            }
        }
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        let values = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => {
                self.wrong(format!("/{name}"), "expected an array of strings");
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(values.len().min(THINGS_MAX));
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) if text.is_empty() || text.len() > THING_BYTES_MAX => {
                    let message = format!("expected 1 to {THING_BYTES_MAX} bytes");
                    self.wrong(format!("/{name}/{index}"), message);
                }
                Value::String(text) => texts.push(text),
                _ => self.wrong(format!("/{name}/{index}"), "expected a string"),
            }
        }
        texts
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.wrong(format!("/{name}"), "expected true or false");
                false
            }
        }
    }

    fn mode(&mut self) -> Mode {
        match self.take("mode").as_ref().map(Value::as_str) {
            None | Some(Some("soft")) => Mode::Soft,
            Some(Some("hard")) => Mode::Hard,
            Some(_) => {
                self.wrong("/mode", "expected \"soft\" or \"hard\"");
                Mode::Soft
            }
        }
    }

    fn wait(&mut self) -> Wait {
        match self.take("wait").as_ref().map(Value::as_str) {
            None | Some(Some("local")) => {}
            Some(Some("all")) => return Wait::All,
            Some(_) => self.wrong("/wait", "expected \"local\" or \"all\""),
        }
        Wait::Local
    }

    fn timeout(&mut self) -> Duration {
        let max = u64::try_from(TIMEOUT_MAX.as_millis()).unwrap_or(u64::MAX);
        match self.take("timeout_ms").as_ref().map(Value::as_u64) {
            None => TIMEOUT_DEFAULT,
            Some(Some(millis)) if (1..=max).contains(&millis) => Duration::from_millis(millis),
            Some(_) => {
                self.wrong("/timeout_ms", format!("expected 1 to {max}"));
                TIMEOUT_DEFAULT
            }
        }
    }

    fn finish(mut self, call: &Call) -> Result<(), CallError> {
        for name in std::mem::take(&mut self.unknown) {
            self.wrong(format!("/{}", escape(&name)), "unknown member");
        }
        let things = call.urls.len() + call.prefixes.len() + call.tags.len();
        if things > THINGS_MAX {
            let message = format!("{things} things to purge; at most {THINGS_MAX} in one call");
            self.wrong("", message);
        }
        if things == 0 && !call.all && self.errors.is_empty() {
            self.wrong("", "nothing to purge: give urls, prefixes, tags or all");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(CallError::Fields(self.errors))
        }
    }
}

/// A name as one token of a JSON pointer (RFC 6901 §3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
