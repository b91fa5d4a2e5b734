//! Discovery documents as text, their fields in the order in which upstream declares them.
//!
//! Other documents come in the order of the canonical form. These have no canonical form to keep, and scripts that read them
//! without a JSON parser (upstream's own tests of kubectl among them) take the order for granted.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::{Object, Value};

/// The fields of the documents themselves; `/version` is one of them.
const ROOT: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "groupVersion",
    "name",
    "versions",
    "preferredVersion",
    "groups",
    "serverAddressByClientCIDRs",
    "resources",
    "items",
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];

/// The fields of the objects below a field. Where the older and the aggregated form share its name, both orders are one.
const BELOW: &[(&str, &[&str])] = &[
    ("groups", ROOT),
    ("versions", &["groupVersion", "version", "resources", "freshness"]),
    ("preferredVersion", &["groupVersion", "version"]),
    ("serverAddressByClientCIDRs", &["clientCIDR", "serverAddress"]),
    ("items", ROOT),
    (
        "resources",
        &[
            "name",
            "singularName",
            "namespaced",
            "group",
            "version",
            "kind",
            "resource",
            "responseKind",
            "scope",
            "singularResource",
            "verbs",
            "shortNames",
            "categories",
            "subresources",
            "storageVersionHash",
        ],
    ),
    ("subresources", &["subresource", "responseKind", "acceptedTypes", "verbs"]),
    ("responseKind", &["group", "version", "kind"]),
    ("acceptedTypes", &["group", "version", "kind"]),
];

/// A discovery document, or that of `/version`, as compact JSON.
#[must_use]
pub fn text(document: &Value) -> String {
    // Values have text for keys and no form of their own that could fail.
    serde_json::to_string(&Ordered { value: document, order: ROOT }).unwrap_or_default()
}

struct Ordered<'a> {
    value: &'a Value,
    order: &'static [&'static str],
}

impl Ordered<'_> {
    fn fields<S: Serializer>(&self, object: &Object, serializer: S) -> Result<S::Ok, S::Error> {
        let place = |name: &str| self.order.iter().position(|known| *known == name).unwrap_or(self.order.len());
        let mut fields: Vec<(&String, &Value)> = object.iter().collect();
        // What others say beyond it follows, as it comes.
        fields.sort_by_key(|(name, _)| place(name));
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields {
            let order = BELOW.iter().find(|(field, _)| field == name).map_or(&[][..], |(_, order)| order);
            map.serialize_entry(name, &Ordered { value, order })?;
        }
        map.end()
    }
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(object) => self.fields(object, serializer),
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    seq.serialize_element(&Ordered { value, order: self.order })?;
                }
                seq.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Root, aggregated, group, group_list, resource_list};
    use crate::kinds::Kinds;

    #[test]
    fn fields_come_in_upstreams_order() {
        let kinds = Kinds::builtin();
        let core = text(&resource_list(&kinds, "", "v1").expect("served"));
        let check = |whole: &str, part: &str| assert!(whole.contains(part), "{part} is not in {whole}");
        check(&core, r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"bindings","#);
        check(
            &core,
            r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":"#,
        );
        check(
            &core,
            r#"{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}"#,
        );
        let named = text(&resource_list(&kinds, "apps", "v1").expect("served"));
        check(&named, r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"apps/v1","resources":["#);
        let apps = r#""name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}"#;
        check(&text(&group_list(&kinds)), apps);
        check(
            &text(&group(&kinds, "apps").expect("served")),
            &format!(r#"{{"kind":"APIGroup","apiVersion":"v1",{apps}"#),
        );
        let all = text(&aggregated(&kinds, Root::Apis));
        check(
            &all,
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":""#,
        );
        check(
            &all,
            r#""subresources":[{"subresource":"scale","responseKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"verbs":["#,
        );
        check(&all, r#"],"freshness":"Current"}]}"#);
    }

    #[test]
    fn nothing_is_lost() {
        let kinds = Kinds::builtin();
        for document in [aggregated(&kinds, Root::Api), aggregated(&kinds, Root::Apis), group_list(&kinds)] {
            assert_eq!(serde_json::from_str::<Value>(&text(&document)).expect("it is JSON"), document);
        }
        let unknown = serde_json::json!({"kind": "X", "b": 1, "a": [{"z": null}]});
        assert_eq!(text(&unknown), r#"{"kind":"X","a":[{"z":null}],"b":1}"#);
    }
}
