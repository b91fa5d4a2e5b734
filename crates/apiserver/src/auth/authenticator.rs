//! From a connection and its headers to a user.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::Value;
use gantry_api::legacy_token;
use gantry_api::status::Status;
use gantry_common::clock::SharedClock;
use gantry_common::token_keys::{self, Keys};
use http::{HeaderMap, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::User;
use super::anchors::Anchors;
use super::bootstrap_token::{self, Token};
use super::legacy::{self, Look, Uses};
use super::request_header::RequestHeader;
use super::service_account::{self, Claims, Expected, Live};
use super::token_file::TokenFile;
use super::websocket;
use crate::metrics::access::Authentication;
use crate::request::Notes;

/// Verified tokens kept at most; past it the cache starts anew.
const CACHED_TOKENS: usize = 4096;

/// What upstream's library for tokens says of a signature that no key of ours made.
const BAD_SIGNATURE: &str = "go-jose/go-jose: error in cryptographic primitive";

/// The client certificate of a connection, read once.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Whom it names, if the users' CA has signed it.
    pub(crate) user: Option<User>,
    /// Its common name, if the CA of the proxies in front has signed it.
    pub(crate) proxy: Option<String>,
    /// Whether no authority stands behind it, or its time was over when it was shown: it names nobody, and must not be taken for nothing.
    pub(crate) is_refused: bool,
    /// End of the certificate's validity, in seconds since 1970.
    pub(crate) expires: i64,
}

/// What callers are recognised by.
pub(crate) struct Known {
    pub(crate) tokens: TokenFile,
    pub(crate) keys: Arc<Keys>,
    pub(crate) issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    /// The headers of proxies in front, where such are believed.
    pub(crate) front: Option<RequestHeader>,
    /// Whether bootstrap tokens are taken.
    pub(crate) bootstrap: bool,
    /// Whether those who show nothing are let in as nobody.
    pub(crate) anonymous: bool,
}

/// What a token whose signature is good says.
enum Claimed {
    /// Of a token that was asked for.
    Bound(Claims),
    /// Of one that is kept in a Secret.
    Legacy(legacy_token::Claims),
}

impl Claimed {
    /// `None` for what is no service-account token.
    fn read(claims: Value) -> Option<Self> {
        let is_bound = claims.get("kubernetes.io").is_some();
        if !is_bound && claims.get("iss").and_then(Value::as_str) == Some(legacy_token::ISSUER) {
            return serde_json::from_value(claims).ok().map(Self::Legacy);
        }
        serde_json::from_value(claims).ok().map(Self::Bound)
    }
}

/// Knows every way to authenticate.
pub(crate) struct Authenticator {
    known: Known,
    clock: SharedClock,
    anchors: Anchors,
    /// Claims whose signature was checked, by the hash of the token: checking one costs a hundred times this look-up.
    verified: Mutex<HashMap<[u8; 32], Arc<Claimed>>>,
    legacy_uses: Uses,
    /// What came of asking who somebody is.
    pub(crate) figures: Authentication,
}

impl Authenticator {
    pub(crate) fn new(known: Known, clock: SharedClock, live: Arc<dyn Live + Send + Sync>) -> Self {
        let anchors = Anchors::new(live);
        let (legacy_uses, figures) = (Uses::default(), Authentication::default());
        Self { known, clock, anchors, verified: Mutex::default(), legacy_uses, figures }
    }

    /// The uses of tokens that are kept in Secrets.
    pub(crate) fn legacy_uses(&self) -> &Uses {
        &self.legacy_uses
    }

