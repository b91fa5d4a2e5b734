//! Which token is marked, and which is deleted: pure.

use std::{sync::Arc, time::Duration};

use gantry_api::legacy_token::{ACCOUNT_UID, INVALID_SINCE, LAST_USED, day, start_of};
use gantry_client::Object;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Secret, ServiceAccount, Volume};

/// What is done about a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Its token is refused from this day on.
    Mark(String),
    /// It goes.
    Delete,
}

/// The time in which a token must have been used.
#[derive(Debug)]
pub(super) struct Period {
    now: Timestamp,
    start: Timestamp,
}

impl Period {
    /// The last `length` before `now`; `None` while uses have not been noted for that long. `tracked_since`: the start of the
    /// day in which noting began, so that what was used earlier on that day is not known.
    pub(super) fn new(now: Timestamp, length: Duration, tracked_since: Timestamp) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let start = now.checked_sub(length).ok()?;
        (tracked_since.checked_add(DAY).ok()? <= start).then_some(Self { now, start })
    }

    /// What to do about a Secret. `pods`: those of its namespace.
    pub(super) fn step(&self, secret: &Secret, account: &ServiceAccount, pods: &[Arc<Pod>]) -> Option<Step> {
        let meta = &secret.metadata;
        let created = meta.creation_timestamp.as_ref()?.0;
        if created >= self.start || meta.deletion_timestamp.is_some() {
            return None;
        }
        let first_day = day(self.start);
        let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key));
        // A day that cannot be read may be any.
        if label(LAST_USED).is_some_and(|used| start_of(used).is_none() || *used >= first_day) {
            return None;
        }
        let uid = meta.annotations.as_ref().and_then(|all| all.get(ACCOUNT_UID)).map_or("", String::as_str);
        let name = secret.key().name;
        let lists = |account: &ServiceAccount| account.secrets.iter().flatten().any(|s| s.name.as_ref() == Some(&name));
        if !(uid.is_empty() || uid == account.uid()) || !lists(account) || pods.iter().any(|pod| uses(pod, &name)) {
            return None;
        }
        match label(INVALID_SINCE).filter(|since| start_of(since).is_some()) {
            None => Some(Step::Mark(day(self.now))),
            Some(since) if *since >= first_day => None,
            Some(_) => Some(Step::Delete),
        }
    }
}

/// Whether the pod names the Secret anywhere.
fn uses(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let pulls = spec.image_pull_secrets.iter().flatten().any(|s| s.name == name);
    let plain = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    pulls
        || plain.into_iter().any(|c| container_uses(c, name))
        || ephemeral.into_iter().any(|c| {
            let (env, env_from) = (c.env.clone(), c.env_from.clone());
            container_uses(&Container { env, env_from, ..Container::default() }, name)
        })
        || spec.volumes.iter().flatten().any(|volume| volume_secrets(volume).contains(&name))
}

fn container_uses(container: &Container, name: &str) -> bool {
    let whole = container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref()).map(|s| &s.name);
    let values = container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()?.secret_key_ref.as_ref());
    whole.chain(values.map(|s| &s.name)).any(|named| named == name)
}

/// The names of Secrets that a volume of any type speaks of.
fn volume_secrets(volume: &Volume) -> Vec<&str> {
    let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
    let projected = projected.filter_map(|source| Some(source.secret.as_ref()?.name.as_str()));
    let references = [
        volume.cephfs.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.csi.as_ref().and_then(|v| v.node_publish_secret_ref.as_ref()),
        volume.flex_volume.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.iscsi.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.scale_io.as_ref().map(|v| &v.secret_ref),
        volume.storageos.as_ref().and_then(|v| v.secret_ref.as_ref()),
    ];
    let plain = [
        volume.azure_file.as_ref().map(|v| v.secret_name.as_str()),
        volume.secret.as_ref().and_then(|v| v.secret_name.as_deref()),
    ];
    let references = references.into_iter().flatten().map(|reference| reference.name.as_str());
    references.chain(plain.into_iter().flatten()).chain(projected).collect()
}

#[cfg(test)]
mod tests;
