//! Who is it? Bearer tokens to principals.
//!
//! Asked by `control::api` for calls over TCP, and by `control::purge` for purges on a site's own names. The first start writes an admin token of
//! 256 random bits to `<data_dir>/admin.token`, readable by its owner only; later starts read it. In memory only its SHA-256 is kept, so that
//! a token is found neither in a dump nor by timing: digests are compared, and in constant time. Further tokens with scopes are made and withdrawn
//! through the API ([`kept`]). What a principal may: [`principal`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::control::durable::{self, Durability, Readers};

mod kept;
mod principal;

pub use kept::Token;
pub use principal::{Principal, Right, Scope, ScopeError};

/// The file of the admin token in the data directory.
pub const TOKEN_FILE: &str = "admin.token";

/// Bytes that a token may have. Ours have 64; a human may have put another.
const TOKEN_MAX: u64 = 1024;

/// Fewer bytes than this are no secret.
const TOKEN_MIN: usize = 16;

/// Fields of requests that are a token.
const KEYS: [HeaderName; 2] = [
    HeaderName::from_static("fastly-key"),
    HeaderName::from_static("x-auth-key"),
];

/// The tokens of this node.
pub struct Tokens {
    admin: [u8; 32],
    named: RwLock<Named>,
    /// Held while they change and are written, which those who ask who somebody is do not wait for.
    changing: Mutex<()>,
    /// Told of each token that is withdrawn.
    withdrawn: watch::Sender<()>,
    /// `None`: they are not kept, so none can be made.
    file: Option<kept::File>,
}

/// The tokens that were made, by the digest of their secrets. A digest tells nothing about others near it, so finding it needs no constant time.
#[derive(Default)]
struct Named(HashMap<[u8; 32], (Token, Principal)>);

/// Why a token was not made or withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is one of this name.
    #[error("there is a token of this name")]
    Exists,
    /// There is none of this name.
    #[error("there is no token of this name")]
    Missing,
    /// There are too many, or it would have too many scopes.
    #[error("at most {0} {1}")]
    TooMany(usize, &'static str),
    /// The file could not be written; nothing is changed.
    #[error("the tokens cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// The token cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the admin token {path}: {source}")]
pub struct TokenError {
    /// The file.
    path: PathBuf,
    /// What the system said, or what is wrong with the token.
    source: io::Error,
}

impl Tokens {
    /// Reads the admin token, or makes it at the first start.
    ///
    /// # Errors
    /// When it can be neither read nor written, is readable by others, or is too short to be a secret.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(TOKEN_FILE);
        let token = read(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => create(&path),
            _ => Err(error),
        });
        let token = token.map_err(|source| TokenError { path, source })?;
        let (file, tokens) = kept::File::read(data_dir);
        let mut opened = Self::of(&token);
        opened
            .named
            .get_mut()
            .0
            .extend(tokens.into_iter().map(entry));
        opened.file = Some(file);
        Ok(opened)
    }

    /// The tokens of a node with this admin token.
    pub fn of(admin: &str) -> Self {
        Self {
            admin: digest(admin),
            named: RwLock::default(),
            changing: Mutex::default(),
            withdrawn: watch::Sender::default(),
            file: None,
        }
    }

    /// Makes a token and gives its secret, which is told this once. Blocks until it is kept.
    ///
    /// # Errors
    /// When it was not made.
    pub fn make(&self, name: &str, scopes: Vec<Scope>, now_ms: u64) -> Result<String, ChangeError> {
        if scopes.len() > kept::SCOPES_MAX {
            return Err(ChangeError::TooMany(kept::SCOPES_MAX, "scopes"));
        }
        let _changing = self.changing.lock();
        let named = self.named.read();
        if named.find(name).is_some() {
            return Err(ChangeError::Exists);
        }
        if named.0.len() >= kept::TOKENS_MAX {
            return Err(ChangeError::TooMany(kept::TOKENS_MAX, "tokens"));
        }
        let secret = random()?;
        let token = Token {
            name: name.to_owned(),
            scopes,
            made_unix_ms: now_ms,
            digest: digest(&secret),
        };
        self.write(named.tokens().chain([&token]))?;
        drop(named);
        self.named.write().0.extend([entry(token)]);
        Ok(secret)
    }

    /// Withdraws a token. Blocks until that is kept.
    ///
    /// # Errors
    /// When there is none, or it could not be.
    pub fn withdraw(&self, name: &str) -> Result<(), ChangeError> {
        let _changing = self.changing.lock();
        let named = self.named.read();
        let found = named.find(name).ok_or(ChangeError::Missing)?;
        self.write(named.tokens().filter(|token| token.digest != found))?;
        drop(named);
        self.named.write().0.remove(&found);
        self.withdrawn.send_replace(());
        Ok(())
    }

    /// Tells of each token that is withdrawn, for what goes on after its call was answered; [`Self::stand`] says whose it was.
    pub fn withdrawals(&self) -> watch::Receiver<()> {
        self.withdrawn.subscribe()
    }

    /// Whether what opened to this one would still open: not where its token is withdrawn, even if another has got its name since.
    pub fn stand(&self, principal: &Principal) -> bool {
        let named = self.named.read();
        let mut principals = named.0.values().map(|(_, principal)| principal);
        !principal.has_token() || principals.any(|other| other.is(principal))
    }

    /// All tokens but the admin's, by name.
    pub fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.named.read().tokens().cloned().collect();
        tokens.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    fn write<'t>(&self, tokens: impl Iterator<Item = &'t Token>) -> Result<(), ChangeError> {
        let unkept = || io::Error::other("this node keeps none");
        Ok(self.file.as_ref().ok_or_else(unkept)?.write(tokens)?)
    }

    /// Whether this is the admin token.
    pub fn is_admin(&self, token: &str) -> bool {
        is_same(&digest(token), &self.admin)
    }

    /// Whether a request says who it comes from, truly or not.
    pub fn is_signed(fields: &HeaderMap) -> bool {
        fields.contains_key(AUTHORIZATION) || KEYS.iter().any(|name| fields.contains_key(name))
    }

    /// Who a request comes from, by the token that it carries: as a bearer token (RFC 6750), or as the password of Basic credentials (RFC
    /// 7617), which is what a plugin sends whose URL was configured as `http://any:token@host/`; or in `Fastly-Key` or `X-Auth-Key`, as
    /// plugins for other services do. `None`: no token, none of ours, or two.
    pub fn principal(&self, fields: &HeaderMap) -> Option<Principal> {
        let credentials = fields.get_all(AUTHORIZATION).iter();
        let credentials = credentials.map(|value| value.to_str().ok().and_then(token_of));
        let keys = KEYS.into_iter().flat_map(|name| fields.get_all(name));
        let keys = keys.map(|value| value.to_str().ok().map(str::to_owned));
        let mut tokens = credentials.chain(keys);
        let (Some(Some(token)), None) = (tokens.next(), tokens.next()) else {
            return None;
        };
        if self.is_admin(&token) {
            return Some(Principal::admin("admin"));
        }
        let digest = digest(&token);
        let named = self.named.read();
        let (token, principal) = named.0.get(&digest)?;
        is_same(&token.digest, &digest).then(|| principal.clone())
    }
}

