//! `pods/resize`: what containers may use, changed while they run.

use gantry_api::{Value, value};

/// What a container's resize consists of.
const RESIZED: [&str; 2] = ["resources", "resizePolicy"];

/// The old pod with the resources that `new` gives its containers and itself. A list of containers that is not the old one
/// stays as it is given, so that validation can say so.
pub(crate) fn confined(old: &Value, mut new: Value) -> Value {
    let mut pod = old.clone();
    move_over(&mut new, &mut pod, "metadata.managedFields");
    move_over(&mut new, &mut pod, "spec.resources");
    for list in ["spec.containers", "spec.initContainers"] {
        let given = value::remove(&mut new, list).unwrap_or_default();
        let merged = merged(value::list_at(old, list), given);
        if merged.as_array().is_some_and(|containers| !containers.is_empty()) {
            value::set(&mut pod, list, merged);
        } else {
            drop(value::remove(&mut pod, list));
        }
    }
    pod
}

/// Makes what is at `path` of `to` what it is in `from`.
fn move_over(from: &mut Value, to: &mut Value, path: &str) {
    match value::remove(from, path) {
        Some(given) => value::set(to, path, given),
        None => drop(value::remove(to, path)),
    }
}

fn merged(old: &[Value], given: Value) -> Value {
    let same = given.as_array().is_some_and(|given| {
        given.len() == old.len() && given.iter().zip(old).all(|(new, old)| new.get("name") == old.get("name"))
    });
    let Value::Array(mut given) = given else { return given };
    if !same {
        return Value::Array(given);
    }
    for (given, old) in given.iter_mut().zip(old) {
        let mut container = old.clone();
        for field in RESIZED {
            move_over(given, &mut container, field);
        }
        *given = container;
    }
    Value::Array(given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_resources_are_taken() {
        let old = json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "b"}]}});
        let given = json!({"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [
            {"name": "a", "image": "j", "resources": {"limits": {"cpu": "1"}}}], "initContainers": [{"name": "b", "image": "k"}]}});
        let mut expected = old.clone();
        expected["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
        assert_eq!(confined(&old, given), expected);
        let renamed = json!({"spec": {"containers": [{"name": "z"}], "initContainers": [{"name": "b"}]}});
        assert_eq!(confined(&old, renamed)["spec"]["containers"], json!([{"name": "z"}]));
        let gone = json!({"spec": {"containers": [{"name": "a"}]}});
        assert_eq!(confined(&old, gone)["spec"].get("initContainers"), None);
    }
}
