//! Who owns an object: the controller reference, adoption and release.

use gantry_client::{Key, Object, Patch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

/// The owner that controls the object, of which there is at most one.
#[must_use]
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref()?.iter().find(|r| r.controller == Some(true))
}

/// The uid of the controlling owner, or "".
#[must_use]
pub fn controller_uid(meta: &ObjectMeta) -> &str {
    controller_of(meta).map_or("", |r| &r.uid)
}

/// The key of the controlling owner, if it is of kind `K`.
#[must_use]
pub fn controller_key<K: Object>(meta: &ObjectMeta) -> Option<Key> {
    let owner = controller_of(meta)?;
    // The version is left out of the comparison: an owner may have been written in another one.
    let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    (owner.kind == K::KIND && group == K::GROUP)
        .then(|| Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// A reference that makes `owner` the controller and lets its foreground deletion wait for the object.
#[must_use]
pub fn reference<K: Object>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: owner.metadata().name.clone().unwrap_or_default(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What an object is to a would-be owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Owned already, and it still matches.
    Owned,
    /// Matches and has no controller: take it.
    Adopt,
    /// Owned, but it no longer matches: let it go.
    Release,
    /// None of the owner's business.
    Ignore,
}

/// Decides what `object` is to `owner`, whose selector says `matches`.
#[must_use]
pub fn claim(owner: &ObjectMeta, object: &ObjectMeta, matches: bool) -> Claim {
    let deleting = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(by) if Some(&by.uid) == owner.uid.as_ref() => match (matches, deleting) {
            (true, _) => Claim::Owned,
            // An owner that is on its way out neither takes nor releases; the garbage collector knows what to do.
            (false, true) => Claim::Ignore,
            (false, false) => Claim::Release,
        },
        Some(_) => Claim::Ignore,
        None if !matches || deleting || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The patch that makes `owner` the controller of the object with `uid`.
#[must_use]
pub fn adopt<K: Object>(owner: &K, uid: &str) -> Patch {
    Patch::Strategic(json!({"metadata": {"ownerReferences": [reference(owner)], "uid": uid}}))
}

/// The patch that removes the reference to the owner with `owner_uid` from the object with `uid`.
#[must_use]
pub fn release(owner_uid: &str, uid: &str) -> Patch {
    Patch::Strategic(json!({
        "metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner_uid}], "uid": uid}
    }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::apps::v1::{Deployment, ReplicaSet},
        apimachinery::pkg::apis::meta::v1::Time,
    };

    use super::*;

    fn owned_by(uid: &str) -> ObjectMeta {
        let owner = OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "ReplicaSet".to_owned(),
            name: "web-1".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        ObjectMeta { namespace: Some("ns".to_owned()), owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    fn deleting(mut meta: ObjectMeta) -> ObjectMeta {
        meta.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        meta
    }

    #[test]
    fn claims() {
        let check = |owner: &ObjectMeta, object: ObjectMeta, matches, expected| {
            assert_eq!(claim(owner, &object, matches), expected, "{object:?} matches={matches}");
        };
        let me = ObjectMeta { uid: Some("me".to_owned()), ..ObjectMeta::default() };
        let leaving = deleting(me.clone());
        check(&me, owned_by("me"), true, Claim::Owned);
        check(&me, owned_by("me"), false, Claim::Release);
        check(&me, owned_by("other"), true, Claim::Ignore);
        check(&me, ObjectMeta::default(), true, Claim::Adopt);
        check(&me, ObjectMeta::default(), false, Claim::Ignore);
        check(&me, deleting(ObjectMeta::default()), true, Claim::Ignore);
        check(&leaving, owned_by("me"), true, Claim::Owned);
        check(&leaving, owned_by("me"), false, Claim::Ignore);
        check(&leaving, ObjectMeta::default(), true, Claim::Ignore);
    }

    #[test]
    fn the_controller_counts_only_with_its_kind() {
        let meta = owned_by("u");
        assert_eq!(controller_key::<ReplicaSet>(&meta), Some(Key::new("ns", "web-1")));
        assert_eq!(controller_key::<Deployment>(&meta), None);
        assert_eq!(controller_uid(&meta), "u");
        assert_eq!(controller_uid(&ObjectMeta::default()), "");
    }
}
