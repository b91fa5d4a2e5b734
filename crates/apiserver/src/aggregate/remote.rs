//! One remote group version: where it is, how it is recognised, and a connection to it.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::{Value, value};
use gantry_common::tls;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;

use crate::app::App;
use crate::auth::User;
use crate::dial::backend::{self, Backend};
use crate::dial::{self, Dialed, Endpoint};
use crate::registry::aggregation::available;

/// Authorities that this machine trusts, where Debian keeps them: those of a Service without a caBundle.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What may stand in a header's name as it is; everything else is written in percent signs.
const TOKEN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// One APIService that names a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The APIService's name: `v1beta1.metrics.k8s.io`.
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) port: u16,
    pub(crate) group_priority: i64,
    pub(crate) version_priority: i64,
    /// Whether its condition `Available` is true.
    pub(crate) available: bool,
    /// PEM; empty: what this machine trusts.
    ca_bundle: Vec<u8>,
    insecure: bool,
}

/// Why there is no connection to a remote server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Dial(dial::Error),
    #[error("the certificates for the connection cannot be used")]
    Tls(#[source] tls::Error),
    #[error("no connection")]
    Backend(#[source] backend::Error),
}

impl Error {
    /// 503 in upstream's words.
    pub(crate) fn status(self) -> gantry_api::status::Status {
        match self {
            Self::Dial(error) => error.proxied(),
            error => gantry_api::status::Status::unavailable(format!(
                "error trying to reach service: {}",
                gantry_common::error_chain(&error)
            )),
        }
    }
}

impl Remote {
    /// What an APIService says; `None` for one that is served here. The core group is always served here.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let text = |path: &str| value::str_at(object, path).unwrap_or_default().to_owned();
        value::map_at(object, "spec.service")?;
        let group = text("spec.group");
        if group.is_empty() {
            return None;
        }
        let number = |path: &str| value::i64_at(object, path).unwrap_or_default();
        Some(Self {
            name: text("metadata.name"),
            group,
            version: text("spec.version"),
            namespace: text("spec.service.namespace"),
            service: text("spec.service.name"),
            port: u16::try_from(value::i64_at(object, "spec.service.port").unwrap_or(443)).ok()?,
            group_priority: number("spec.groupPriorityMinimum"),
            version_priority: number("spec.versionPriority"),
            available: available(object).is_some_and(|condition| condition["status"] == "True"),
            ca_bundle: STANDARD.decode(text("spec.caBundle")).unwrap_or_default(),
            insecure: value::bool_at(object, "spec.insecureSkipTLSVerify"),
        })
    }

    /// `/apis/{group}/{version}`.
    pub(crate) fn root(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// Connects, with TLS and this server's certificate as a proxy; also gives `host:port` of who answers.
    ///
    /// # Errors
    /// When nobody can be reached, or is not who it should be.
    pub(crate) async fn connect<B>(&self, app: &Arc<App>) -> Result<(Backend<B>, String), Error>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let port = self.port.to_string();
        let endpoint =
            Endpoint::Service { namespace: &self.namespace, name: &self.service, port: &port, outside: true };
        let config = self.tls(app).map_err(Error::Tls)?;
        let dialed: Dialed = dial::dial(app, endpoint, 443).await.map_err(Error::Dial)?;
        let authority = dialed.authority.clone();
        let name = format!("{}.{}.svc", self.service, self.namespace);
        let backend = Backend::within_tls(dialed, name, Arc::new(config)).await.map_err(Error::Backend)?;
        Ok((backend, authority))
    }

    /// Read anew each time: a renewed certificate counts at once.
    fn tls(&self, app: &App) -> Result<ClientConfig, tls::Error> {
        let identity = match (&app.config.proxy_client_cert_file, &app.config.proxy_client_key_file) {
            (Some(cert), Some(key)) => Some(tls::Identity { cert_pem: tls::read(cert)?, key_pem: tls::read(key)? }),
            _ => None,
        };
        let alpn: &[&[u8]] = &[b"http/1.1"];
        if self.insecure {
            return tls::unverified_client_config(identity.as_ref(), alpn);
        }
        if self.ca_bundle.is_empty() {
            return tls::client_config(&tls::read(Path::new(SYSTEM_AUTHORITIES))?, identity.as_ref(), alpn);
        }
        tls::client_config(&self.ca_bundle, identity.as_ref(), alpn)
    }
}

