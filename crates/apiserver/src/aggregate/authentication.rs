//! ConfigMap kube-system/extension-apiserver-authentication: whom API servers behind this one are to believe.
//!
//! Several servers of one cluster write it, perhaps with different CAs while these are exchanged: certificates are
//! added, and leave when they have expired. Upstream's keys and values.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use gantry_common::tls;
use serde_json::json;
use tracing::warn;
use x509_parser::pem::Pem;

use crate::app::App;
use crate::bootstrap;
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::{self, Current};
use crate::request::Target;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// Upstream's interval.
const EVERY: Duration = Duration::from_secs(60);
/// Between tries when the store fails.
const RETRY: Duration = Duration::from_secs(1);
const CLIENT_CA: &str = "client-ca-file";
const FRONT_CA: &str = "requestheader-client-ca-file";

/// Keeps the ConfigMap until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut started = app.started.subscribe();
    if started.wait_for(|done| *done).await.is_err() {
        return;
    }
    loop {
        let pause = match keep(&app).await {
            Ok(()) => {
                app.introduced.send_replace(true);
                EVERY
            }
            Err(status) => {
                warn!("keeping {NAMESPACE}/{NAME} failed, trying again: {}", status.message);
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn keep(app: &App) -> Result<(), Status> {
    let wanted = wanted(app)?;
    let now = app.clock.now().as_second();
    let kind = kinds::by_resource("", "v1", "configmaps").ok_or_else(Status::no_such_resource)?;
    let target = Target::new(kind, NAMESPACE, NAME);
    if current::load(app, &target).await?.is_none() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": merged(None, &wanted, now),
            "metadata": {"name": NAME, "namespace": NAMESPACE}});
        bootstrap::ensure(app, object).await?;
    }
    let make = |state: &Current| {
        let mut object = state.value.clone();
        let data = merged(value::get(&object, "data"), &wanted, now);
        value::set(&mut object, "data", data);
        Ok(Made { object, warnings: Vec::new() })
    };
    change::by_server(app, &target, Part::Main, &make).await.map(drop)
}

/// What this server's own flags say.
fn wanted(app: &App) -> Result<Value, Status> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(Status::internal);
    let mut data = json!({});
    if let Some(path) = &app.config.client_ca_file {
        data[CLIENT_CA] = read(path)?.into();
    }
    let front = &app.config.request_header;
    if let Some(path) = &front.client_ca_file {
        data[FRONT_CA] = read(path)?.into();
        let lists = [
            ("requestheader-allowed-names", &front.allowed_names),
            ("requestheader-username-headers", &front.username_headers),
            ("requestheader-uid-headers", &front.uid_headers),
            ("requestheader-group-headers", &front.group_headers),
            ("requestheader-extra-headers-prefix", &front.extra_headers_prefix),
        ];
        for (key, list) in lists {
            data[key] = json!(list).to_string().into();
        }
    }
    Ok(data)
}

/// What is there, with what this server wants: certificates of both, everything else as this server says.
fn merged(there: Option<&Value>, wanted: &Value, now: i64) -> Value {
    let mut data = there.cloned().unwrap_or_else(|| json!({}));
    for (key, text) in wanted.as_object().into_iter().flatten() {
        let known = there.and_then(|there| there.get(key)).and_then(Value::as_str).unwrap_or_default();
        data[key] = match key.as_str() {
            CLIENT_CA | FRONT_CA => bundle(known, text.as_str().unwrap_or_default(), now).into(),
            _ => text.clone(),
        };
    }
    data
}

/// The certificates of both texts that are still good, each once.
fn bundle(known: &str, own: &str, now: i64) -> String {
    let mut out = String::new();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for pem in Pem::iter_from_buffer(known.as_bytes()).chain(Pem::iter_from_buffer(own.as_bytes())).flatten() {
        let good = pem.parse_x509().is_ok_and(|cert| cert.validity().not_after.timestamp() > now);
        if pem.label == "CERTIFICATE" && good && !seen.contains(&pem.contents) {
            out.push_str(&tls::certificate_pem(&pem.contents));
            seen.push(pem.contents);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(name: &str) -> String {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
    }

    #[test]
    fn certificates_are_added_once_and_leave_when_they_expire() {
        let (one, two) = (ca("one"), ca("two"));
        let count = |text: &str| text.matches("BEGIN").count();
        let both = bundle(&one, &format!("{two}{one}"), 0);
        assert_eq!(count(&both), 2);
        assert_eq!(bundle(&both, &two, 0), both, "nothing changes any more");
        assert_eq!(count(&bundle(&both, &two, 3_000_000_000)), 0);
        assert_eq!(count(&bundle("rubbish", &one, 0)), 1);
    }

    #[test]
    fn lists_are_this_servers_and_other_keys_stay() {
        let there = json!({"other": "x", "requestheader-group-headers": "[]"});
        let wanted = json!({"requestheader-group-headers": "[\"X-Remote-Group\"]"});
        let data = merged(Some(&there), &wanted, 0);
        assert_eq!(data, json!({"other": "x", "requestheader-group-headers": "[\"X-Remote-Group\"]"}));
    }
}
