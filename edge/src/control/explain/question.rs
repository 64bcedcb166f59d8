//! A question: the request that is asked about, as `POST /v1/explain` has it, read into the bytes that a client would send.
//!
//! Called by `control::api`. Pure. All problems are told at once, each with the JSON pointer of its value. What a request may say is not judged
//! here but by the guard, which is given the bytes; only what would change their lines is kept out.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

use super::{Client, FieldError, Given, TlsFacts};
use crate::control::purge::CallError;

/// Field lines that a question may have. A request has no more: `limits.head_fields` is 200 unless it is changed.
const FIELDS_MAX: usize = 1000;

/// What a question may say.
pub const MEMBERS: [&str; 5] = ["method", "url", "headers", "client", "answer"];

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    method: String,
    scheme: &'static str,
    authority: String,
    target: String,
    fields: Vec<(String, String)>,
    client: Option<IpAddr>,
    given: Option<Given>,
}

impl Question {
    /// Reads `{method, url, headers, client, answer}`: the method is GET where none is given, headers are an object of texts or of lists of them,
    /// `client` is the address that the request would come from, and `answer` what the side would say: `{status, headers}`, with 200 where no
    /// status is given, or `"none"`.
    ///
    /// # Errors
    /// All its problems.
    pub fn parse(json: &[u8]) -> Result<Self, CallError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| CallError::Syntax(error.to_string()))?;
        let Value::Object(members) = value else {
            return Err(CallError::Syntax("expected an object".into()));
        };
        let unknown = members.keys();
        let unknown = unknown.filter(|name| !MEMBERS.contains(&name.as_str()));
        let mut reader = Reader {
            unknown: unknown.cloned().collect(),
            members,
            errors: Vec::new(),
        };
        let method = reader.method();
        let (scheme, authority, target) = reader.url();
        let question = Self {
            method,
            scheme,
            authority,
            target,
            fields: reader.fields(),
            client: reader.client(),
            given: reader.given(),
        };
        reader.finish()?;
        Ok(question)
    }

    /// What the side would say; `None`: the question does not tell.
    pub(super) const fn given(&self) -> Option<&Given> {
        self.given.as_ref()
    }

    /// The head that a client would send.
    pub(super) fn head(&self) -> Bytes {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.authority
        );
        for (name, value) in &self.fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        head.into()
    }

    /// Who would send it. Over TLS, by the name that it asks for; addresses are no such names (RFC 6066 §3).
    pub(super) fn client(&self) -> Client {
        let name = self.authority.split(':').next().unwrap_or_default();
        let is_address = self.authority.starts_with('[') || name.parse::<IpAddr>().is_ok();
        let tls = (self.scheme == "https").then(|| TlsFacts {
            server_name: (!is_address).then(|| name.to_ascii_lowercase().into()),
            version: "TLSv1.3",
        });
        Client {
            address: self.client.map(|address| SocketAddr::new(address, 0)),
            local: None,
            tls,
        }
    }
}

struct Reader {
    members: Map<String, Value>,
    unknown: Vec<String>,
    errors: Vec<FieldError>,
}