/// A part of a user that no header can hold: without it the user would be somebody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the user cannot be named to another API server: the header {header} cannot hold {text:?}")]
pub(crate) struct Unnameable {
    header: String,
    text: String,
}

/// Names a user to a remote server, as `--requestheader-*` of that server expects it: in UTF-8, as the bytes are. Headers of that
/// kind which are there go.
///
/// # Errors
/// When a part of the user cannot be said in a header; nobody is named then.
pub(crate) fn name_user(headers: &mut HeaderMap, user: &User) -> Result<(), Unnameable> {
    let ours = |name: &HeaderName| name.as_str().starts_with("x-remote-");
    let stale: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in stale {
        headers.remove(name);
    }
    let mut named: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut add = |header: &str, text: &str| {
        let written = (HeaderName::try_from(header), HeaderValue::from_bytes(text.as_bytes()));
        let (Ok(name), Ok(value)) = written else {
            return Err(Unnameable { header: header.to_owned(), text: text.to_owned() });
        };
        named.push((name, value));
        Ok(())
    };
    add("x-remote-user", &user.name)?;
    if !user.uid.is_empty() {
        add("x-remote-uid", &user.uid)?;
    }
    for group in &user.groups {
        add("x-remote-group", group)?;
    }
    for (key, values) in &user.extra {
        for value in values {
            add(&format!("x-remote-extra-{}", utf8_percent_encode(key, TOKEN)), value)?;
        }
    }
    for (name, value) in named {
        headers.append(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_other_servers_are_remote() {
        let object = |group: &str, service: Value| {
            json!({"metadata": {"name": "v1.x"}, "spec": {"group": group, "version": "v1", "service": service,
                "groupPriorityMinimum": 100, "versionPriority": 1, "caBundle": "QUJD"}})
        };
        let remote = Remote::read(&object("a.b", json!({"namespace": "n", "name": "s"}))).expect("remote");
        assert_eq!((remote.root().as_str(), remote.port, remote.available), ("/apis/a.b/v1", 443, false));
        assert_eq!(remote.ca_bundle, b"ABC");
        assert_eq!(Remote::read(&object("a.b", Value::Null)), None);
        assert_eq!(
            Remote::read(&object("", json!({"namespace": "n", "name": "s"}))),
            None,
            "the core group stays here"
        );
    }

    #[test]
    fn a_user_is_named_once_and_whole() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-extra-a", HeaderValue::from_static("forged"));
        let mut user = User::new("alice", &["dev"]);
        user.extra.insert("acme.com/scope".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(name_user(&mut headers, &user), Ok(()));
        let all = |name: &str| headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>();
        assert_eq!(all("x-remote-user"), ["alice"]);
        assert_eq!(all("x-remote-group"), ["dev", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-acme.com%2fscope"), ["a", "b"]);
        assert_eq!((all("x-remote-extra-a").len(), all("x-remote-uid").len()), (0, 0));
    }

    #[test]
    fn a_user_who_cannot_be_named_whole_is_not_named() {
        let mut headers = HeaderMap::new();
        let mut user = User::new("müller", &["größte"]);
        user.extra.insert("straße".to_owned(), vec!["Köln".to_owned()]);
        assert_eq!(name_user(&mut headers, &user), Ok(()));
        let bytes = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        assert_eq!(bytes("x-remote-user"), Some("müller".as_bytes()));
        assert_eq!(bytes("x-remote-group"), Some("größte".as_bytes()));
        assert_eq!(bytes("x-remote-extra-stra%c3%9fe"), Some("Köln".as_bytes()));
        let change: [&dyn Fn(&mut User); 4] = [
            &|user| "a\nb".clone_into(&mut user.name),
            &|user| "a\u{7f}".clone_into(&mut user.uid),
            &|user| user.groups.push("a\rb".to_owned()),
            &|user| drop(user.extra.insert("scope".to_owned(), vec!["\0".to_owned()])),
        ];
        for change in change {
            let (mut headers, mut user) = (HeaderMap::new(), user.clone());
            change(&mut user);
            let refused = name_user(&mut headers, &user).expect_err("no header holds it");
            assert!(refused.header.starts_with("x-remote-") && headers.is_empty(), "{refused}");
        }
    }
}
