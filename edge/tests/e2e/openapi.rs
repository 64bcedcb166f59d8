//! The admin API against its own description: schemathesis makes calls of every kind from `/v1/openapi.json`, good and bad, and compares.
//!
//! Nothing may answer 5xx, nothing may answer what the description does not say, no content that it forbids may be taken, and the edge takes sites and
//! serves them afterwards.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::support::cluster::Cluster;
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::Setup;

/// Two minutes are its budget on two cores; this is for machines that do other things beside.
const LIMIT: Duration = Duration::from_secs(360);

/// The same calls in every run.
const SEED: &str = "20261";

/// Calls of each kind for each operation.
const EXAMPLES: &str = "25";

/// What refuses content that the schema forbids. 413: what is longer than the schema allows may be longer than any content may be.
const REFUSALS: &str = "[checks.negative_data_rejection]\nexpected-statuses = [400, 404, 409, 412, 413, 415, 422, 428]\n";

/// What an answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth";

#[test]
fn every_answer_to_any_call_is_one_that_the_description_allows() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|_, wire| wire.answer("200 OK", "", b"here"));
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        std::fs::write(scene.dir().join("schemathesis.toml"), REFUSALS).expect("write");
        let mut tool = Command::new("schemathesis");
        tool.current_dir(scene.dir())
            .args([
                "--no-color",
                "run",
                "--seed",
                SEED,
                "--max-examples",
                EXAMPLES,
            ])
            .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
            .args([
                "--workers",
                "1",
                "--no-shrink",
                "--generation-database",
                "none",
            ])
            .args([
                "--continue-on-failure",
                "--request-timeout",
                "30",
                "--warnings",
                "off",
            ])
            // It can write no PEM and waits for the end of an answer that has none: both have tests of their own.
            .args(["--exclude-operation-id", "put_certificates_name"])
            .args(["--exclude-operation-id", "get_events"])
            .args([
                "--header",
                &format!("Authorization: Bearer {}", edge.token()),
            ])
            .arg(format!("http://{}/v1/openapi.json", edge.bound.admin));
        let run = tool.output().expect(
            "schemathesis is on PATH: ./test installs it, scripts/requirements.txt says which",
        );
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success(),
            "{told}\n{}",
            String::from_utf8_lossy(&run.stderr)
        );
        assert!(edge.is_alive());
        // It knows the sites from the list of them, and may have removed any.
        let site = json!({ "id": "after", "domains": ["after.test"], "https": "both", "origin": { "cluster": "c-1" } });
        assert_eq!(edge.admin("PUT", "/v1/sites/after", &site).status, 201);
        assert_eq!(edge.get("after.test", "/").text(), "here");
    });
}
