//! Which API servers there are: each keeps a Lease in kube-system, and takes away those of servers that are gone.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::decode::micro_time;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::ensure;
use crate::app::App;
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::{self, Current};
use crate::pipeline::delete;
use crate::pipeline::options::DeleteOptions;
use crate::request::{Caller, Target};

const NAMESPACE: &str = "kube-system";
/// The label that tells these Leases from others, and whose they are.
const LABEL: &str = "apiserver.kubernetes.io/identity";
const COMPONENT: &str = "kube-apiserver";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// How long a Lease counts after it was renewed.
const LEASE_SECONDS: i64 = 3600;
/// How often it is renewed (upstream's interval).
const EVERY: Duration = Duration::from_secs(10);
/// How often Leases that have run out are looked for.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

/// The name of the server on a host: a hash of the host's name, as upstream makes it.
fn name_of(host: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    const BYTES: usize = 16;
    let mut name = "apiserver-".to_owned();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in Sha256::digest(host.as_bytes()).iter().take(BYTES) {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            name.push(char::from(LETTERS[(bits >> held & 31) as usize]));
        }
    }
    name.push(char::from(LETTERS[(bits << (5 - held) & 31) as usize]));
    name
}

/// The name of this server; none where the host's is not known.
pub(crate) fn own() -> Option<String> {
    nix::unistd::gethostname().ok().map(|host| name_of(&host.to_string_lossy()))
}

fn target(name: &str) -> Result<Target, Status> {
    let kind = kinds::by_resource("coordination.k8s.io", "v1", "leases").ok_or_else(Status::no_such_resource)?;
    Ok(Target::new(kind, NAMESPACE, name))
}

/// Writes the labels and the time into a Lease.
fn mark(lease: &mut Value, host: &str, now: Timestamp) {
    if let Some(labels) = value::object_mut(lease, "metadata.labels") {
        labels.insert(LABEL.to_owned(), COMPONENT.into());
        labels.insert(HOSTNAME.to_owned(), host.into());
    }
    value::set(lease, "spec.renewTime", micro_time(now));
}

async fn renew(app: &App, host: &str, name: &str, holder: &str) -> Result<(), Status> {
    let (target, now) = (target(name)?, app.clock.now());
    if current::load(app, &target).await?.is_none() {
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS},
        });
        mark(&mut lease, host, now);
        return ensure(app, lease).await;
    }
    let make = |state: &Current| {
        let mut object = state.value.clone();
        mark(&mut object, host, now);
        Ok(Made { object, warnings: Vec::new() })
    };
    change::by_server(app, &target, Part::Main, &make).await.map(drop)
}

/// Whether a Lease has run out; one that does not say how long it counts is nobody's.
fn has_expired(lease: &Value, now: Timestamp) -> bool {
    let renewed = value::str_at(lease, "spec.renewTime").and_then(|time| time.parse::<Timestamp>().ok());
    let end = renewed
        .zip(value::i64_at(lease, "spec.leaseDurationSeconds"))
        .and_then(|(renewed, seconds)| renewed.checked_add(SignedDuration::from_secs(seconds)).ok());
    end.is_none_or(|end| end < now)
}

/// Takes away the Leases of servers that are gone.
async fn collect(app: &App) -> Result<(), Status> {
    let now = app.clock.now();
    let known: Vec<Value> = {
        let snapshot = app.view(&target("")?.kind).snapshot();
        snapshot.list(Some(NAMESPACE), None).filter_map(|lease| serde_json::from_slice(lease.json()).ok()).collect()
    };
    let labelled = |lease: &Value| {
        value::map_at(lease, "metadata.labels").is_some_and(|labels| labels.get(LABEL).is_some_and(|l| l == COMPONENT))
    };
    for lease in known.iter().filter(|lease| labelled(lease) && has_expired(lease, now)) {
        let name = value::str_at(lease, "metadata.name").unwrap_or_default();
        let target = target(name)?;
        // Its server may have come back in between.
        let Some(found) = current::load(app, &target).await?.filter(|found| has_expired(&found.value, now)) else {
            continue;
        };
        let uid = value::str_at(&found.value, "metadata.uid").map(str::to_owned);
        let options =
            DeleteOptions { uid, resource_version: Some(found.revision.to_string()), ..DeleteOptions::default() };
        match delete::delete(app, &Caller::apiserver(), &target, &options).await {
            Err(status) if !matches!(status.code, 404 | 409) => return Err(status),
            _ => info!(lease = name, "took away the Lease of an API server that is gone"),
        }
    }
    Ok(())
}

/// Keeps the Lease until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    if !app.config.has_identity() || app.started.subscribe().wait_for(|done| *done).await.is_err() {
        return;
    }
    let host = match nix::unistd::gethostname() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(error) => {
            warn!(%error, "the host's name is not known: this API server has no Lease in kube-system");
            return;
        }
    };
    let name = name_of(&host);
    let holder = format!("{name}_{}", uuid::Uuid::new_v4());
    let mut collected: Option<Instant> = None;
    loop {
        if let Err(status) = renew(&app, &host, &name, &holder).await {
            warn!("renewing this API server's Lease failed: {}", status.message);
        }
        if collected.is_none_or(|at| at.elapsed() >= COLLECT_EVERY) {
            match collect(&app).await {
                Ok(()) => collected = Some(Instant::now()),
                Err(status) => warn!("taking away Leases of API servers that are gone failed: {}", status.message),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        assert_eq!(name_of("master-1"), "apiserver-nihm5ngprxqxnpjevp7yosa6ze");
        assert_eq!(name_of("n1"), "apiserver-m5vyxocm44th3vja33feqeoi6e");
    }

    #[test]
    fn leases_run_out() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let check =
            |spec: Value, expected: bool| assert_eq!(has_expired(&json!({"spec": spec}), now), expected, "{spec}");
        check(json!({"renewTime": "2026-01-02T02:04:06.000000Z", "leaseDurationSeconds": 3600}), false);
        check(json!({"renewTime": "2026-01-02T02:04:04.000000Z", "leaseDurationSeconds": 3600}), true);
        check(json!({"renewTime": "2026-01-02T03:04:04.000000Z"}), true);
        check(json!({"leaseDurationSeconds": 3600}), true);
    }
}
