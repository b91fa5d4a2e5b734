//! What enumerated fields may hold, as documents state it: in `enum`, and at the end of the field's description (KEP-2887).

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::Value;

const ENUMS: &str = include_str!("../../facts/enums.tsv");
/// The package whose types fields of all packages are of, such as `v1.Protocol`.
const CORE: &str = "core/v1";

/// All enumerations, by the name of their type (`core/v1.PullPolicy`).
pub(super) struct Enums(HashMap<&'static str, Enum>);

/// One of them: its values in their order, each with what it means, which may be nothing.
#[derive(Default)]
pub(super) struct Enum(Vec<(&'static str, &'static str)>);

impl Enums {
    pub(super) fn read() -> Self {
        let mut found: HashMap<&'static str, Enum> = HashMap::new();
        for line in ENUMS.lines().skip(1).filter(|line| !line.starts_with('#')) {
            if let Some((name, (value, meaning))) =
                line.split_once('\t').and_then(|(name, rest)| Some((name, rest.split_once('\t')?)))
            {
                found.entry(name).or_default().0.push((value, meaning));
            }
        }
        Self(found)
    }

    /// The enumeration that a field of type `ty` (`core/v1.ServiceSpec`) is of, or that its items or values are of, by what Go calls
    /// the field's type (`[]v1.IPFamily`): one of its own package, or of the core group.
    pub(super) fn of(&self, ty: &str, go: &str) -> Option<&Enum> {
        let held = go.strip_prefix("[]").or_else(|| go.strip_prefix("map[")?.split_once(']').map(|(_, held)| held));
        let (_, name) = held.unwrap_or(go).split_once('.')?;
        let (package, _) = ty.rsplit_once('.')?;
        [package, CORE].iter().find_map(|package| self.0.get(format!("{package}.{name}").as_str()))
    }
}

impl Enum {
    /// The member `enum`: a list of text.
    pub(super) fn values(&self) -> Value {
        self.0.iter().map(|(value, _)| *value).collect()
    }

    /// A field's description with the values behind it, in the form of upstream's (kube-openapi, `enum.go`).
    pub(super) fn described(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str("Possible enum values:");
        for (value, meaning) in &self.0 {
            let _ = write!(text, "\n - `\"{value}\"` {meaning}");
            text.truncate(text.trim_end().len());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::TypeTable;

    #[test]
    fn fields_are_of_enumerations_of_their_own_package_or_of_the_core_group() {
        let enums = Enums::read();
        let check = |ty: &str, go: &str, expected: Option<Value>| {
            assert_eq!(enums.of(ty, go).map(Enum::values), expected, "{ty} {go}");
        };
        check("core/v1.PodSpec", "v1.RestartPolicy", Some(json!(["Always", "Never", "OnFailure"])));
        check("discovery/v1.EndpointPort", "v1.Protocol", Some(json!(["SCTP", "TCP", "UDP"])));
        check("core/v1.ServiceSpec", "[]v1.IPFamily", Some(json!(["", "IPv4", "IPv6"])));
        check(
            "core/v1.PersistentVolumeClaimStatus",
            "map[v1.ResourceName]v1.ClaimResourceStatus",
            Some(json!([
                "ControllerResizeInProgress",
                "ControllerResizeInfeasible",
                "NodeResizeInProgress",
                "NodeResizeInfeasible",
                "NodeResizePending"
            ])),
        );
        check("core/v1.NodeCondition", "v1.ConditionStatus", None);
        check("batch/v1.PodFailurePolicyRule", "v1.ScopeType", None);
    }

    #[test]
    fn descriptions_end_with_the_values() {
        let values = Enum(vec![("", "Nothing."), ("A", "")]);
        assert_eq!(values.described("Text."), "Text.\n\nPossible enum values:\n - `\"\"` Nothing.\n - `\"A\"`");
        assert_eq!(values.described(""), "Possible enum values:\n - `\"\"` Nothing.\n - `\"A\"`");
    }

    /// Values stand once each and in the order that documents list them in, and every enumeration is that of some field.
    #[test]
    fn the_table_is_in_order_and_all_of_it_is_used() {
        let enums = Enums::read();
        let mut used = HashMap::new();
        for ty in TypeTable::builtin().types() {
            for found in ty.fields.values().filter_map(|field| enums.of(ty.name, field.go?)) {
                used.insert(found.0.as_ptr(), ());
            }
        }
        for (name, found) in &enums.0 {
            assert!(found.0.is_sorted_by(|(a, _), (b, _)| a < b), "{name}: {:?}", found.0);
            assert!(used.contains_key(&found.0.as_ptr()), "no field is of {name}");
        }
        assert_eq!(enums.0.values().map(|found| found.0.len()).sum::<usize>(), ENUMS.lines().count() - 3);
    }
}
