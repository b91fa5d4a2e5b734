//! What the API server says of an object now, and the collector's writes.

use std::collections::VecDeque;
use std::sync::Arc;

use gantry_api::{
    kinds::{self, KindInfo},
    status::Status,
};
use gantry_client::{Client, DeleteParams, DynApi, Key, Patch, Preconditions, ResourceId, View, WriteParams};
use gantry_controller::{Doing, Error};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    decide::Owner,
    graph::{is_foreground, owner_key},
};
use crate::catalog::{Catalog, Meta};

/// Owners known to be absent that are remembered, so that a set with a thousand pods is asked for once.
const ABSENT_LEN: usize = 500;

/// Where and as what an owner was looked for.
#[derive(Debug, Clone, PartialEq)]
struct Sought {
    namespace: String,
    reference: (String, String, String, String),
}

pub(super) struct Live {
    client: Client,
    catalog: Arc<Catalog>,
    absent: Mutex<VecDeque<Sought>>,
}

#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

/// Whether the object is not there. Of a kind that is not served nobody can say.
fn is_gone(error: &gantry_client::Error) -> bool {
    error.is_not_found() && !error.is_unserved()
}

impl Live {
    pub(super) fn new(client: Client, catalog: Arc<Catalog>) -> Self {
        Self { client, catalog, absent: Mutex::default() }
    }

    fn api(&self, kind: &KindInfo, namespace: &str) -> DynApi {
        self.client.dynamic(ResourceId::new(kind.group, kind.version, kind.resource), namespace)
    }

