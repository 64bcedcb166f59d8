//! Documents to types: node files and site documents, with every problem collected.
//!
//! Called by `jet9 check`, at start, by the watcher of the site directory and by the admin API. The schema is docs/configuration.md; what it has and
//! this version cannot do yet is refused here with these words, so that nobody relies on a key that does nothing.
//! Does no I/O: whether files exist and ports are free is found when they are opened.
//! Invariant 6 begins here: a document with any problem yields no value, and each problem names its place.

use std::collections::HashMap;
use std::path::Path;

use crate::document::Value;
use crate::error::{Problem, Problems};
use crate::names::{NameError, SiteId};
use crate::node::Node;
use crate::reader::{Report, Table};
use crate::site::{Domain, Site};

mod limits;
mod node;
mod site;
mod state;

/// Checks a node file. `base` is the absolute directory that relative paths are relative to: the file's own. `file` stands in problems.
///
/// # Errors
/// All problems of the document.
pub fn node(file: &str, base: &Path, text: &str) -> Result<Node, Problems> {
    toml(file, text, |table| node::read(table, base))
}

/// Checks a site document in TOML. `file` stands in problems; that it is called after the site's id is for [`site_file`].
///
/// # Errors
/// All problems of the document.
pub fn site_toml(file: &str, text: &str) -> Result<Site, Problems> {
    toml(file, text, site::read)
}

/// Checks a site document in TOML that lives in the file `file`, which must be called `<id>.toml`.
///
/// # Errors
/// All problems of the document, or that the file bears another site's name.
pub fn site_file(file: &str, text: &str) -> Result<Site, Problems> {
    let site = site_toml(file, text)?;
    let name = file.rsplit('/').next().unwrap_or(file);
    if site_id_of_file(name).ok().as_ref() == Some(&site.id) {
        return Ok(site);
    }
    let message = format!(
        "the document of site `{}` lives in a file called `{}`",
        site.id,
        site.file_name()
    );
    Err(Problems::from(Problem {
        file: file.into(),
        place: place(text, "/id"),
        pointer: "/id".into(),
        message,
    }))
}

/// Checks a site document in JSON. The problems have no file and no place, only JSON pointers.
///
/// # Errors
/// All problems of the document.
pub fn site_json(value: &serde_json::Value) -> Result<Site, Problems> {
    let report = Report::new("");
    let site = report.read(&Value::from_json(value), site::read);
    report.finish("", site)
}

/// What a site document may say, as JSON Schema (2020-12), found by asking the reader. What only its parsers know, and what holds between
/// values, is not in it.
pub fn site_schema() -> serde_json::Value {
    crate::reader::schema(site::read)
}

/// The site whose document a file of this name (no folders) is: `s-1` for `s-1.toml`.
///
/// # Errors
/// When the name does not end in `.toml`, or the rest is no id.
pub fn site_id_of_file(name: &str) -> Result<SiteId, NameError> {
    match name.strip_suffix(".toml") {
        Some(id) => SiteId::parse(id),
        None => Err(NameError("the file of a site is called `<id>.toml`".into())),
    }
}

/// Checks sites against one another: an id or a domain belongs to one site. A name and a wildcard that would match it may belong to two sites: the
/// exact name wins. Problems name both sites and are those of the later one, under the file name `<id>.toml`.
///
/// # Errors
/// All ids and domains that two sites claim.
pub fn sites<'s>(sites: impl IntoIterator<Item = &'s Site>) -> Result<(), Problems> {
    let mut ids = HashMap::new();
    let mut owners: HashMap<&Domain, &SiteId> = HashMap::new();
    let mut problems = Vec::new();
    for site in sites {
        if ids.insert(&site.id, ()).is_some() {
            problems.push(contradiction(
                site,
                "/id".into(),
                format!("there are two sites `{}`", site.id),
            ));
            continue;
        }
        for (index, domain) in site.domains.iter().enumerate() {
            let owner = *owners.entry(domain).or_insert(&site.id);
            if *owner != site.id {
                let message = format!(
                    "`{domain}` is a domain of site `{owner}`; site `{}` cannot have it too",
                    site.id
                );
                problems.push(contradiction(site, format!("/domains/{index}"), message));
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems(problems))
    }
}

/// Where the value of a JSON pointer stands in a TOML text, as line and column from 1: for a problem that shows only beside other documents,
/// when only the types are left. `None` when there is no such value.
pub fn place(text: &str, pointer: &str) -> Option<(usize, usize)> {
    let root = Value::from_toml(text).ok()?;
    let mut steps = pointer.split('/').skip(1);
    let found = steps.try_fold(&root, |value, step| value.child(step))?;
    Some(crate::reader::place(text, found.at?))
}

fn contradiction(site: &Site, pointer: String, message: String) -> Problem {
    Problem {
        file: site.file_name(),
        place: None,
        pointer,
        message,
    }
}

fn toml<T>(
    file: &str,
    text: &str,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<T, Problems> {
    let report = Report::new(file);
    let value = match Value::from_toml(text) {
        Ok(root) => report.read(&root, read),
        Err(errors) => {
            for error in errors {
                report.add(Some(error.at), "", error.message);
            }
            None
        }
    };
    report.finish(text, value)
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
