use serde_json::json;

use super::*;

#[test]
fn values_are_shown_as_the_internal_structures_of_upstream() {
    let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "k", "operator": "In"}]});
    let cases = [
        (
            "*meta/v1.LabelSelector",
            selector,
            r#"{"matchLabels":{"a":"1","b":"2"},"matchExpressions":[{"key":"k","operator":"In"}]}"#,
        ),
        ("*meta/v1.LabelSelector", json!(null), r#""null""#),
        ("*meta/v1.LabelSelector", json!({}), "{}"),
        ("[]string", json!(null), "null"),
        ("[]string", json!(["<a>"]), r#"["\u003ca\u003e"]"#),
        ("map:string", json!(null), "null"),
        ("string", json!(null), r#""""#),
        ("*string", json!(null), r#""null""#),
        ("time", json!(null), "null"),
        ("*int", json!(3), "3"),
        (
            "core/v1.Taint",
            json!({"key": "k", "effect": "NoSchedule"}),
            r#"{"Key":"k","Value":"","Effect":"NoSchedule","TimeAdded":null}"#,
        ),
        ("apps/v1.DeploymentStrategy", json!({"type": "x"}), r#"{"Type":"x","RollingUpdate":null}"#),
        (
            "apps/v1.DeploymentStrategy",
            json!({"type": "x", "rollingUpdate": {"maxSurge": "25%"}}),
            r#"{"Type":"x","RollingUpdate":{"MaxUnavailable":0,"MaxSurge":"25%"}}"#,
        ),
        (
            "*core/v1.VolumeNodeAffinity",
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "h", "operator": "In", "values": ["n"]}]}]}}),
            r#"{"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"h","Operator":"In","Values":["n"]}],"MatchFields":null}]}}"#,
        ),
        // Fields of embedded structures are the outer one's.
        ("core/v1.SecretKeySelector", json!({"name": "s", "key": "k"}), r#"{"Name":"s","Key":"k","Optional":null}"#),
    ];
    for (ty, value, expected) in cases {
        assert_eq!(shown(ty, &value), expected, "{ty}");
    }
}

#[test]
fn templates_of_pods_are_shown_with_labels_inline_and_what_is_the_hosts_in_the_security_context() {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": true, "containers": [{"name": "c"}]}});
    let found = shown("*core/v1.PodTemplateSpec", &template);
    let head = r#"{"labels":{"a":"b"},"Spec":{"Volumes":null,"InitContainers":null,"Containers":[{"Name":"c","Image":"","Command":null,"#;
    assert!(found.starts_with(head), "{found}");
    let context =
        r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,"#;
    assert!(found.contains(context), "{found}");
}

#[test]
fn every_type_of_the_facts_is_one_of_the_table_and_has_its_fields() {
    let table = TypeTable::builtin();
    for (name, parts) in structures() {
        let embedded = |part: &&Part| part.embedded().is_none();
        for part in parts.iter().filter(embedded) {
            let target = part.ty.trim_start_matches(['*', '[', ']']);
            let target = target.strip_prefix("map:").unwrap_or(target);
            let scalars = ["string", "bool", "int", "float", "time", "quantity", "intstr", "bytes", "raw"];
            assert!(scalars.contains(&target) || structures().contains_key(target), "{name} {part:?}");
            let Some(ty) = table.ty(name) else { continue };
            let is_list = part.ty.starts_with("[]");
            let host = *name == "core/v1.PodSecurityContext" && OF_THE_HOST.contains(&part.json);
            assert!(
                host || ty.fields.get(part.json).is_some_and(|f| f.declared.starts_with("[]") == is_list),
                "{name} {part:?}"
            );
        }
    }
}

#[test]
fn every_field_of_the_table_is_in_the_facts() {
    fn names(parts: &[Part]) -> Vec<&'static str> {
        let inner = |part: &Part| match part.embedded() {
            Some(of) if part.json.is_empty() => names(super::parts(of).unwrap_or_default()),
            _ => vec![part.json],
        };
        parts.iter().flat_map(inner).collect()
    }
    for (name, parts) in structures() {
        let Some(ty) = TypeTable::builtin().ty(name) else { continue };
        let known = names(parts);
        for (field, _) in ty.fields.iter() {
            let elsewhere = *name == "core/v1.PodSpec" && (OF_THE_HOST.contains(field) || *field == "serviceAccount");
            assert!(elsewhere || known.contains(field), "{name} {field}");
        }
    }
}
