//! `OwnerReferencesPermissionEnforcement`: whoever ties an object's life to another's must be allowed to end it, and to
//! hold up the other's end.

use std::collections::HashSet;

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request};
use crate::rbac::authorizer;
use crate::rbac::rule::Attributes;

pub(super) struct OwnerReferencesPermissionEnforcement;

const OWNERS: &str = "metadata.ownerReferences";

/// The references that block their owner's deletion and did not before.
fn blocking<'a>(new: &'a [Value], old: &[Value]) -> Vec<&'a Value> {
    let blocks = |reference: &&Value| value::bool_at(reference, "blockOwnerDeletion");
    let uid = |reference: &'a Value| reference.get("uid");
    let known: HashSet<Option<&Value>> = old.iter().filter(blocks).map(|reference| reference.get("uid")).collect();
    new.iter().filter(blocks).filter(|reference| !known.contains(&uid(reference))).collect()
}

/// The right to hold up the end of everything.
fn any_finalizer() -> Attributes {
    let any = || "*".to_owned();
    Attributes {
        verb: "update".to_owned(),
        group: any(),
        version: any(),
        resource: any(),
        subresource: "finalizers".to_owned(),
        namespace: String::new(),
        name: any(),
        ..Attributes::default()
    }
}

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn sees_unstored(&self) -> bool {
        true
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let target = request.target;
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        // A pod's status cannot change them, whatever is in it.
        if !written || (target.kind.is("", "Pod") && target.subresource == "status") {
            return Ok(());
        }
        let old = request.old.map_or(&[][..], |old| value::list_at(old, OWNERS));
        let new = value::list_at(object, OWNERS);
        if new == old {
            return Ok(());
        }
        let (user, authorizer) = (&request.caller.user, &request.app.authorizer);
        let delete = authorizer::on(&target.kind, "delete", &target.namespace, &target.name, target.subresource);
        if let Err(refusal) = authorizer.decide(request.app, user, &delete).await {
            let why = format!("cannot set an ownerRef on a resource you can't delete: {}", refusal.shown());
            return Err(request.forbidden(&why));
        }
        let blocking = blocking(new, old);
        if blocking.is_empty() || authorizer.decide(request.app, user, &any_finalizer()).await.is_ok() {
            return Ok(());
        }
        for reference in blocking {
            let at = |key: &str| value::str_at(reference, key).unwrap_or_default();
            let (version, name) = (at("apiVersion"), at("kind"));
            let (group, plain) = kinds::split_api_version(version);
            let Some(owner) = request.app.kinds.kinds().by_kind(group, plain, name) else {
                let why = format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} \
                     Kind {name}: no matches for kind {name:?} in version {version:?}"
                );
                return Err(request.forbidden(&why));
            };
            let namespace = if owner.namespaced { target.namespace.as_str() } else { "" };
            let hold = authorizer::on(&owner, "update", namespace, at("name"), "finalizers");
            if let Err(refusal) = authorizer.decide(request.app, user, &hold).await {
                let why = format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: \
                     {}",
                    refusal.shown()
                );
                return Err(request.forbidden(&why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_blocks_are_found() {
        let owner = |uid: &str, blocks: Value| json!({"uid": uid, "blockOwnerDeletion": blocks});
        let found = |new: &[Value], old: &[Value]| blocking(new, old).len();
        assert_eq!(found(&[owner("a", json!(true))], &[]), 1);
        assert_eq!(found(&[owner("a", json!(true))], &[owner("a", json!(true))]), 0);
        assert_eq!(found(&[owner("a", json!(true))], &[owner("a", json!(false))]), 1);
        assert_eq!(found(&[owner("a", Value::Null)], &[]), 0);
    }
}