impl Named {
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.0.values().map(|(token, _)| token)
    }

    fn find(&self, name: &str) -> Option<[u8; 32]> {
        let mut tokens = self.tokens();
        tokens.find(|token| token.name == name).map(|t| t.digest)
    }
}

fn entry(token: Token) -> ([u8; 32], (Token, Principal)) {
    let name = Principal::name_of_token(&token.name);
    let principal = Principal::new(name, token.scopes.clone());
    (token.digest, (token, principal))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares in a time that does not tell where they differ.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let bytes = one.iter().zip(other);
    let differing = bytes.fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Reads the admin token of a data directory, for a client on the same machine.
///
/// # Errors
/// When it cannot be read.
pub fn read_admin_token(data_dir: &Path) -> io::Result<String> {
    read(&data_dir.join(TOKEN_FILE))
}

fn token_of(credentials: &str) -> Option<String> {
    let (scheme, rest) = credentials.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest).ok()?;
        let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        return Some(password.to_owned());
    }
    None
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read it; chmod 600"));
    }
    let mut text = String::new();
    file.take(TOKEN_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    if token.len() < TOKEN_MIN {
        return Err(io::Error::other(
            "too short for a secret; remove it to have a new one made",
        ));
    }
    Ok(token.to_owned())
}

fn create(path: &Path) -> io::Result<String> {
    let token = random()?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Whole or not at all: a start that is cut here must not leave half a secret, which the next one would refuse.
    let text = format!("{token}\n");
    durable::replace(path, text.as_bytes(), Readers::Owner, Durability::Now)?;
    Ok(token)
}

