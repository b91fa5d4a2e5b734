//! A configuration laid over an object without anybody owning anything: what mutating policies do.

use super::rule::{Rule, array, object};
use super::{check, merge};
use crate::Value;
use crate::table::Type;

/// The object with everything that the configuration says, merged as an apply would.
///
/// # Errors
/// In upstream's words, for a configuration that is not of the type, or that holds a list or map which is only set as a whole:
/// whoever means to add to one would take away what it holds.
pub fn overlay(live: &Value, config: &Value, ty: &Type) -> Result<Value, String> {
    check::typed(config, ty).map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let mut atomics = Vec::new();
    find_atomics(config, Rule::Struct(ty), &mut String::new(), &mut atomics);
    if !atomics.is_empty() {
        let found = atomics.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {found}"));
    }
    Ok(merge::merge(live, config, ty))
}

/// Collects the paths of lists and maps that merge as a whole.
fn find_atomics(value: &Value, rule: Rule<'_>, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (value, rule) {
        (Value::Object(_) | Value::Array(_), Rule::Leaf) => found.push(path.clone()),
        (Value::Object(_), Rule::Struct(_)) => {
            for (name, field) in object(Some(value)).into_iter().flatten() {
                path.push('.');
                path.push_str(name);
                find_atomics(field, rule.entry(name), path, found);
                path.truncate(length);
            }
        }
        (Value::Array(_), Rule::Keyed(..)) => {
            for (index, item) in array(Some(value)).iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                find_atomics(item, rule.item(), path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::TypeTable;

    fn check(config: Value, expected: Result<Value, &str>) {
        let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "args": ["x"]}]}});
        let ty = TypeTable::builtin().ty("core/v1.Pod").expect("known");
        let got = overlay(&live, &config, ty);
        assert_eq!(got.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e), "{config}");
    }

    #[test]
    fn configurations_are_merged_and_never_replace() {
        check(
            json!({"metadata": {"labels": {"c": "d"}}, "spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "image": "k"}]}}),
            Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b", "c": "d"}},
                "spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "image": "k", "args": ["x"]}]}})),
        );
        check(
            json!({"spec": {"containers": [{"name": "c", "args": ["y"]}]}}),
            Err("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args"),
        );
        check(
            json!({"spec": {"nonsense": 1}}),
            Err("failed to convert patch object to typed object: .spec.nonsense: field not declared in schema"),
        );
    }
}
