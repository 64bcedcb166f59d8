//! `/v1/sites`: the sites in force, and the documents that are refused.

use jet9_config::site::Https;
use jet9_config::{Problem as Wrong, Problems};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::sites::SiteRuntime;

/// `GET /v1/sites`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let sites = &call.api.edge.sites;
    let mut problems = sites.problems();
    let describe = |site: std::sync::Arc<SiteRuntime>| {
        let refused = problems.remove(site.site.id.as_str());
        of_site(&site, refused.as_ref())
    };
    let mut listed: Vec<Value> = sites.all().into_iter().map(describe).collect();
    listed.extend(problems.iter().map(|(id, refused)| of_refused(id, refused)));
    let body = json!({ "generation": sites.generation(), "sites": listed });
    Ok(Answer::ok(body).tagged(sites.generation()))
}

/// `GET /v1/sites/{id}`.
pub(super) async fn one(call: Call<'_>) -> Result<Answer, Problem> {
    let sites = &call.api.edge.sites;
    let refused = sites.problems_of(call.name);
    match (sites.by_id(call.name), refused) {
        (Some(site), refused) => {
            Ok(Answer::ok(of_site(&site, refused.as_ref())).tagged(site.generation))
        }
        (None, Some(refused)) => Ok(Answer::ok(of_refused(call.name, &refused))),
        (None, None) => Err(Problem::not_found(format!("no site `{}`", call.name))),
    }
}

fn of_site(runtime: &SiteRuntime, refused: Option<&Problems>) -> Value {
    let site = &runtime.site;
    let domains: Vec<String> = site.domains.iter().map(ToString::to_string).collect();
    json!({
        "id": site.id.as_str(),
        "status": if refused.is_some() { "lagging" } else { "in-force" },
        "generation": runtime.generation,
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