/// 256 bits from the system, in hexadecimal.
fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(kept::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_first_start_makes_a_token_for_its_owner_and_later_ones_keep_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let tokens = Tokens::open(&data).expect("made");
        let token = read_admin_token(&data).expect("read");
        assert_eq!(token.len(), 64);
        assert!(tokens.is_admin(&token));
        let mode = std::fs::metadata(data.join(TOKEN_FILE)).expect("there");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        assert!(Tokens::open(&data).expect("read").is_admin(&token));
        assert!(!format!("{tokens:?}").contains(&token));
    }

    #[test]
    fn a_token_that_is_no_secret_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(TOKEN_FILE);
        let check = |text: &str, mode: u32, expected: &str| {
            std::fs::write(&path, text).expect("write");
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("chmod");
            let error = Tokens::open(directory.path()).expect_err(text);
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("", 0o600, "too short");
        check("short\n", 0o600, "too short");
        check(TOKEN, 0o644, "others may read it");
    }

    #[test]
    fn a_token_that_was_made_opens_its_scopes_until_it_is_withdrawn() {
        let place = tempfile::tempdir().expect("a directory");
        let tokens = Tokens::open(place.path()).expect("open");
        let scopes = || vec![Scope::parse("site:a:purge").expect("a scope")];
        let secret = tokens.make("shop", scopes(), 5).expect("made");
        let again = tokens.make("shop", scopes(), 5);
        assert!(matches!(again, Err(ChangeError::Exists)), "{again:?}");
        let check = |tokens: &Tokens, expected: bool| {
            let mut fields = HeaderMap::new();
            let value = HeaderValue::try_from(format!("Bearer {secret}"));
            fields.insert(AUTHORIZATION, value.expect("a value"));
            let principal = tokens.principal(&fields);
            assert_eq!(principal.is_some(), expected);
            let may = |right| principal.as_ref().is_some_and(|who| who.may(right));
            assert_eq!(may(Right::Purge("a")), expected);
            assert!(!may(Right::Purge("b")) && !may(Right::Admin));
        };
        check(&tokens, true);
        let kept = std::fs::read_to_string(place.path().join("tokens.json")).expect("kept");
        assert!(!kept.contains(&secret));
        let reopened = Tokens::open(place.path()).expect("open");
        check(&reopened, true);
        let mut fields = HeaderMap::new();
        let value = HeaderValue::try_from(format!("Bearer {secret}"));
        fields.insert(AUTHORIZATION, value.expect("a value"));
        let shop = reopened.principal(&fields).expect("known");
        let withdrawals = reopened.withdrawals();
        reopened.make("other", scopes(), 5).expect("made");
        assert!(reopened.stand(&shop) && reopened.stand(&Principal::admin("admin")));
        assert!(!withdrawals.has_changed().expect("open"));
        reopened.withdraw("shop").expect("withdrawn");
        assert!(withdrawals.has_changed().expect("open"));
        reopened.make("shop", scopes(), 5).expect("made");
        assert!(!reopened.stand(&shop), "it is another's name now");
        reopened.withdraw("shop").expect("withdrawn");
        check(&reopened, false);
        let again = reopened.withdraw("shop");
        assert!(matches!(again, Err(ChangeError::Missing)), "{again:?}");
        check(&Tokens::open(place.path()).expect("open"), false);
    }

    #[test]
    fn bearer_and_basic_credentials_carry_a_token() {
        let tokens = Tokens::of(TOKEN);
        let check = |value: &str, expected: bool| {
            let mut fields = HeaderMap::new();
            let value = HeaderValue::from_str(value).expect("a value");
            fields.insert(AUTHORIZATION, value.clone());
            assert_eq!(tokens.principal(&fields).is_some(), expected, "{value:?}");
            fields.append(AUTHORIZATION, value);
            assert!(tokens.principal(&fields).is_none(), "twice");
        };
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        check(&format!("Bearer {TOKEN}"), true);
        check(&format!("bearer  {TOKEN}"), true);
        check(&basic(format!("any:{TOKEN}")), true);
        check(&basic(TOKEN.into()), false);
        check(&basic("any:other".into()), false);
        check("Bearer other", false);
        check(&format!("Digest {TOKEN}"), false);
        check(TOKEN, false);
        check("Basic %%%", false);
        assert!(tokens.principal(&HeaderMap::new()).is_none());
        for name in KEYS {
            let mut fields = HeaderMap::new();
            fields.insert(name, HeaderValue::from_static(TOKEN));
            assert!(tokens.principal(&fields).is_some());
            fields.insert(AUTHORIZATION, HeaderValue::from_static("Basic %%%"));
            assert!(tokens.principal(&fields).is_none(), "two");
        }
    }
}
