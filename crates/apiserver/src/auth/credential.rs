//! What a caller showed, kept as long as a session lasts, so that it can be looked at again.

use std::net::SocketAddr;
use std::sync::Arc;

use gantry_api::status::Status;
use http::{HeaderMap, header};

use super::User;
use crate::app::App;
use crate::pipeline::review;
use crate::rbac::rule::Attributes;
use crate::request::Notes;
use crate::server::connection::Origin;

/// A caller's certificate, token and wish to act as someone else.
#[derive(Clone)]
pub(crate) struct Credential {
    origin: Option<Arc<Origin>>,
    headers: HeaderMap,
}

/// Never prints the token.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("source", &self.source()).finish_non_exhaustive()
    }
}

/// Who was recognised.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Who authenticated.
    pub(crate) real: User,
    /// Whom the request acts as: the same, unless it impersonates.
    pub(crate) acting: User,
}

fn matters(name: &header::HeaderName) -> bool {
    let plain = [header::AUTHORIZATION, header::SEC_WEBSOCKET_PROTOCOL, header::UPGRADE, header::CONNECTION];
    plain.contains(name) || name.as_str().starts_with("impersonate-")
}

impl Credential {
    /// Takes what matters of a request.
    pub(crate) fn of(origin: Option<&Arc<Origin>>, headers: &HeaderMap) -> Self {
        let proxied = origin.is_some_and(|origin| origin.peer.as_ref().is_some_and(|peer| peer.proxy.is_some()));
        let kept = headers.iter().filter(|(name, _)| proxied || matters(name));
        let mut headers = HeaderMap::new();
        for (name, value) in kept {
            headers.append(name.clone(), value.clone());
        }
        Self { origin: origin.cloned(), headers }
    }

    /// Recognises the caller now, for what is asked for.
    ///
    /// # Errors
    /// What a new request would be answered: 401 when the credential is no longer good, 403 when it may no longer
    /// impersonate.
    pub(crate) async fn show(&self, app: &App, about: Option<&Attributes>) -> Result<Shown, Status> {
        let peer = self.origin.as_ref().and_then(|o| o.peer.as_ref());
        let real = app.authenticator.authenticate(peer, &self.headers, &Notes::default()).await?;
        let acting = review::impersonate(app, real.clone(), &self.headers, about).await?;
        Ok(Shown { real, acting })
    }

    /// When it expires, in seconds since 1970, if it does.
    pub(crate) fn expires(&self, app: &App) -> Option<i64> {
        app.authenticator.expires(self.origin.as_ref().and_then(|o| o.peer.as_ref()), &self.headers)
    }

    /// Where the caller is.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.origin.as_ref().map(|o| o.address)
    }
}
