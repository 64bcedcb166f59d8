//! Tokens with scopes, made through the admin API: kept hashed in one file of the data directory.
//!
//! Read once at start, replaced whole at each change; only root and the edge's user may read it. A file that cannot be read costs its own tokens, is
//! named in the log, and is not overwritten. Does not make secrets and does not know HTTP.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::principal::Scope;
use crate::control::durable::{self, Durability, Readers};

/// The file of the tokens in the data directory.
const FILE: &str = "tokens.json";

/// Tokens that are kept. Several for each of ten thousand sites.
pub(super) const TOKENS_MAX: usize = 50_000;

/// Scopes of one token.
pub(super) const SCOPES_MAX: usize = 1_000;

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name; no other token has it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made_unix_ms: u64,
    /// The SHA-256 of the secret.
    pub(super) digest: [u8; 32],
}

/// The file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// Whether what is there could be read, so that it may be replaced.
    is_good: bool,
}

impl File {
    /// The tokens of a data directory.
    pub(super) fn read(data_dir: &Path) -> (Self, Vec<Token>) {
        let path = data_dir.join(FILE);
        let read = match std::fs::read(&path) {
            Ok(json) => tokens_of(&json).ok_or_else(|| io::Error::other("it is damaged")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let is_good = read.is_ok();
        let tokens = read.unwrap_or_else(|error| {
            let shown = path.display();
            log::error!("{shown}: {error}; its tokens open nothing, and none can be made");
            Vec::new()
        });
        (Self { path, is_good }, tokens)
    }

    /// Keeps these tokens and no others; durable when it returns.
    pub(super) fn write<'t>(&self, tokens: impl Iterator<Item = &'t Token>) -> io::Result<()> {
        if !self.is_good {
            let message = format!("{} is damaged; mend or remove it", self.path.display());
            return Err(io::Error::other(message));
        }
        let tokens: Vec<Value> = tokens.map(json_of).collect();
        let text = json!({ "tokens": tokens }).to_string();
        durable::replace(&self.path, text.as_bytes(), Readers::Owner, Durability::Now)
    }
}

fn json_of(token: &Token) -> Value {
    let scopes = token.scopes.iter().map(ToString::to_string);
    json!({
        "name": token.name,
        "sha256": hex(&token.digest),
        "scopes": scopes.collect::<Vec<_>>(),
        "made_unix_ms": token.made_unix_ms,
    })
}

fn tokens_of(json: &[u8]) -> Option<Vec<Token>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    value["tokens"].as_array()?.iter().map(token_of).collect()
}

fn token_of(value: &Value) -> Option<Token> {
    let scope = |scope: &Value| Scope::parse(scope.as_str()?).ok();
    let scopes = value["scopes"].as_array()?.iter().map(scope);
    Some(Token {
        name: value["name"].as_str()?.to_owned(),
        scopes: scopes.collect::<Option<_>>()?,
        made_unix_ms: value["made_unix_ms"].as_u64()?,
        digest: unhex(value["sha256"].as_str()?)?,
    })
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (index, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_kept() {
        let place = tempfile::tempdir().expect("a directory");
        let (file, none) = File::read(place.path());
        assert!(none.is_empty());
        let token = Token {
            name: "panel".into(),
            scopes: vec![Scope::Read, Scope::parse("site:a:purge").expect("one")],
            made_unix_ms: 7,
            digest: [0xa5; 32],
        };
        file.write([&token].into_iter()).expect("written");
        let (_, read) = File::read(place.path());
        assert_eq!(read, std::slice::from_ref(&token));
        let path = place.path().join(FILE);
        std::fs::write(&path, "{\"tokens\": [{\"name\": \"x\"}]}").expect("write");
        let (file, none) = File::read(place.path());
        assert!(none.is_empty());
        assert!(file.write([&token].into_iter()).is_err());
        let kept = std::fs::read_to_string(&path).expect("there");
        assert!(kept.contains("\"x\""));
    }
}
