//! The system's part of `metadata`: uid, times, generation, generated names.

use std::collections::HashSet;

use gantry_api::kinds::{Generation, KindInfo};
use gantry_api::status::Status;
use gantry_api::{Value, defaults, names, value};
use jiff::Timestamp;

use crate::registry;

/// RFC 3339, UTC, whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Fills in what a new object gets from the server.
///
/// # Errors
/// 500 as upstream, when the client chose a resource version.
pub(crate) fn on_create(kind: &KindInfo, object: &mut Value, now: Timestamp) -> Result<(), Status> {
    let given = value::str_at(object, "metadata.resourceVersion").unwrap_or_default();
    if !given.is_empty() && given != "0" {
        return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
    }
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        value::remove(object, &format!("metadata.{field}"));
    }
    value::set(object, "metadata.uid", uuid::Uuid::new_v4().to_string());
    value::set(object, "metadata.creationTimestamp", time(now));
    let unnamed =
        ["metadata.name", "metadata.generateName"].iter().all(|at| value::str_at(object, at).is_none_or(str::is_empty));
    if unnamed && kind.is("", "LimitRange") {
        // The one kind that upstream names where nobody does.
        value::set(object, "metadata.name", uuid::Uuid::new_v4().to_string());
    }
    if kind.tracks_generation {
        value::set(object, "metadata.generation", 1);
    }
    if kind.has_status && registry::strategy(kind).resets_status() {
        value::remove(object, "status");
    }
    if let Some(status) = defaults::empty_status(kind.hub()) {
        value::set_default(object, "status", status);
    }
    Ok(())
}

/// Whether the name has to be made by the server.
pub(crate) fn wants_generated_name(object: &Value) -> bool {
    let set = |path| value::str_at(object, path).is_some_and(|s| !s.is_empty());
    !set("metadata.name") && set("metadata.generateName")
}

/// Makes a name of `generateName`.
pub(crate) fn generate_name(object: &mut Value) {
    let base = value::str_at(object, "metadata.generateName").unwrap_or_default().to_owned();
    value::set(object, "metadata.name", names::generate_name(&base, &mut rand::rng()));
}

/// What an update may not change is as it was.
pub(crate) fn on_update(new: &mut Value, old: &Value) {
    const KEPT: [&str; 7] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ];
    value::remove(new, "metadata.resourceVersion");
    value::remove(new, "metadata.selfLink");
    for field in KEPT {
        let path = format!("metadata.{field}");
        match value::get(old, &path) {
            Some(kept) => value::set(new, &path, kept.clone()),
            None => drop(value::remove(new, &path)),
        }
    }
}

/// Takes out owner references that stand twice; what to tell the client, where there were any. `admitted`: the object
/// is what admission has made of it.
pub(crate) fn dedup_owners(object: &mut Value, admitted: bool) -> Option<String> {
    let owners = value::list_at(object, "metadata.ownerReferences");
    if owners.len() < 2 {
        return None;
    }
    let mut seen = HashSet::with_capacity(owners.len());
    let (mut kept, mut repeated) = (Vec::new(), Vec::new());
    for owner in owners {
        if !seen.insert(owner) {
            repeated.push(value::str_at(owner, "uid").unwrap_or_default());
        } else {
            kept.push(owner.clone());
        }
    }
    if repeated.is_empty() {
        return None;
    }
    let when = if admitted { " after mutating admission happens" } else { "" };
    let warning = format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and \
         may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    );
    value::set(object, "metadata.ownerReferences", kept);
    Some(warning)
}

fn differs(new: &Value, old: &Value, path: &str) -> bool {
    value::get(new, path) != value::get(old, path)
}

/// Whether a write of the main resource raises the generation.
fn raises(kind: &KindInfo, new: &Value, old: &Value) -> bool {
    match kind.generation {
        Generation::Untracked | Generation::Fixed => false,
        Generation::Spec | Generation::LaterSpec => differs(new, old, "spec"),
        Generation::SpecAndAnnotations => differs(new, old, "spec") || differs(new, old, "metadata.annotations"),
        Generation::Content | Generation::ContentAndStatus | Generation::ContentAndLabels => {
            let content = |v: &Value| {
                let mut v = v.clone();
                value::remove(&mut v, "metadata");
                if kind.generation != Generation::ContentAndStatus {
                    value::remove(&mut v, "status");
                }
                v
            };
            let with_labels = kind.generation == Generation::ContentAndLabels;
            content(new) != content(old) || (with_labels && differs(new, old, "metadata.labels"))
        }
    }
}

/// Raises the generation where the change asks for it. Both values must be in canonical form.
pub(crate) fn bump_generation(kind: &KindInfo, new: &mut Value, old: &Value) {
    if raises(kind, new, old) {
        let next = value::i64_at(old, "metadata.generation").unwrap_or(0) + 1;
        value::set(new, "metadata.generation", next);
    }
}