impl Reader {
    fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            message: message.into(),
        });
    }

    /// A member that is a text; `None`: it is not there, or wrong.
    fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.wrong(format!("/{name}"), expected);
                None
            }
        }
    }

    fn method(&mut self) -> String {
        const EXPECTED: &str = "expected a method, such as \"GET\"";
        let method = self
            .text("method", EXPECTED)
            .unwrap_or_else(|| "GET".to_owned());
        if Method::from_bytes(method.as_bytes()).is_err() {
            self.wrong("/method", EXPECTED);
        }
        method
    }

    fn url(&mut self) -> (&'static str, String, String) {
        const EXPECTED: &str = "expected an absolute http or https URL of printable ASCII, such as \"https://example.test/page\"";
        let text = self.text("url", EXPECTED);
        if text.is_none() && !self.errors.iter().any(|error| error.pointer == "/url") {
            self.wrong("/url", "missing: what is asked about?");
        }
        let text = text.unwrap_or_default();
        let parts = split(&text);
        if parts.is_none() && !text.is_empty() {
            self.wrong("/url", EXPECTED);
        }
        parts.unwrap_or_default()
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let members = self.members.remove("headers");
        let fields = self.lines("/headers", members);
        if fields.len() > FIELDS_MAX {
            self.wrong(
                "/headers",
                format!("{} lines; at most {FIELDS_MAX}", fields.len()),
            );
        }
        fields
    }

    /// Field lines, as an object has them.
    fn lines(&mut self, pointer: &str, members: Option<Value>) -> Vec<(String, String)> {
        const EXPECTED: &str = "expected an object: names, and texts or lists of texts";
        let members = match members {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Object(members)) => members,
            Some(_) => {
                self.wrong(pointer, EXPECTED);
                return Vec::new();
            }
        };
        let mut fields = Vec::new();
        for (name, value) in members {
            let lines = match value {
                Value::Array(lines) => lines,
                line => vec![line],
            };
            for line in lines {
                match line {
                    Value::String(line) if is_line(&name) && is_line(&line) => {
                        fields.push((name.clone(), line));
                    }
                    Value::String(_) => self.wrong(
                        pointer,
                        format!("{name:?}: a line break, or another control character"),
                    ),
                    _ => self.wrong(pointer, EXPECTED),
                }
            }
        }
        fields
    }

    fn given(&mut self) -> Option<Given> {
        let mut members = match self.members.remove("answer") {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) if text == "none" => return Some(Given::None),
            Some(Value::Object(members)) => members,
            Some(_) => {
                self.wrong("/answer", "expected {status, headers}, or \"none\"");
                return None;
            }
        };
        let status = self.status(members.remove("status"));
        let fields = self.answered(members.remove("headers"));
        for name in members.keys() {
            self.wrong(format!("/answer/{}", escape(name)), "unknown member");
        }
        Some(Given::Answer { status, fields })
    }

    fn status(&mut self, status: Option<Value>) -> StatusCode {
        let Some(status) = status.filter(|status| !status.is_null()) else {
            return StatusCode::OK;
        };
        let number = status
            .as_u64()
            .and_then(|number| u16::try_from(number).ok());
        let status = number.and_then(|number| StatusCode::from_u16(number).ok());
        let status = status.filter(|status| !status.is_informational());
        status.unwrap_or_else(|| {
            self.wrong("/answer/status", "expected a final status, 200 to 999");
            StatusCode::OK
        })
    }

    fn answered(&mut self, members: Option<Value>) -> HeaderMap {
        const POINTER: &str = "/answer/headers";
        let lines = self.lines(POINTER, members);
        if lines.len() > FIELDS_MAX {
            self.wrong(
                POINTER,
                format!("{} lines; at most {FIELDS_MAX}", lines.len()),
            );
            return HeaderMap::new();
        }
        let mut fields = HeaderMap::with_capacity(lines.len());
        for (name, value) in &lines {
            let line = HeaderName::from_bytes(name.as_bytes()).ok();
            match line.zip(HeaderValue::from_str(value).ok()) {
                Some((name, value)) => drop(fields.append(name, value)),
                None => self.wrong(POINTER, format!("{name:?} is no field of HTTP")),
            }
        }
        fields
    }

    fn client(&mut self) -> Option<IpAddr> {
        const EXPECTED: &str = "expected an IP address";
        let address = self.text("client", EXPECTED)?.parse().ok();
        if address.is_none() {
            self.wrong("/client", EXPECTED);
        }
        address
    }

    fn finish(mut self) -> Result<(), CallError> {
        for name in std::mem::take(&mut self.unknown) {
            self.wrong(format!("/{}", escape(&name)), "unknown member");
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

/// Scheme, authority, and path with query.
fn split(url: &str) -> Option<(&'static str, String, String)> {
    let url = url.split('#').next().unwrap_or(url);
    let (scheme, rest) = url.split_once("://")?;
    let scheme = ["http", "https"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))?;
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && !authority.is_empty())
        .then(|| (scheme, authority.to_owned(), format!("{slash}{target}")))
}

