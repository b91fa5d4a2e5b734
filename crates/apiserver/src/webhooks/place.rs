//! Where a webhook is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::{Value, value};

use super::error::Error;
use super::users::{self, Credential, Users};

/// The port of `https`.
const HTTPS: u16 = 443;

/// What is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A Service of the cluster.
    Service { namespace: String, name: String },
    /// A host outside of it, which users name.
    Outside,
    /// A host that the operator names, wherever it is.
    Trusted,
}

/// A webhook's place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What connections may serve: target, name and trust.
    pub(super) key: String,
    pub(super) target: Target,
    /// What is dialled.
    pub(super) host: String,
    /// The name that the certificate must bear.
    pub(super) certified: String,
    pub(super) port: u16,
    /// PEM; empty: the system's certificates.
    pub(super) ca_bundle: Vec<u8>,
    /// What the API server shows of itself.
    pub(super) credential: Option<Arc<Credential>>,
    path: String,
    /// As a URL is printed: an explicit port stays.
    authority: String,
}

impl Place {
    /// Reads a `WebhookClientConfig`.
    pub(super) fn of(config: &Value) -> Result<Self, Error> {
        let encoded = value::str_at(config, "caBundle").unwrap_or_default();
        let ca_bundle =
            STANDARD.decode(encoded).map_err(|error| Error::Config(format!("the caBundle is not base64: {error}")))?;
        if let Some(url) = value::str_at(config, "url") {
            return Self::outside(url, encoded, ca_bundle);
        }
        let service = value::get(config, "service").filter(|s| s.is_object());
        let service =
            service.ok_or_else(|| Error::Config("webhook configuration must have either service or URL".to_owned()))?;
        let text = |key: &str| value::str_at(service, key).unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let port = value::i64_at(service, "port").and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0);
        let port = port.unwrap_or(HTTPS);
        let host = format!("{name}.{namespace}.svc");
        let authority = format!("{host}:{port}");
        Ok(Self {
            key: format!("service {authority} {encoded}"),
            target: Target::Service { namespace, name },
            certified: host.clone(),
            host,
            port,
            ca_bundle,
            credential: None,
            path: rooted(&text("path")),
            authority,
        })
    }

    fn outside(url: &str, encoded: &str, ca_bundle: Vec<u8>) -> Result<Self, Error> {
        let wrong = || Error::Config(format!("{url:?} is not a URL like https://host[:port]/path"));
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(HTTPS);
        Ok(Self {
            key: format!("url {host}:{port} {encoded}"),
            target: Target::Outside,
            certified: host.clone(),
            host,
            port,
            ca_bundle,
            credential: None,
            path: rooted(uri.path()),
            authority: authority.as_str().to_owned(),
        })
    }

    /// The place with the user that `users` have for it.
    pub(super) fn seen_by(self, users: &Users) -> Self {
        let credential = users.of(&self.host, self.port);
        self.showing(credential)
    }

    fn showing(mut self, credential: Option<Arc<Credential>>) -> Self {
        if let Some(credential) = &credential {
            self.key = format!("{} as {}", self.key, credential.key);
        }
        self.credential = credential;
        self
    }

    /// The place that the current context of a kubeconfig names.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let file = users::read(path)?;
        let missing = |what: &str, name: &str| format!("{} has no {what} {name:?}", path.display());
        let wanted = &file.current_context;
        let context = file.contexts.iter().find(|context| context.name == *wanted);
        let context = &context.ok_or_else(|| missing("context", wanted))?.context;
        let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = &cluster.ok_or_else(|| missing("cluster", &context.cluster))?.cluster;
        let ca = cluster.ca_pem(path).map_err(|error| gantry_common::error_chain(&error))?.unwrap_or_default();
        let place = Self::outside(&cluster.server, &STANDARD.encode(&ca), ca).map_err(|error| error.to_string())?;
        let credential = Users::named(path, &file, &context.user)?;
        let host = cluster.tls_server_name.clone().unwrap_or_else(|| place.host.clone());
        let key = format!("{} {host}", place.key);
        Ok(Self { target: Target::Trusted, certified: host, key, ..place }.showing(credential))
    }

    /// Path and query: upstream tells how long it waits.
    pub(super) fn path(&self, timeout: Duration) -> String {
        format!("{}?timeout={}s", self.path, timeout.as_secs().max(1))
    }

    /// `host:port`, for the request's head.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The whole URL, for messages.
    pub(super) fn shown(&self, timeout: Duration) -> String {
        format!("https://{}{}", self.authority, self.path(timeout))
    }
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configurations_name_places() {
        let check = |config: Value, shown: Option<&str>| {
            let place = Place::of(&config).ok();
            assert_eq!(place.map(|p| p.shown(Duration::from_secs(5))).as_deref(), shown, "{config}");
        };
        let service = json!({"service": {"namespace": "a", "name": "w", "path": "/x", "port": 8443}});
        check(service, Some("https://w.a.svc:8443/x?timeout=5s"));
        check(json!({"service": {"namespace": "a", "name": "w"}}), Some("https://w.a.svc:443/?timeout=5s"));
        check(json!({"url": "https://h.example/p"}), Some("https://h.example/p?timeout=5s"));
        check(json!({"url": "https://[2001:db8::1]:9443"}), Some("https://[2001:db8::1]:9443/?timeout=5s"));
        check(json!({"url": "http://h.example/p"}), None);
        check(json!({"url": "https://h.example/p", "caBundle": "!"}), None);
        check(json!({}), None);
        let place = Place::of(&json!({"url": "https://[2001:db8::1]:9443"})).expect("valid");
        assert_eq!((place.host.as_str(), place.port), ("2001:db8::1", 9443));
    }

    #[test]
    fn connections_are_not_shared_between_trusts() {
        let key = |ca: &str| Place::of(&json!({"url": "https://h/p", "caBundle": ca})).expect("valid").key;
        assert_ne!(key("QQ=="), key("Qg=="));
        assert_eq!(key("QQ=="), key("QQ=="));
    }
}