/// Marks an object for deletion: `at` is when it should be gone.
pub(crate) fn mark_deleted(object: &mut Value, at: Timestamp, grace_seconds: i64) {
    value::set(object, "metadata.deletionTimestamp", time(at));
    value::set(object, "metadata.deletionGracePeriodSeconds", grace_seconds);
    if let Some(generation) = value::i64_at(object, "metadata.generation").filter(|g| *g > 0) {
        value::set(object, "metadata.generation", generation + 1);
    }
}

/// Whether the object is marked for deletion.
pub(crate) fn is_deleting(object: &Value) -> bool {
    value::str_at(object, "metadata.deletionTimestamp").is_some()
}

/// Whether anything still holds the object.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    !value::list_at(object, "metadata.finalizers").is_empty()
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;
    use serde_json::json;

    use super::*;

    #[test]
    fn new_objects_get_their_system_fields() {
        let kind = kinds::by_resource("apps", "v1", "deployments").expect("served");
        let mut object =
            json!({"metadata": {"name": "a", "uid": "mine", "deletionTimestamp": "x"}, "status": {"replicas": 1}});
        on_create(kind, &mut object, Timestamp::from_second(0).expect("in range")).expect("allowed");
        assert_ne!(object["metadata"]["uid"], "mine");
        assert_eq!(object["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(object["metadata"]["generation"], 1);
        assert!(!is_deleting(&object));
        assert_eq!(object["status"], json!({}));
        let limits = kinds::by_resource("", "v1", "limitranges").expect("served");
        for (metadata, named) in [(json!({}), true), (json!({"generateName": "a-"}), false)] {
            let mut object = json!({"metadata": metadata});
            on_create(limits, &mut object, Timestamp::UNIX_EPOCH).expect("allowed");
            assert_eq!(object["metadata"].get("name").is_some(), named);
        }
        let driver = kinds::by_resource("storage.k8s.io", "v1", "csidrivers").expect("served");
        let mut object = json!({"metadata": {"name": "a"}});
        on_create(driver, &mut object, Timestamp::UNIX_EPOCH).expect("allowed");
        assert_eq!(object["metadata"].get("generation"), None);
        let mut chosen = json!({"metadata": {"name": "a", "resourceVersion": "7"}});
        assert_eq!(on_create(kind, &mut chosen, Timestamp::UNIX_EPOCH).expect_err("refused").code, 500);
    }

    #[test]
    fn an_owner_that_stands_twice_stands_once() {
        let owner = |uid: &str, name: &str| json!({"uid": uid, "name": name});
        let owned = |owners: &[Value]| json!({"metadata": {"ownerReferences": owners}});
        let mut plain = owned(&[owner("a", "x"), owner("a", "y"), owner("b", "x")]);
        assert_eq!((dedup_owners(&mut plain, false), dedup_owners(&mut json!({}), true)), (None, None));
        assert_eq!(value::list_at(&plain, "metadata.ownerReferences").len(), 3, "another name, another reference");
        let (a, b) = (owner("a", "x"), owner("b", "x"));
        let given = owned(&[a.clone(), b.clone(), a.clone(), b.clone(), a.clone()]);
        for (admitted, when) in [(false, ""), (true, " after mutating admission happens")] {
            let mut object = given.clone();
            let warning = dedup_owners(&mut object, admitted).expect("a warning");
            assert_eq!(
                warning,
                format!(
                    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in \
                     1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) \
                     observed: a, b, a"
                )
            );
            assert_eq!(object, owned(&[a.clone(), b.clone()]));
        }
    }

    #[test]
    fn the_generation_follows_the_spec() {
        let check = |resource: (&str, &str), new: &Value, raised: bool| {
            let kind = kinds::by_resource(resource.0, "v1", resource.1).expect("served");
            let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}});
            let mut new = new.clone();
            bump_generation(kind, &mut new, &old);
            assert_eq!(new["metadata"]["generation"] == 4, raised, "{new}");
        };
        check(("apps", "replicasets"), &json!({"metadata": {"generation": 3}, "spec": {"a": 2}}), true);
        check(
            ("apps", "replicasets"),
            &json!({"metadata": {"generation": 3, "labels": {"x": "y"}}, "spec": {"a": 1}}),
            false,
        );
        check(
            ("apps", "deployments"),
            &json!({"metadata": {"generation": 3, "annotations": {"x": "y"}}, "spec": {"a": 1}}),
            true,
        );
        check(("storage.k8s.io", "csidrivers"), &json!({"metadata": {"generation": 3}, "spec": {"a": 2}}), true);
        check(("", "services"), &json!({"metadata": {"generation": 3}, "spec": {"a": 2}}), false);
    }
}