    /// The object, if it exists.
    pub(super) async fn get(&self, kind: &KindInfo, key: &Key) -> Result<Option<Meta>, Error> {
        let object: Value = match self.api(kind, &key.namespace).get(&key.name, "", View::Metadata).await {
            Ok(object) => object,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error).doing(|| format!("read {} {key}", kind.resource)),
        };
        let partial: Partial = serde_json::from_value(object).map_err(|error| {
            Error::Refused(format!("the metadata of {} {key} is unreadable: {error}", kind.resource))
        })?;
        Ok(Some(Meta::new(kind, partial.metadata)))
    }

    /// The owner that `reference`, made in `namespace`, means; `None` when there is none.
    async fn find(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<Meta>, Error> {
        let (group, _) = kinds::split_api_version(&reference.api_version);
        // Whatever version the reference names, the object is the same.
        let kinds = self.catalog.all_kinds();
        let kind = kinds
            .by_api_version(&reference.api_version, &reference.kind)
            .or_else(|| kinds.all().find(|k| k.group == group && k.kind == reference.kind).map(KindInfo::held));
        let Some(kind) = kind.as_deref().map(KindInfo::hub) else {
            let (api_version, kind, name) = (&reference.api_version, &reference.kind, &reference.name);
            return Err(Error::Refused(format!("the kind of the owner {api_version} {kind} {name} is not known")));
        };
        let sought = Sought {
            namespace: namespace.to_owned(),
            reference: (
                reference.api_version.clone(),
                reference.kind.clone(),
                reference.name.clone(),
                reference.uid.clone(),
            ),
        };
        if self.absent.lock().contains(&sought) {
            return Ok(None);
        }
        let found = self.get(kind, &owner_key(reference, kind.namespaced, namespace)).await?;
        let found = found.filter(|m| m.uid == reference.uid);
        if found.is_none() {
            // A uid never comes back, so this stays true.
            let mut absent = self.absent.lock();
            absent.push_back(sought);
            if absent.len() > ABSENT_LEN {
                absent.pop_front();
            }
        }
        Ok(found)
    }

    /// Whether the owner that is named so exists.
    pub(super) async fn exists(&self, reference: &OwnerReference, namespace: &str) -> Result<bool, Error> {
        Ok(self.find(reference, namespace).await?.is_some())
    }

    /// What the owner is that `item` names so.
    pub(super) async fn owner(&self, reference: &OwnerReference, item: &Meta) -> Result<Owner, Error> {
        let (group, _) = kinds::split_api_version(&reference.api_version);
        let kinds = self.catalog.all_kinds();
        let kind = kinds.all().find(|k| k.group == group && k.kind == reference.kind);
        if !item.kind.namespaced && kind.is_some_and(|k| k.namespaced) {
            // Something of the whole cluster cannot belong to a namespace; such a reference is not followed.
            return Ok(Owner::Solid);
        }
        Ok(match self.find(reference, &item.key.namespace).await? {
            None => Owner::Absent,
            Some(owner) if is_foreground(&owner) => Owner::Waiting,
            Some(_) => Owner::Solid,
        })
    }

    /// Removes owners from the object's list.
    pub(super) async fn strike(&self, item: &Meta, uids: &[String]) -> Result<(), Error> {
        if item.kind.custom.is_some() {
            let rest = item.owners.iter().filter(|owner| !uids.contains(&owner.uid));
            return self.set_owners(item, rest.cloned().collect(), "remove owners from").await;
        }
        let strikes: Vec<Value> = uids.iter().map(|uid| json!({"$patch": "delete", "uid": uid})).collect();
        let patch = json!({"metadata": {"uid": item.uid, "ownerReferences": strikes}});
        self.patch(item, &Patch::Strategic(patch), "remove owners from").await
    }

    /// Lets the object hold up none of its owners.
    pub(super) async fn unblock(&self, item: &Meta) -> Result<(), Error> {
        if item.kind.custom.is_some() {
            let unblocked = |owner: &OwnerReference| OwnerReference {
                block_owner_deletion: owner.block_owner_deletion.map(|_| false),
                ..owner.clone()
            };
            return self.set_owners(item, item.owners.iter().map(unblocked).collect(), "unblock the owners of").await;
        }
        let blocking = item.owners.iter().filter(|o| o.block_owner_deletion == Some(true));
        let owners: Vec<Value> = blocking.map(|o| json!({"uid": o.uid, "blockOwnerDeletion": false})).collect();
        let patch = json!({"metadata": {"uid": item.uid, "ownerReferences": owners}});
        self.patch(item, &Patch::Strategic(patch), "unblock the owners of").await
    }

    /// Replaces the list of owners of a custom object, which cannot be patched by key.
    async fn set_owners(&self, item: &Meta, owners: Vec<OwnerReference>, what: &str) -> Result<(), Error> {
        // The resource version makes a conflict of a list that changed meanwhile.
        let meta = json!({"uid": item.uid, "resourceVersion": item.resource_version, "ownerReferences": owners});
        self.patch(item, &Patch::Merge(json!({"metadata": meta})), what).await
    }

    /// Takes one finalizer off.
    pub(super) async fn remove_finalizer(&self, item: &Meta, finalizer: &str) -> Result<(), Error> {
        if !item.has_finalizer(finalizer) {
            return Ok(());
        }
        let rest: Vec<&String> = item.finalizers.iter().filter(|f| *f != finalizer).collect();
        // The resource version makes a conflict of a list that changed meanwhile.
        let meta = json!({"uid": item.uid, "resourceVersion": item.resource_version, "finalizers": rest});
        self.patch(item, &Patch::Merge(json!({"metadata": meta})), "take a finalizer off").await
    }

    async fn patch(&self, item: &Meta, patch: &Patch, what: &str) -> Result<(), Error> {
        let api = self.api(&item.kind, &item.key.namespace);
        match api.patch(&item.key.name, "", patch, &WriteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            // Another object has the name now: ours is gone.
            Err(error) if error.status().is_some_and(names_other_uid) => Ok(()),
            Err(error) => Err(error).doing(|| format!("{what} {} {}", item.kind.resource, item.key)),
        }
    }

    /// Deletes the object as it was looked at.
    pub(super) async fn delete(&self, item: &Meta, policy: &'static str) -> Result<(), Error> {
        tracing::info!(kind = item.kind.kind, object = %item.key, policy, "deleting what has no owner any more");
        let params = DeleteParams {
            propagation_policy: Some(policy.to_owned()),
            preconditions: Some(Preconditions {
                uid: Some(item.uid.clone()),
                resource_version: Some(item.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        match self.api(&item.kind, &item.key.namespace).delete(&item.key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error).doing(|| format!("delete {} {}", item.kind.resource, item.key)),
        }
    }
}

/// Whether a patch was refused because its uid is not the object's.
fn names_other_uid(status: &Status) -> bool {
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    status.reason == "Invalid" && causes.iter().any(|c| c.field == "metadata.uid")
}