    /// The audiences of this API.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.known.audiences
    }

    /// Who calls; anonymous where nothing was shown. What is to be said of the credential goes to `notes`.
    ///
    /// # Errors
    /// 401 when what was shown is not good: a wrong token must not silently become nobody.
    pub(crate) async fn authenticate(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        notes: &Notes,
    ) -> Result<User, Status> {
        if let Some(user) = self.by_certificate(peer, headers)? {
            if let Some(peer) = peer.filter(|peer| peer.proxy.is_none()) {
                self.figures.certificate(peer.expires - self.clock.now().as_second());
            }
            return Ok(user);
        }
        if let Some(token) = shown(headers)? {
            return match self.token(&token, &self.known.audiences, notes).await {
                Ok((user, _)) => Ok(user),
                Err(_) => Err(Status::unauthorized()),
            };
        }
        if is_spaced(headers) {
            notes.warn(SPACED);
        }
        // A proxy that names nobody is nobody itself: its certificate is not one of the users' CA.
        let shown = peer.is_some_and(|peer| self.is_over(peer) || peer.proxy.is_some() || peer.is_refused);
        if shown || !self.known.anonymous {
            return Err(Status::unauthorized());
        }
        Ok(User::anonymous())
    }

    fn is_over(&self, peer: &Peer) -> bool {
        peer.expires < self.clock.now().as_second()
    }

    /// The user for whom a proxy in front speaks, else the user whom the certificate names. As upstream, whoever is known by
    /// one of them is known, whatever token is shown beside it.
    fn by_certificate(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<User>, Status> {
        let Some(peer) = peer.filter(|peer| !self.is_over(peer)) else { return Ok(None) };
        if let (Some(front), Some(proxy)) = (&self.known.front, &peer.proxy)
            && let Some(user) = front.user(proxy, headers)?
        {
            return Ok(Some(user));
        }
        Ok(peer.user.clone())
    }

    /// Removes the words of a proxy in front, once they are read.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if let Some(front) = &self.known.front {
            front.strip(headers);
        }
    }

    /// When what was shown expires, in seconds since 1970, if it does.
    pub(crate) fn expires(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Option<i64> {
        if let (Some(peer), Ok(Some(_))) = (peer, self.by_certificate(peer, headers)) {
            return Some(peer.expires);
        }
        match shown(headers).ok()? {
            Some(token) if self.known.tokens.user(&token).is_some() => None,
            Some(token) => match self.claims(&token)?.as_ref() {
                Claimed::Bound(claims) => Some(claims.exp),
                Claimed::Legacy(_) => None,
            },
            None => peer.map(|peer| peer.expires),
        }
    }

    /// The user behind a token and the audiences that both sides named.
    ///
    /// # Errors
    /// Why the token is not good, in upstream's words.
    pub(crate) async fn token(
        &self,
        token: &str,
        audiences: &[String],
        notes: &Notes,
    ) -> Result<(User, Vec<String>), String> {
        // These say nothing of audiences, so they are for this API.
        if let Some(user) = self.known.tokens.user(token).cloned().or_else(|| self.bootstrapper(token)) {
            let common: Vec<String> = audiences.iter().filter(|a| self.known.audiences.contains(a)).cloned().collect();
            return if common.is_empty() { Err(super::INVALID_TOKEN.to_owned()) } else { Ok((user, common)) };
        }
        let claims = self.claims(token).ok_or_else(|| self.unverified(token))?;
        let expected = Expected { issuers: &self.known.issuers, audiences, now: self.clock.now() };
        match claims.as_ref() {
            Claimed::Bound(claims) => {
                let known = service_account::user(claims, &expected, &self.anchors).await?;
                if let Some(text) = service_account::staleness(claims, expected.now) {
                    notes.annotate("authentication.k8s.io/stale-token", &text);
                }
                Ok(known)
            }
            Claimed::Legacy(claims) => {
                let (implied, anchors, uses) = (&self.known.audiences, &self.anchors, &self.legacy_uses);
                legacy::user(claims, &expected, &Look { token, implied, anchors, uses, notes }).await
            }
        }
    }

    /// Whom a bootstrap token names. The cache alone is asked, as upstream: whoever joins tries again.
    fn bootstrapper(&self, token: &str) -> Option<User> {
        let token = Token::parse(token).filter(|_| self.known.bootstrap)?;
        let secret = self.anchors.cached("secrets", bootstrap_token::NAMESPACE, &token.secret_name())?;
        token.user(&secret, self.clock.now())
    }

    /// Why no key verifies a token: it is none of ours, or it says that it is.
    fn unverified(&self, token: &str) -> String {
        let is_ours = |issuer: &String| issuer == legacy_token::ISSUER || self.known.issuers.contains(issuer);
        let ours = token_keys::stated_issuer(token).is_some_and(|issuer| is_ours(&issuer));
        if ours { BAD_SIGNATURE.to_owned() } else { super::INVALID_TOKEN.to_owned() }
    }

    fn claims(&self, token: &str) -> Option<Arc<Claimed>> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.verified.lock().get(&hash) {
            return Some(claims.clone());
        }
        let claims = Arc::new(Claimed::read(self.known.keys.verify::<Value>(token)?)?);
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
    match bearer(headers)? {
        Some(token) => Ok(Some(Cow::Borrowed(token))),
        None => Ok(websocket::token(headers)?.map(Cow::Owned)),
    }
}

/// What is said of two spaces before a token, in upstream's words.
const SPACED: &str = "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// Whether a bearer token is not read because of a space too many before it.
fn is_spaced(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
    let words: Vec<&[u8]> = value.as_bytes().trim_ascii().splitn(3, |byte| *byte == b' ').collect();
    matches!(words.as_slice(), [scheme, b"", _] if scheme.eq_ignore_ascii_case(b"bearer"))
}

/// The bearer token.
///
/// # Errors
/// 401 for one that is no text: it was shown, and nobody has it.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Status> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let mut words = value.as_bytes().trim_ascii().split(|byte| *byte == b' ');
    let is_bearer = words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"));
    match words.next().filter(|token| is_bearer && !token.is_empty()) {
        Some(token) => std::str::from_utf8(token).map(Some).map_err(|_| Status::unauthorized()),
        None => Ok(None),
    }
}
