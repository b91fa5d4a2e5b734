//! Getting a container's image: policy, name, credentials; the errors in upstream's words.

use std::{sync::Arc, time::Duration};

use base64::Engine as _;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use tokio::time::Instant;

use crate::{
    events::Events,
    objects::Objects,
    pod,
    runtime::{Credentials, Image, Runtime},
};

/// Pulls at once; the registry and the disk are shared by all pods.
const PULLS_MAX: usize = 5;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// As in `kubectl get`.
    pub(crate) reason: &'static str,
    /// In words.
    pub(crate) message: String,
}

/// Fetches images.
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    objects: Arc<Objects>,
    pulls: tokio::sync::Semaphore,
}

impl Images {
    /// Images of this runtime.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, objects: Arc<Objects>) -> Self {
        Self { runtime, objects, pulls: tokio::sync::Semaphore::new(PULLS_MAX) }
    }

    /// The container's image, pulled if its policy asks for it.
    pub(crate) async fn ensure(&self, pod: &Pod, spec: &Spec, events: &Events) -> Result<Image, Missing> {
        let written = spec.image.clone().unwrap_or_default();
        let name = normalise(&written).map_err(|why| Missing {
            reason: "InvalidImageName",
            message: format!(
                "Failed to apply default image tag \"{written}\": couldn't parse image name \"{written}\": {why}"
            ),
        })?;
        let present = self.runtime.image(&name).await.map_err(|error| failed("ImageInspectError", &error))?;
        match (spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent"), present) {
            ("Never", None) => {
                let message = format!("Container image \"{written}\" is not present with pull policy of Never");
                events.warning(pod, spec, "ErrImageNeverPull", &message);
                Err(Missing { reason: "ErrImageNeverPull", message })
            }
            ("IfNotPresent" | "Never", Some(image)) => {
                let message =
                    format!("Container image \"{written}\" already present on machine and can be accessed by the pod");
                events.normal(pod, spec, "Pulled", &message);
                Ok(image)
            }
            _ => self.pull(pod, spec, &written, &name, events).await,
        }
    }

    async fn pull(&self, pod: &Pod, spec: &Spec, written: &str, name: &str, events: &Events) -> Result<Image, Missing> {
        events.normal(pod, spec, "Pulling", &format!("Pulling image \"{written}\""));
        let asked = Instant::now();
        let credentials = self.credentials(pod, name).await;
        // Closed only with the kubelet.
        let _turn = self.pulls.acquire().await;
        let began = Instant::now();
        if let Err(error) = self.runtime.pull(name, credentials.as_ref()).await {
            let missing = failed("ErrImagePull", &error);
            events.warning(pod, spec, "Failed", &format!("Failed to pull image \"{written}\": {}", missing.message));
            return Err(missing);
        }
        let found = self.runtime.image(name).await.map_err(|error| failed("ImageInspectError", &error))?;
        let image = found.ok_or_else(|| Missing {
            reason: "ErrImagePull",
            message: format!("the runtime pulled {name} but does not have it"),
        })?;
        let (own, all) = (seconds(began.elapsed()), seconds(asked.elapsed()));
        let message = format!(
            "Successfully pulled image \"{written}\" in {own} ({all} including waiting). Image size: {} bytes.",
            image.size_bytes
        );
        events.normal(pod, spec, "Pulled", &message);
        Ok(image)
    }

    /// The first of the pod's pull secrets that knows the image's registry.
    async fn credentials(&self, pod: &Pod, name: &str) -> Option<Credentials> {
        let namespace = pod::reference(pod).namespace;
        let host = registry(name);
        for reference in pod::spec(pod).image_pull_secrets.iter().flatten() {
            let secret = self.objects.secret(&namespace, &reference.name).await.ok().flatten();
            let data = secret.as_ref().and_then(|s| s.data.as_ref());
            let found = data.and_then(|data| {
                let new = data.get(".dockerconfigjson").and_then(|v| serde_json::from_slice(&v.0).ok());
                let old = || data.get(".dockercfg").and_then(|v| serde_json::from_slice(&v.0).ok());
                new.map(|v: serde_json::Value| v["auths"].clone()).or_else(old)
            });
            if let Some(credentials) = found.and_then(|auths: serde_json::Value| matching(&auths, &host)) {
                return Some(credentials);
            }
        }
        None
    }
}

fn failed(reason: &'static str, error: &crate::runtime::Error) -> Missing {
    Missing { reason, message: gantry_common::error_chain(error) }
}

/// A time as Go prints it, to the millisecond.
fn seconds(time: Duration) -> String {
    if time.as_secs() == 0 { format!("{}ms", time.as_millis()) } else { format!("{:.3}s", time.as_secs_f64()) }
}

/// The image's name with a tag or digest.
fn normalise(written: &str) -> Result<String, &'static str> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let (name, digest) = match written.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (written, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    };
    let path = repository.split_once('/').filter(|(host, _)| host.contains(['.', ':'])).map_or(repository, |(_, p)| p);
    let parts_ok =
        path.split('/').all(|part| !part.is_empty() && part.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if !written.chars().all(ok)
        || !parts_ok
        || tag.is_some_and(str::is_empty)
        || digest.is_some_and(|d| !d.contains(':'))
    {
        return Err("invalid reference format");
    }
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{written}:latest") } else { written.to_owned() })
}

/// The host that an image comes from.
fn registry(name: &str) -> String {
    let host = name.split_once('/').map(|(host, _)| host).filter(|h| h.contains(['.', ':']) || *h == "localhost");
    host.unwrap_or("docker.io").to_owned()
}

/// The entry for a host, whether or not it is written as a URL.
fn matching(auths: &serde_json::Value, host: &str) -> Option<Credentials> {
    let bare = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        let key = key.split('/').next().unwrap_or(key);
        if key == "index.docker.io" { "docker.io".to_owned() } else { key.to_owned() }
    };
    let (key, entry) = auths.as_object()?.iter().find(|(key, _)| bare(key) == host)?;
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    let pair = || {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")?).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        decoded.split_once(':').map(|(u, p)| (u.to_owned(), p.to_owned()))
    };
    let (username, password) = text("username").zip(text("password")).or_else(pair)?;
    Some(Credentials { username, password, server: key.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_get_a_tag() {
        let check = |written: &str, expected: Result<&str, ()>| {
            assert_eq!(normalise(written).map_err(drop), expected.map(str::to_owned), "{written}");
        };
        check("nginx", Ok("nginx:latest"));
        check("nginx:1.2", Ok("nginx:1.2"));
        check("host:5000/a/b", Ok("host:5000/a/b:latest"));
        check("a@sha256:00", Ok("a@sha256:00"));
        check("Nginx", Err(()));
        check("nginx:", Err(()));
        check("a b", Err(()));
        check("", Err(()));
        check("/a", Err(()));
    }

    #[test]
    fn credentials_are_found_by_host() {
        let auths =
            json!({"https://index.docker.io/v1/": {"auth": "dTpw"}, "r.io:5000": {"username": "a", "password": "b"}});
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(matching(&auths, &registry(name)).map(|c| c.username), expected.map(str::to_owned));
        };
        check("nginx:1", Some("u"));
        check("r.io:5000/x:1", Some("a"));
        check("other.io/x", None);
    }
}
