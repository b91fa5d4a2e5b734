//! The ConfigMaps and Secrets that this node's pods use: one watch per object, while a pod uses it. The node may read
//! no others, and an object that no pod uses costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use gantry_client::{Client, Informer, Key, Object, Reader};
use gantry_common::{
    shutdown::Shutdown,
    task::{Group, OnExit},
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{pod, volumes::Error};

/// How long a reader waits for the first state of an object.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects watched at once; a node with more is refused further pods' volumes, not overrun.
const WATCHES_MAX: usize = 2000;

/// What an object is used by, and its copy.
struct Watched<K> {
    reader: Reader<K>,
    users: BTreeSet<String>,
    stop: Shutdown,
}

type Table<K> = Mutex<BTreeMap<Key, Watched<K>>>;

/// The objects in use.
pub(crate) struct Objects {
    client: Client,
    shutdown: Shutdown,
    config_maps: Table<ConfigMap>,
    secrets: Table<Secret>,
    changed: mpsc::Sender<Vec<String>>,
}

impl Objects {
    /// No objects yet. The UIDs of pods whose objects changed are sent to `changed`.
    pub(crate) fn new(client: Client, shutdown: Shutdown, changed: mpsc::Sender<Vec<String>>) -> Arc<Self> {
        Arc::new(Self { client, shutdown, config_maps: Table::default(), secrets: Table::default(), changed })
    }

    /// Watches what the pod uses.
    pub(crate) fn register(self: &Arc<Self>, pod: &Pod) {
        let reference = pod::reference(pod);
        let (maps, secrets) = references(pod);
        for name in maps {
            self.watch(&self.config_maps, &Key::new(&reference.namespace, name), &reference.uid, |o| &o.config_maps);
        }
        for name in secrets {
            self.watch(&self.secrets, &Key::new(&reference.namespace, name), &reference.uid, |o| &o.secrets);
        }
    }

    /// The pod uses nothing any more.
    pub(crate) fn forget(&self, uid: &str) {
        drop_user(&self.config_maps, uid);
        drop_user(&self.secrets, uid);
    }

    /// A ConfigMap that a registered pod uses.
    pub(crate) async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
        read(&self.config_maps, namespace, name, "configmap").await
    }

    /// A Secret that a registered pod uses.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
        read(&self.secrets, namespace, name, "secret").await
    }

    fn watch<K: Object>(self: &Arc<Self>, table: &Table<K>, key: &Key, uid: &str, of: fn(&Self) -> &Table<K>) {
        let mut entries = table.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.users.insert(uid.to_owned());
            return;
        }
        if entries.len() >= WATCHES_MAX {
            tracing::warn!(object = %key, limit = WATCHES_MAX, "too many objects are in use, one is not watched");
            return;
        }
        let stop = self.shutdown.child();
        let group = Group::new(stop.clone());
        let api = self.client.namespaced::<K>(&key.namespace);
        let reader = Informer::builder(api).fields(&format!("metadata.name={}", key.name)).start(&group);
        let users = BTreeSet::from([uid.to_owned()]);
        entries.insert(key.clone(), Watched { reader: reader.clone(), users, stop });
        drop(entries);
        let (objects, key) = (Arc::clone(self), key.clone());
        group.spawn("object-changes", OnExit::Ignore, async move { objects.tell(reader, &key, of).await });
    }

    /// Tells the users of one object about its changes.
    async fn tell<K: Object>(&self, reader: Reader<K>, key: &Key, of: fn(&Self) -> &Table<K>) {
        let mut changes = reader.subscribe();
        loop {
            changes.next().await;
            let users = of(self).lock().get(key).map(|entry| entry.users.iter().cloned().collect()).unwrap_or_default();
            if self.changed.send(users).await.is_err() {
                return;
            }
        }
    }
}

fn drop_user<K>(table: &Table<K>, uid: &str) {
    table.lock().retain(|_, entry| {
        entry.users.remove(uid);
        if entry.users.is_empty() {
            entry.stop.trigger();
        }
        !entry.users.is_empty()
    });
}

async fn read<K: Object>(
    table: &Table<K>,
    namespace: &str,
    name: &str,
    kind: &'static str,
) -> Result<Option<Arc<K>>, Error> {
    let key = Key::new(namespace, name);
    let reader = table.lock().get(&key).map(|entry| entry.reader.clone()).ok_or(Error::NotSynced { kind })?;
    let synced = tokio::time::timeout(SYNC_TIMEOUT, reader.synced()).await;
    synced.map_err(|_| Error::NotSynced { kind })?;
    Ok(reader.get(&key))
}

/// The names of the ConfigMaps and Secrets that a pod's volumes, environment and image pulls need.
fn references(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let ephemeral: Vec<_> = pod::ephemeral_containers(pod).map(pod::as_container).collect();
    for container in pod::containers(pod).map(|(_, container)| container).chain(&ephemeral) {
        let (more_maps, more_secrets) = pod::env::references(container);
        maps.extend(more_maps);
        secrets.extend(more_secrets);
    }
    let spec = pod::spec(pod);
    secrets.extend(spec.image_pull_secrets.iter().flatten().map(|r| r.name.clone()));
    for volume in spec.volumes.iter().flatten() {
        maps.extend(volume.config_map.as_ref().map(|s| s.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
        let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        for source in projected {
            maps.extend(source.config_map.as_ref().map(|s| s.name.clone()));
            secrets.extend(source.secret.as_ref().map(|s| s.name.clone()));
        }
    }
    maps.remove("");
    secrets.remove("");
    (maps, secrets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_uses_are_found() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "m1"}}, {"name": "b", "secret": {"secretName": "s1"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "m2"}}, {"secret": {"name": "s2"}}]}},
            ],
            "containers": [{"name": "c", "env": [
                {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "k"}}},
            ], "envFrom": [{"configMapRef": {"name": "m3"}}]}],
        }}))
        .unwrap();
        let (maps, secrets) = references(&pod);
        assert_eq!(maps.into_iter().collect::<Vec<_>>(), ["m1", "m2", "m3"]);
        assert_eq!(secrets.into_iter().collect::<Vec<_>>(), ["pull", "s1", "s2", "s3"]);
    }
}