/// Whether a text stays within its line of a head.
fn is_line(text: &str) -> bool {
    !text.chars().any(|char| char.is_control() && char != '\t')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(question: &Value) -> String {
        let question = Question::parse(question.to_string().as_bytes()).expect("a question");
        String::from_utf8(question.head().to_vec()).expect("text")
    }

    #[test]
    fn a_question_becomes_the_head_that_a_client_would_send() {
        let plain = json!({ "url": "http://a.test" });
        assert_eq!(head(&plain), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let full = json!({
            "method": "HEAD", "url": "HTTPS://A.test:8443/x?y#z", "client": "192.0.2.1",
            "headers": { "Accept": ["a", "b"], "Cookie": "c=d" },
        });
        let expected = "HEAD /x?y HTTP/1.1\r\nHost: A.test:8443\r\nAccept: a\r\nAccept: b\r\nCookie: c=d\r\n\r\n";
        assert_eq!(head(&full), expected);
        let client = Question::parse(full.to_string().as_bytes())
            .expect("a question")
            .client();
        assert_eq!(
            client.address,
            Some("192.0.2.1:0".parse().expect("an address"))
        );
        let name = client.tls.and_then(|tls| tls.server_name);
        assert_eq!(name.as_deref(), Some("a.test"));
    }

    #[test]
    fn a_question_may_bring_the_answer_of_the_side() {
        let given = |answer: Value| {
            let question = json!({ "url": "http://a.test/", "answer": answer });
            let question = Question::parse(question.to_string().as_bytes()).expect("a question");
            question.given().cloned()
        };
        assert_eq!(given(Value::Null), None);
        assert_eq!(given(json!("none")), Some(Given::None));
        let empty = Given::Answer {
            status: StatusCode::OK,
            fields: HeaderMap::new(),
        };
        assert_eq!(given(json!({})), Some(empty));
        let answer = json!({ "status": 404, "headers": { "Vary": ["a", "b"], "x": "é" } });
        let Some(Given::Answer { status, fields }) = given(answer) else {
            panic!("an answer");
        };
        assert_eq!(
            (status, fields.get_all("vary").iter().count()),
            (StatusCode::NOT_FOUND, 2)
        );
        assert_eq!(fields["x"].as_bytes(), "é".as_bytes());
    }

    #[test]
    fn all_problems_of_a_question_are_told_at_once() {
        let check = |question: Value, expected: &[&str]| {
            let error = Question::parse(question.to_string().as_bytes()).expect_err("problems");
            let CallError::Fields(errors) = error else {
                panic!("{error:?}");
            };
            let pointers: Vec<_> = errors.iter().map(|error| &*error.pointer).collect();
            assert_eq!(pointers, expected, "{question}");
        };
        check(json!({}), &["/url"]);
        check(json!({ "url": "/x" }), &["/url"]);
        check(json!({ "url": "ftp://a.test/" }), &["/url"]);
        check(json!({ "url": "http:///x" }), &["/url"]);
        check(json!({ "url": "http://a.test/\r\nX: y" }), &["/url"]);
        let of_answer = json!({ "url": "http://a.test/", "answer": { "status": 103, "headers": { "A b": "c" }, "x": 1 } });
        check(
            of_answer,
            &["/answer/status", "/answer/headers", "/answer/x"],
        );
        check(
            json!({ "url": "http://a.test/", "answer": "some" }),
            &["/answer"],
        );
        let all = json!({ "method": "G T", "url": 1, "headers": { "A": "b\r\nC: d" }, "client": "me", "x/y": 1 });
        check(all, &["/method", "/url", "/headers", "/client", "/x~1y"]);
        assert!(matches!(Question::parse(b"[]"), Err(CallError::Syntax(_))));
        assert!(matches!(Question::parse(b"{"), Err(CallError::Syntax(_))));
    }
}
