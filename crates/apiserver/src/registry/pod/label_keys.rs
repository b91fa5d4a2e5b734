//! `matchLabelKeys` and `mismatchLabelKeys`: names of labels whose values a new pod's own selectors take from the pod.

use gantry_api::{Object, Value, value};
use serde_json::json;

const AFFINITIES: [&str; 2] = ["podAffinity", "podAntiAffinity"];
/// The longest value of a label.
const VALUE_BYTES_MAX: usize = 63;
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Puts what the keys stand for into the selectors of the pod's affinity terms and spread constraints. A term without a
/// selector selects nothing, and so it stays.
pub(super) fn apply(pod: &mut Value) {
    let Some(labels) = value::map_at(pod, "metadata.labels").cloned() else { return };
    let Some(spec) = pod.get_mut("spec") else { return };
    if let Some(affinity) = spec.get_mut("affinity") {
        for of in AFFINITIES {
            let Some(terms) = affinity.get_mut(of) else { continue };
            list_mut(terms, REQUIRED).iter_mut().for_each(|term| one(term, &labels));
            let weighted = list_mut(terms, PREFERRED).iter_mut();
            weighted.filter_map(|w| w.get_mut("podAffinityTerm")).for_each(|term| one(term, &labels));
        }
    }
    list_mut(spec, "topologySpreadConstraints").iter_mut().for_each(|constraint| one(constraint, &labels));
}

fn list_mut<'a>(of: &'a mut Value, key: &str) -> &'a mut [Value] {
    of.get_mut(key).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

fn one(term: &mut Value, labels: &Object) {
    let mut added = Vec::new();
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in value::list_at(term, keys).iter().filter_map(Value::as_str) {
            // A longer one is no value of a label: the pod will be refused, and its value is not repeated before for each key.
            if let Some(own) =
                labels.get(key).filter(|own| own.as_str().is_some_and(|own| own.len() <= VALUE_BYTES_MAX))
            {
                added.push(json!({"key": key, "operator": operator, "values": [own]}));
            }
        }
    }
    if added.is_empty() || !term.get("labelSelector").is_some_and(Value::is_object) {
        return;
    }
    let Some(selector) = value::object_mut(term, "labelSelector") else { return };
    match selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        Some(list) => list.append(&mut added),
        None => drop(selector.insert("matchExpressions".to_owned(), Value::Array(added))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_long_values_are_not_repeated() {
        let keys = vec!["a"; 10_000];
        let constraint = json!({"labelSelector": {}, "matchLabelKeys": keys});
        let mut pod = json!({"metadata": {"labels": {"a": "v".repeat(1 << 20)}}, "spec": {"topologySpreadConstraints": [constraint]}});
        let before = pod.clone();
        apply(&mut pod);
        assert!(pod == before);
    }

    #[test]
    fn keys_become_requirements_on_the_values_that_the_pod_has() {
        let both = json!({"labelSelector": {"matchLabels": {"app": "a"}}, "matchLabelKeys": ["hash", "none"],
            "mismatchLabelKeys": ["tenant"], "topologyKey": "zone"});
        let without = json!({"matchLabelKeys": ["hash"], "topologyKey": "zone"});
        let constraint = json!({"labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
            "matchLabelKeys": ["hash"], "maxSkew": 1});
        let mut pod = json!({"metadata": {"labels": {"hash": "h", "tenant": "t"}}, "spec": {
            "affinity": {"podAffinity": {REQUIRED: [both, without]},
                "podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": both}]}},
            "topologySpreadConstraints": [constraint]}});
        apply(&mut pod);
        let of = |operator: &str, key: &str, value: &str| json!({"key": key, "operator": operator, "values": [value]});
        let wanted = json!([of("In", "hash", "h"), of("NotIn", "tenant", "t")]);
        let affinity = &pod["spec"]["affinity"];
        assert_eq!(affinity["podAffinity"][REQUIRED][0]["labelSelector"]["matchExpressions"], wanted);
        assert_eq!(affinity["podAffinity"][REQUIRED][1], without, "no selector selects nothing");
        let term = &affinity["podAntiAffinity"][PREFERRED][0]["podAffinityTerm"];
        assert_eq!(term["labelSelector"]["matchExpressions"], wanted);
        let spread = &pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"];
        assert_eq!(*spread, json!([{"key": "app", "operator": "Exists"}, of("In", "hash", "h")]));
    }
}
