//! `/v1/sites`: the sites in force, the documents that are refused, and every change of them.
//!
//! A document comes as JSON or as TOML and is checked whole before anything else; the store behind [`SiteStore`] does the rest. What it answers is
//! in force. Entity tags are the numbers of the site's versions.

use std::sync::Arc;

use http::header::{ACCEPT, LOCATION};
use http::{HeaderValue, StatusCode};
use jet9_config::site::{Https, Site};
use jet9_config::{Problem as Wrong, Problems, SiteId, check};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call, changes, conditions};
use crate::control::purge::FieldError;
use crate::control::sites::{
    Claims, Form, Intent, Removal, SiteRuntime, SiteStore, Version, Write, WriteError, Written,
};

/// The media type of a document as it lies in its file.
pub(super) const TOML: &str = "application/toml";

/// `GET /v1/sites`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let sites = &call.api.edge.sites;
    let mut problems = sites.problems();
    let describe = |site: Arc<SiteRuntime>| {
        let refused = problems.remove(site.site.id.as_str());
        of_site(&site, refused.as_ref())
    };
    let mut listed: Vec<Value> = sites.all().into_iter().map(describe).collect();
    listed.extend(problems.iter().map(|(id, refused)| of_refused(id, refused)));
    let body = json!({ "generation": sites.generation(), "sites": listed });
    Ok(Answer::ok(body).tagged(sites.generation()))
}

/// `GET /v1/sites/{id}`: with the document in force, as JSON; or only that, as it was written, for who accepts TOML.
pub(super) async fn one(call: Call<'_>) -> Result<Answer, Problem> {
    let sites = &call.api.edge.sites;
    let Some(site) = sites.by_id(call.name) else {
        let refused = sites.problems_of(call.name);
        let refused = refused.ok_or_else(|| unknown(call.name))?;
        return Ok(Answer::ok(of_refused(call.name, &refused)));
    };
    let text = match sites.store() {
        Some(store) => store.document(call.name).await.map_err(unreadable)?,
        None => None,
    };
    let accepts = call.fields.get(ACCEPT);
    let accepts = accepts.and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains(TOML)) {
        let text = text.ok_or_else(|| unreadable("its text is not kept"))?;
        return Ok(Answer::text(TOML, text).tagged(site.version));
    }
    let mut body = of_site(&site, sites.problems_of(call.name).as_ref());
    body["spec"] = text.as_deref().map_or(Value::Null, spec);
    Ok(Answer::ok(body).tagged(site.version))
}

/// `PUT /v1/sites/{id}`.
pub(super) async fn put(call: Call<'_>) -> Result<Answer, Problem> {
    let document = Document::read(&call)?;
    let intent = match call.flag("dry_run")? {
        true => Intent::Try,
        false => Intent::Do,
    };
    write(&call, document, intent).await
}

/// `DELETE /v1/sites/{id}`.
pub(super) async fn remove(call: Call<'_>) -> Result<Answer, Problem> {
    let removal = Removal {
        id: named(&call)?.to_string(),
        expected: conditions::expected(call.fields)?,
        by: call.principal.name().into(),
    };
    let removed = store(&call)?.remove(removal).await;
    removed.map_err(|error| refusal(call.name, error))?;
    Ok(Answer::nothing())
}

/// `GET /v1/sites/{id}/versions`.
pub(super) async fn versions(call: Call<'_>) -> Result<Answer, Problem> {
    let id = named(&call)?;
    let versions = store(&call)?.versions(id.as_str()).await;
    let versions = versions.map_err(unreadable)?;
    if versions.is_empty() {
        return Err(unknown(call.name));
    }
    let in_force = call.api.edge.sites.by_id(call.name);
    let in_force = in_force.map(|site| site.version);
    let one = |version: &Version| {
        json!({
            "version": version.number,
            "unix_ms": version.unix_ms,
            "by": version.by,
            "removed": version.text.is_none(),
            "in_force": Some(version.number) == in_force,
            "spec": version.text.as_deref().map(spec),
        })
    };
    let listed: Vec<Value> = versions.iter().map(one).collect();
    Ok(Answer::ok(json!({ "site": call.name, "versions": listed })))
}

/// `POST /v1/sites/{id}/rollback` `{version}`: what a version said is in force again, as a new version.
pub(super) async fn rollback(call: Call<'_>) -> Result<Answer, Problem> {
    let wanted: Value = serde_json::from_slice(call.body).map_err(syntax)?;
    let number = wanted["version"].as_u64();
    let is_all = wanted.as_object().is_some_and(|wanted| wanted.len() == 1);
    let (Some(number), true) = (number, is_all) else {
        let message = "expected {\"version\": <number>}";
        return Err(Problem::unprocessable(vec![field("/version", message)]));
    };
    let id = named(&call)?;
    let versions = store(&call)?.versions(id.as_str()).await;
    let versions = versions.map_err(unreadable)?;
    let found = versions.into_iter().find(|one| one.number == number);
    let text = found.and_then(|version| version.text).ok_or_else(|| {
        let detail = format!(
            "version {number} of site `{}` is not kept",
            call.name.escape_default()
        );
        Problem::not_found(detail)
    })?;
    let document = Document::of_toml(call.name, text)?;
    write(&call, document, Intent::Do).await
}

/// A checked document on its way to the store.
struct Document {
    site: Site,
    text: String,
    form: Form,
}

