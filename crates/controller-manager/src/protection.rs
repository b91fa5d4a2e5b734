//! Finalizers that keep what is in use: put on what lacks them, taken off what is to go and that nobody uses.

use gantry_api::value;
use gantry_client::{Change, Client, Key, Object, View, WriteParams, resource_of};
use gantry_controller::{Doing, Error};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// What an object's finalizer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// It was made before admission protected its like: protect it.
    Hold,
    /// It is to go, and held: let it go once nobody uses it.
    Release,
}

/// What the metadata asks for.
#[must_use]
pub fn need(meta: &ObjectMeta, finalizer: &str) -> Need {
    let held = meta.finalizers.iter().flatten().any(|f| f == finalizer);
    needed(meta.deletion_timestamp.is_some(), held)
}

/// The key of what has changed, if its new state asks for anything.
#[must_use]
pub fn asking<K: Object>(change: &Change<K>, need: impl Fn(&K) -> Need) -> Vec<Key> {
    let asks = change.new.as_deref().is_some_and(|object| need(object) != Need::Nothing);
    asks.then(|| change.key.clone()).into_iter().collect()
}

fn needed(deleting: bool, held: bool) -> Need {
    match (deleting, held) {
        (true, true) => Need::Release,
        (false, false) => Need::Hold,
        (true, false) | (false, true) => Need::Nothing,
    }
}

/// Adds or removes the finalizer of the object that was seen, if it still asks for that.
///
/// The object is read afresh: what is not known here of its fields stays, and a namesake is left alone.
///
/// # Errors
/// A failed call; `Conflict` when the object changed in between.
pub async fn settle<K: Object>(client: &Client, seen: &K, finalizer: &str) -> Result<(), Error> {
    let key = seen.key();
    let wanted = need(seen.metadata(), finalizer);
    let api = client.dynamic(resource_of::<K>(), &key.namespace);
    let mut object = match api.get(&key.name, "", View::Full).await {
        Err(error) if error.is_not_found() => return Ok(()),
        found => found.doing(|| format!("read {}", what::<K>(&key)))?,
    };
    if value::str_at(&object, "metadata.uid") != Some(seen.uid()) || !turn(&mut object, finalizer, wanted) {
        return Ok(());
    }
    match api.update(&key.name, "", &object, &WriteParams::default()).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error).doing(|| {
            let verb = if wanted == Need::Hold { "add finalizer" } else { "remove finalizer" };
            format!("{verb} {finalizer} of {}", what::<K>(&key))
        }),
    }
}

fn what<K: Object>(key: &Key) -> String {
    format!("{} {key}", K::KIND)
}

/// Does what is wanted to the object's finalizers; `false` where it no longer asks for that.
fn turn(object: &mut Value, finalizer: &str, wanted: Need) -> bool {
    let mut finalizers = value::list_at(object, "metadata.finalizers").to_vec();
    let deleting = value::get(object, "metadata.deletionTimestamp").is_some_and(|t| !t.is_null());
    let held = finalizers.iter().any(|f| f == finalizer);
    if needed(deleting, held) != wanted {
        return false;
    }
    match wanted {
        Need::Nothing => return false,
        Need::Hold => finalizers.push(finalizer.into()),
        Need::Release => finalizers.retain(|f| f != finalizer),
    }
    value::set(object, "metadata.finalizers", finalizers);
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finalizers_are_turned_where_the_object_still_asks_for_it() {
        let check = |deleting: bool, finalizers: Value, wanted, expected: Option<Value>| {
            let mut object = json!({"metadata": {"finalizers": finalizers}});
            if deleting {
                object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            let meta: ObjectMeta = serde_json::from_value(object["metadata"].clone()).expect("metadata");
            assert_eq!(need(&meta, "a/b") == wanted, expected.is_some(), "{object} {wanted:?}");
            assert_eq!(turn(&mut object, "a/b", wanted), expected.is_some());
            if let Some(expected) = expected {
                assert_eq!(object["metadata"]["finalizers"], expected);
            }
        };
        check(true, json!(["x/y", "a/b"]), Need::Release, Some(json!(["x/y"])));
        check(true, json!(["x/y"]), Need::Release, None);
        check(false, json!(["a/b"]), Need::Release, None);
        check(false, json!(["x/y"]), Need::Hold, Some(json!(["x/y", "a/b"])));
        check(false, json!(["a/b"]), Need::Hold, None);
        check(true, json!([]), Need::Hold, None);
    }
}
