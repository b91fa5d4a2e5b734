//! The difference of two statuses as a strategic merge patch; pure.

use serde_json::{Map, Value, json};

/// The fields of a pod's status that are merged by key instead of replaced.
const MERGED: [(&str, &str); 3] = [("conditions", "type"), ("podIPs", "ip"), ("hostIPs", "ip")];

/// The patch that turns `old` into `new`, or `None` when nothing differs. The UID makes it fail on another object.
pub(crate) fn status(uid: &str, old: &Value, new: &Value) -> Option<Value> {
    let (old, new) = (&without_empties(old), &without_empties(new));
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut fields = Map::new();
    for (name, value) in new {
        let before = old.get(name);
        if before == Some(value) {
            continue;
        }
        match MERGED.iter().find(|(field, _)| field == name) {
            Some((_, key)) => merged(&mut fields, name, key, before, value),
            None => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fields.insert(name.clone(), Value::Null);
    }
    (!fields.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": fields}))
}

/// The value without members that say nothing. The API server prints some of them where nobody has set them, as upstream's does
/// (`lastState: {}`): they must not look like a difference, which would be written for ever.
fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, value)| (name.clone(), without_empties(value)));
            Value::Object(kept.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_empties).collect()),
        other => other.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// Only the entries that changed, the order of all, and a directive for those that went.
fn merged(fields: &mut Map<String, Value>, name: &str, key: &str, before: Option<&Value>, value: &Value) {
    let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(before), list(Some(value)));
    let of = |entry: &Value| entry.get(key).cloned().unwrap_or_default();
    let mut changed: Vec<Value> = after
        .iter()
        .filter(|entry| !before.contains(entry))
        .map(|e| {
            let was = before.iter().find(|b| of(b) == of(e));
            with_removed_fields(was, e)
        })
        .collect();
    let gone = before.iter().filter(|entry| !after.iter().any(|a| of(a) == of(entry)));
    changed.extend(gone.map(|entry| {
        let mut directive = Map::new();
        directive.insert("$patch".to_owned(), "delete".into());
        directive.insert(key.to_owned(), of(entry));
        Value::Object(directive)
    }));
    let order: Vec<Value> = after.iter().map(|entry| json!({key: of(entry)})).collect();
    fields.insert(format!("$setElementOrder/{name}"), Value::Array(order));
    fields.insert(name.to_owned(), Value::Array(changed));
}

/// An entry whose fields that are gone are set to null: a merge would keep them.
fn with_removed_fields(before: Option<&Value>, entry: &Value) -> Value {
    let mut entry = entry.clone();
    let gone: Vec<String> = before
        .and_then(Value::as_object)
        .map(|b| b.keys().filter(|name| entry.get(name.as_str()).is_none()).cloned().collect())
        .unwrap_or_default();
    if let Some(fields) = entry.as_object_mut() {
        fields.extend(gone.into_iter().map(|name| (name, Value::Null)));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_prints_of_itself_is_no_difference() {
        let container = json!({"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let condition = json!({"type": "Ready", "status": "True"});
        let new = json!({"phase": "Running", "conditions": [condition], "containerStatuses": [container]});
        let mut printed = new.clone();
        printed["containerStatuses"][0]["lastState"] = json!({});
        printed["conditions"][0]["lastProbeTime"] = Value::Null;
        assert_eq!(status("u", &printed, &new), None);
        assert_eq!(status("u", &new, &printed), None);
        printed["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 1}});
        let expected = json!({"metadata": {"uid": "u"}, "status": {"containerStatuses": new["containerStatuses"]}});
        assert_eq!(status("u", &printed, &new), Some(expected));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = json!({
            "phase": "Pending", "reason": "x", "hostIP": "1.1.1.1",
            "conditions": [{"type": "Ready", "status": "False", "reason": "R"}, {"type": "PodScheduled", "status": "True"}],
        });
        assert_eq!(status("u", &old, &old), None);
        let new = json!({
            "phase": "Running", "hostIP": "1.1.1.1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "c"}],
        });
        assert_eq!(
            status("u", &old, &new).unwrap(),
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null, "containerStatuses": [{"name": "c"}],
                "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "PodScheduled"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}],
            }})
        );
    }

    #[test]
    fn entries_that_went_are_deleted_by_key() {
        let patch = status("u", &json!({"podIPs": [{"ip": "a"}]}), &json!({"podIPs": [{"ip": "b"}]})).unwrap();
        assert_eq!(patch["status"]["podIPs"], json!([{"ip": "b"}, {"$patch": "delete", "ip": "a"}]));
    }
}