impl Document {
    fn read(call: &Call<'_>) -> Result<Self, Problem> {
        if call.media_type() == Some(TOML) {
            let text = std::str::from_utf8(call.body).map_err(syntax)?;
            return Self::of_toml(call.name, text.to_owned());
        }
        let mut value: Value = serde_json::from_slice(call.body).map_err(syntax)?;
        if let Value::Object(members) = &mut value {
            members.entry("id").or_insert_with(|| call.name.into());
        }
        let site = check::site_json(&value).map_err(|problems| unprocessable(&problems))?;
        // What is checked is written in the form that a hand may edit.
        let text = toml::to_string(&value).map_err(syntax)?;
        let document = Self {
            site,
            text,
            form: Form::Meaning,
        };
        document.called(call.name)
    }

    fn of_toml(name: &str, text: String) -> Result<Self, Problem> {
        let site = check::site_toml("", &text).map_err(|problems| unprocessable(&problems))?;
        let document = Self {
            site,
            text,
            form: Form::Text,
        };
        document.called(name)
    }

    /// Refuses the document of another site than the one that is called.
    fn called(self, name: &str) -> Result<Self, Problem> {
        if self.site.id.as_str() == name {
            return Ok(self);
        }
        let message = format!("this is the document of site `{}`", self.site.id);
        Err(Problem::unprocessable(vec![field("/id", message)]))
    }
}

async fn write(call: &Call<'_>, document: Document, intent: Intent) -> Result<Answer, Problem> {
    let after = spec(&document.text);
    let write = Write {
        site: document.site,
        text: document.text,
        form: document.form,
        expected: conditions::expected(call.fields)?,
        by: call.principal.name().into(),
        claims: match call.principal.is_admin() {
            true => Claims::All,
            false => Claims::Free,
        },
        intent,
    };
    let written = store(call)?.put(write).await;
    let written = written.map_err(|error| refusal(call.name, error))?;
    let before = written.before.as_deref().map_or(Value::Null, spec);
    let differing = changes::between(&before, &after);
    match intent {
        Intent::Try => {
            let body = json!({
                "id": call.name, "dry_run": true, "generation": written.version,
                "is_new": written.is_new, "changes": differing,
            });
            Ok(Answer::ok(body))
        }
        Intent::Do => answer(call, &written, &differing),
    }
}

fn answer(call: &Call<'_>, written: &Written, changes: &[Value]) -> Result<Answer, Problem> {
    let site = call.api.edge.sites.by_id(call.name);
    // It may have been removed again since.
    let mut body = site.map_or_else(|| json!({ "id": call.name }), |site| of_site(&site, None));
    body["generation"] = written.version.into();
    body["changes"] = changes.into();
    let answer = match written.is_new {
        false => Answer::ok(body),
        true => {
            let place = HeaderValue::try_from(format!("/v1/sites/{}", call.name));
            let place = place.map_err(syntax)?;
            Answer::of(StatusCode::CREATED, body).with(LOCATION, place)
        }
    };
    Ok(answer.tagged(written.version))
}

/// The site that is called. What is no id names no site, and no file either.
fn named(call: &Call<'_>) -> Result<SiteId, Problem> {
    SiteId::parse(call.name).map_err(|_| unknown(call.name))
}

fn store<'a>(call: &Call<'a>) -> Result<&'a Arc<dyn SiteStore>, Problem> {
    call.api.edge.sites.store().ok_or_else(|| {
        let detail = "the sites of this node are fixed";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

fn refusal(id: &str, error: WriteError) -> Problem {
    let told = error.to_string();
    match error {
        WriteError::Missing => unknown(id),
        WriteError::Moved(_) | WriteError::Unexpected(_) => {
            Problem::new(StatusCode::PRECONDITION_FAILED, told)
        }
        WriteError::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, told),
        WriteError::Taken(problems) => Problem::conflict(fields_of(&problems)),
        WriteError::Failed(_) => {
            log::error!("site {id}: {told}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, told)
        }
    }
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no site `{}`", id.escape_default()))
}

fn syntax(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string())
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    let detail = format!("the document cannot be read: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

fn unprocessable(problems: &Problems) -> Problem {
    Problem::unprocessable(fields_of(problems))
}

fn fields_of(problems: &Problems) -> Vec<FieldError> {
    let one = |problem: &Wrong| {
        let place = problem.place;
        let place = place.map(|(line, column)| format!("line {line}, column {column}: "));
        let place = place.unwrap_or_default();
        field(&problem.pointer, format!("{place}{}", problem.message))
    };
    problems.0.iter().map(one).collect()
}

fn field(pointer: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// A document's text as JSON. Texts are checked before they are kept; one that cannot be read any more is shown as nothing.
fn spec(text: &str) -> Value {
    toml::from_str(text).unwrap_or(Value::Null)
}

fn of_site(runtime: &SiteRuntime, refused: Option<&Problems>) -> Value {
    let site = &runtime.site;
    let domains: Vec<String> = site.domains.iter().map(ToString::to_string).collect();
    json!({
        "id": site.id.as_str(),
        "status": if refused.is_some() { "lagging" } else { "in-force" },
        "generation": runtime.version,
        "domains": domains,
        "https": https_word(site.https),
        "cluster": site.origin.cluster.as_str(),
        "problems": refused.map_or_else(Vec::new, problems),
    })
}

fn of_refused(id: &str, refused: &Problems) -> Value {
    json!({ "id": id, "status": "refused", "problems": problems(refused) })
}

fn problems(refused: &Problems) -> Vec<Value> {
    let one = |problem: &Wrong| {
        let (line, column) = problem.place.unzip();
        json!({
            "file": problem.file, "line": line, "column": column,
            "pointer": problem.pointer, "detail": problem.message,
        })
    };
    refused.0.iter().map(one).collect()
}

const fn https_word(https: Https) -> &'static str {
    match https {
        Https::Redirect => "redirect",
        Https::Both => "both",
        Https::Only => "only",
    }
}
