//! From a connection and its headers to a user.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::status::Status;
use gantry_common::clock::SharedClock;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::User;
use super::keys::Keys;
use super::service_account::{self, Claims, Expected, Live};
use super::token_file::TokenFile;
use super::websocket;

/// Verified tokens kept at most; past it the cache starts anew.
const CACHED_TOKENS: usize = 4096;

/// The client certificate of a connection, read once.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) user: User,
    /// End of the certificate's validity, in seconds since 1970.
    pub(crate) expires: i64,
}

/// Knows every way to authenticate.
pub(crate) struct Authenticator {
    tokens: TokenFile,
    keys: Arc<Keys>,
    issuer: String,
    audiences: Vec<String>,
    clock: SharedClock,
    live: Arc<dyn Live + Send + Sync>,
    /// Claims whose signature was checked, by the hash of the token: checking one costs a hundred times this look-up.
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl Authenticator {
    pub(crate) fn new(
        tokens: TokenFile,
        keys: Arc<Keys>,
        (issuer, audiences): (String, Vec<String>),
        clock: SharedClock,
        live: Arc<dyn Live + Send + Sync>,
    ) -> Self {
        Self { tokens, keys, issuer, audiences, clock, live, verified: Mutex::default() }
    }

    /// The audiences of this API.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Who calls; anonymous where nothing was shown.
    ///
    /// # Errors
    /// 401 when what was shown is not good: a wrong token must not silently become nobody.
    pub(crate) fn authenticate(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<User, Status> {
        if let Some(token) = shown(headers)? {
            if let Some((user, _)) = self.token(&token, &self.audiences) {
                return Ok(user);
            }
            return Err(Status::unauthorized());
        }
        match peer {
            Some(peer) if peer.expires < self.clock.now().as_second() => Err(Status::unauthorized()),
            Some(peer) => Ok(peer.user.clone()),
            None => Ok(User::anonymous()),
        }
    }

    /// When what was shown expires, in seconds since 1970, if it does.
    pub(crate) fn expires(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Option<i64> {
        match shown(headers).ok()? {
            Some(token) if self.tokens.user(&token).is_some() => None,
            Some(token) => self.claims(&token).map(|claims| claims.exp),
            None => peer.map(|peer| peer.expires),
        }
    }

    /// The user behind a token and the audiences that both sides named.
    pub(crate) fn token(&self, token: &str, audiences: &[String]) -> Option<(User, Vec<String>)> {
        if let Some(user) = self.tokens.user(token) {
            let common: Vec<String> = audiences.iter().filter(|a| self.audiences.contains(a)).cloned().collect();
            return (!common.is_empty()).then(|| (user.clone(), common));
        }
        let claims = self.claims(token)?;
        let expected = Expected { issuer: &self.issuer, audiences, now: self.clock.now() };
        service_account::user(&claims, &expected, self.live.as_ref())
    }

    fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.verified.lock().get(&hash) {
            return Some(claims.clone());
        }
        let claims = Arc::new(self.keys.verify::<Claims>(token)?);
        let mut verified = self.verified.lock();
        if verified.len() >= CACHED_TOKENS {
            verified.clear();
        }
        verified.insert(hash, claims.clone());
        Some(claims)
    }
}

/// The token of a request: a bearer token, or what a browser puts among the subprotocols of a WebSocket.
fn shown(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Status> {
    match bearer(headers) {
        Some(token) => Ok(Some(Cow::Borrowed(token))),
        None => Ok(websocket::token(headers)?.map(Cow::Owned)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
