//! The status of a definition: which names it was given, and whether it is established. Pure.

use std::collections::BTreeSet;

use gantry_api::Value;
use gantry_api::decode::time;
use gantry_api::validation::{self, Approval};
use gantry_api::value::{get, list_at, map_at, set, str_at};
use jiff::Timestamp;
use serde_json::json;

/// Kept by the API server; a custom kind of this name would lie over it.
const RESERVED: &str = "fences.gantry.dev";

/// Why a definition is not established yet: its names are given to it first. The next look at it does the rest.
pub(super) const INSTALLING: &str = "Installing";

const APPROVAL: &str = "KubernetesAPIApprovalPolicyConformant";

/// A condition of the definition.
pub(super) fn condition<'a>(definition: &'a Value, name: &str) -> Option<&'a Value> {
    list_at(definition, "status.conditions").iter().find(|c| str_at(c, "type") == Some(name))
}

/// Sets a condition; its time changes with its status alone.
pub(super) fn set_condition(definition: &mut Value, name: &str, says: (&str, &str, &str), now: Timestamp) {
    let (status, reason, message) = says;
    let before = condition(definition, name);
    let since = before.filter(|c| str_at(c, "status") == Some(status)).and_then(|c| get(c, "lastTransitionTime"));
    let since = since.cloned().unwrap_or_else(|| Value::from(time(now)));
    let mut entry =
        json!({"type": name, "status": status, "lastTransitionTime": since, "reason": reason, "message": message});
    if let Some(generation) = get(definition, "metadata.generation") {
        entry["observedGeneration"] = generation.clone();
    }
    let mut conditions = list_at(definition, "status.conditions").to_vec();
    match conditions.iter_mut().find(|c| str_at(c, "type") == Some(name)) {
        Some(own) => *own = entry,
        None => conditions.push(entry),
    }
    set(definition, "status.conditions", conditions);
}

/// Whether a condition says this already.
fn says(definition: &Value, name: &str, (status, reason, message): (&str, &str, &str)) -> bool {
    condition(definition, name).is_some_and(|c| {
        str_at(c, "status") == Some(status)
            && str_at(c, "reason") == Some(reason)
            && str_at(c, "message") == Some(message)
    })
}

/// The definition with the status that it should have; `None` where it has it. `group`: all definitions of its group.
pub(super) fn next(definition: &Value, group: &[&Value], now: Timestamp) -> Option<Value> {
    let (names, conflict) = accepted(definition, group);
    let naming = match &conflict {
        Some((reason, message)) => ("False", *reason, message.as_str()),
        None => ("True", "NoConflicts", "no conflicts found"),
    };
    let established = super::is_true(definition, "Established");
    // What is accepted is served first: by then the names stand in the status.
    let served = get(definition, "status.acceptedNames") == Some(&names) && super::is_true(definition, "NamesAccepted");
    let establishing = match (established, conflict.is_some(), served) {
        (true, ..) => None,
        (false, true, _) => Some(("False", "NotAccepted", "not all names are accepted")),
        (false, false, false) => Some(("False", INSTALLING, "the initial names have been accepted")),
        (false, false, true) if validation::has_no_authority(definition) => {
            Some(("False", "InvalidCABundle", "The conversion webhook CABundle is invalid"))
        }
        (false, false, true) => Some(("True", "InitialNamesAccepted", "the initial names have been accepted")),
    };
    let mut next = definition.clone();
    set(&mut next, "status.acceptedNames", names);
    if !says(definition, "NamesAccepted", naming) {
        set_condition(&mut next, "NamesAccepted", naming, now);
    }
    if let Some(establishing) = establishing.filter(|e| !says(definition, "Established", *e)) {
        set_condition(&mut next, "Established", establishing, now);
    }
    for (name, says) in [("NonStructuralSchema", structure(definition)), (APPROVAL, approval(definition))] {
        conform(&mut next, name, says, now);
    }
    (next != *definition).then_some(next)
}

/// Makes a condition say this, or nothing.
fn conform(next: &mut Value, name: &str, wanted: Option<(&str, &str, String)>, now: Timestamp) {
    match wanted {
        Some((status, reason, message)) if !says(next, name, (status, reason, &message)) => {
            set_condition(next, name, (status, reason, &message), now);
        }
        None if condition(next, name).is_some() => {
            let mut conditions = list_at(next, "status.conditions").to_vec();
            conditions.retain(|c| str_at(c, "type") != Some(name));
            set(next, "status.conditions", conditions);
        }
        _ => {}
    }
}

/// Why the schemas are not structural, if they are not.
fn structure(definition: &Value) -> Option<(&'static str, &'static str, String)> {
    let mut errors: Vec<String> = Vec::new();
    for error in validation::structural_errors(definition) {
        let text = error.to_string();
        if !errors.contains(&text) {
            errors.push(text);
        }
    }
    let message = match errors.as_slice() {
        [] => return None,
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(("True", "Violations", message))
}

/// Whether a name below domains of Kubernetes was approved.
fn approval(definition: &Value) -> Option<(&'static str, &'static str, String)> {
    Some(match validation::approval_state(definition)? {
        Approval::Approved(why) => ("True", "ApprovedAnnotation", why),
        Approval::Bypassed(why) => ("False", "UnapprovedAnnotation", why),
        Approval::Missing(why) => ("False", "MissingAnnotation", why),
        Approval::Invalid(why) => ("False", "InvalidAnnotation", why),
    })
}

/// Names that the other definitions of the group hold: of resources, and of kinds.
fn taken<'a>(definition: &Value, all: &[&'a Value]) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let own = str_at(definition, "metadata.name");
    let same_group = |d: &&Value| str_at(d, "spec.group") == str_at(definition, "spec.group");
    for other in all.iter().copied().filter(same_group).filter(|d| str_at(d, "metadata.name") != own) {
        let text = |path: &str| str_at(other, path).filter(|t| !t.is_empty());
        resources.extend(text("status.acceptedNames.plural").into_iter().chain(text("status.acceptedNames.singular")));
        resources.extend(list_at(other, "status.acceptedNames.shortNames").iter().filter_map(Value::as_str));
        kinds.extend(text("status.acceptedNames.kind").into_iter().chain(text("status.acceptedNames.listKind")));
    }
    (resources, kinds)
}

fn in_use(name: &str) -> String {
    format!("{name:?} is already in use")
}

/// Gives it the name that it wants, if nobody else has it.
fn accept(
    names: &mut Value,
    definition: &Value,
    name: &str,
    (reason, used): (&'static str, &BTreeSet<&str>),
) -> Option<(&'static str, String)> {
    let wanted = str_at(definition, &format!("spec.names.{name}")).unwrap_or_default();
    if wanted != str_at(names, name).unwrap_or_default() && used.contains(wanted) {
        return Some((reason, in_use(wanted)));
    }
    if !wanted.is_empty() {
        set(names, name, wanted);
    }
    None
}

/// The names that it may have, and why it may not have all that it wants.
fn accepted(definition: &Value, all: &[&Value]) -> (Value, Option<(&'static str, String)>) {
    let (resources, kinds) = taken(definition, all);
    let mut names =
        get(definition, "status.acceptedNames").filter(|n| n.is_object()).cloned().unwrap_or_else(|| json!({}));
    let mut conflict = None;
    if str_at(definition, "metadata.name") == Some(RESERVED) {
        let plural = str_at(definition, "spec.names.plural").unwrap_or_default();
        return (names, Some(("PluralConflict", in_use(plural))));
    }
    // Of several conflicts the last one is told.
    conflict = accept(&mut names, definition, "plural", ("PluralConflict", &resources)).or(conflict);
    conflict = accept(&mut names, definition, "singular", ("SingularConflict", &resources)).or(conflict);
    let wanted = list_at(definition, "spec.names.shortNames");
    let has = list_at(&names, "shortNames");
    let texts = wanted.iter().filter(|name| !has.contains(name)).filter_map(Value::as_str);
    let used: Vec<String> = texts.filter(|name| resources.contains(name)).map(in_use).collect();
    match used.as_slice() {
        [] => copy(&mut names, definition, "shortNames"),
        [only] => conflict = Some(("ShortNamesConflict", only.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    conflict = accept(&mut names, definition, "kind", ("KindConflict", &kinds)).or(conflict);
    conflict = accept(&mut names, definition, "listKind", ("ListKindConflict", &kinds)).or(conflict);
    copy(&mut names, definition, "categories");
    (names, conflict)
}

fn copy(names: &mut Value, definition: &Value, list: &str) {
    let wanted = map_at(definition, "spec.names")
        .and_then(|names| names.get(list))
        .filter(|l| l.as_array().is_some_and(|l| !l.is_empty()));
    match (wanted, names.as_object_mut()) {
        (Some(wanted), Some(names)) => drop(names.insert(list.to_owned(), wanted.clone())),
        (None, Some(names)) => drop(names.remove(list)),
        (_, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, kind: &str, short: &[&str]) -> Value {
        json!({"metadata": {"name": format!("{name}.example.com"), "generation": 1},
            "spec": {"group": "example.com", "names": {"plural": name, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short}}})
    }

    fn settled(mut definition: Value, others: &[Value]) -> (Value, usize) {
        let mut steps = 0;
        let others: Vec<&Value> = others.iter().collect();
        while let Some(next) = next(&definition, &others, Timestamp::UNIX_EPOCH) {
            definition = next;
            steps += 1;
            assert!(steps < 5, "{definition}");
        }
        (definition, steps)
    }

    fn says(definition: &Value, name: &str) -> String {
        let c = condition(definition, name).expect("a condition");
        let text = |path: &str| str_at(c, path).unwrap_or_default();
        format!("{} {} {}", text("status"), text("reason"), text("message"))
    }

    #[test]
    fn names_are_accepted_before_the_kind_is_established() {
        let (done, steps) = settled(definition("things", "Thing", &["th"]), &[]);
        assert_eq!(steps, 2);
        assert_eq!(done["status"]["acceptedNames"], done["spec"]["names"]);
        assert_eq!(says(&done, "NamesAccepted"), "True NoConflicts no conflicts found");
        assert_eq!(says(&done, "Established"), "True InitialNamesAccepted the initial names have been accepted");
        assert_eq!(done["status"]["conditions"][0]["observedGeneration"], 1);
    }

    #[test]
    fn kinds_whose_webhook_nobody_can_vouch_for_are_not_established() {
        let mut wrong = definition("things", "Thing", &[]);
        wrong["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"clientConfig": {"caBundle": "Cg=="}}});
        let (waiting, _) = settled(wrong, &[]);
        assert_eq!(says(&waiting, "NamesAccepted"), "True NoConflicts no conflicts found");
        let expected = "False InvalidCABundle The conversion webhook CABundle is invalid";
        assert_eq!(says(&waiting, "Established"), expected);
        let mut right = waiting;
        right["spec"]["conversion"]["webhook"]["clientConfig"] = json!({});
        assert!(super::super::is_true(&settled(right, &[]).0, "Established"));
    }

    #[test]
    fn names_of_others_are_refused() {
        let (first, _) = settled(definition("things", "Thing", &["th"]), &[]);
        let check = |name: &str, kind: &str, short: &[&str], expected: &str| {
            let (second, _) = settled(definition(name, kind, short), std::slice::from_ref(&first));
            assert_eq!(says(&second, "NamesAccepted"), expected);
            assert_eq!(says(&second, "Established"), "False NotAccepted not all names are accepted");
            // It gets the names once the other has gone.
            let (freed, _) = settled(second, &[]);
            assert_eq!(says(&freed, "NamesAccepted"), "True NoConflicts no conflicts found");
        };
        check("others", "Thing", &[], "False ListKindConflict \"ThingList\" is already in use");
        check("th", "Other", &[], "False PluralConflict \"th\" is already in use");
        check("others", "Thing", &["th"], "False ListKindConflict \"ThingList\" is already in use");
        check("others", "Other", &["th", "ot"], "False ShortNamesConflict \"th\" is already in use");
    }

    #[test]
    fn names_are_compared_with_those_of_definitions_alone() {
        let check = |group: &str, plural: &str, expected: &str| {
            let mut definition = definition(plural, "Thing", &[]);
            set(&mut definition, "spec.group", group);
            set(&mut definition, "metadata.name", format!("{plural}.{group}"));
            let (done, _) = settled(definition, &[]);
            assert_eq!(says(&done, "NamesAccepted"), expected, "{plural}");
        };
        check("apiextensions.k8s.io", "customresourcedefinitions", "True NoConflicts no conflicts found");
        check("networking.k8s.io", "ingresses", "True NoConflicts no conflicts found");
        // Its fences would be taken for custom objects.
        check("gantry.dev", "fences", "False PluralConflict \"fences\" is already in use");
    }

    #[test]
    fn names_below_kubernetes_are_approved_or_said_not_to_be() {
        let check = |group: &str, annotation: &str, expected: &str| {
            let mut definition = definition("things", "Thing", &[]);
            set(&mut definition, "spec.group", group);
            if !annotation.is_empty() {
                set(&mut definition, "metadata.annotations", json!({"api-approved.kubernetes.io": annotation}));
            }
            let (done, _) = settled(definition, &[]);
            let found = condition(&done, APPROVAL).map(|_| says(&done, APPROVAL));
            assert_eq!(found.unwrap_or_default(), expected);
        };
        check("example.com", "", "");
        check("notk8s.io", "", "");
        let missing = "False MissingAnnotation protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
        check("x.k8s.io", "", missing);
        check("kubernetes.io", "", missing);
        check("x.k8s.io", "https://k8s.io/pull/1", "True ApprovedAnnotation approved in https://k8s.io/pull/1");
        let bypassed = "False UnapprovedAnnotation not approved: \"unapproved, a try\"";
        check("x.kubernetes.io", "unapproved, a try", bypassed);
        let invalid = "False InvalidAnnotation protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
        check("x.k8s.io", "yes", invalid);
        check("x.k8s.io", "file:///etc/passwd", invalid);
    }

    #[test]
    fn schemas_that_are_not_structural_are_named_until_they_are() {
        let mut old = definition("things", "Thing", &[]);
        let schema = json!({"type": "object", "properties": {"a": {}, "b": {"type": "array"}}});
        set(&mut old, "spec.versions", json!([{"name": "v1", "schema": {"openAPIV3Schema": schema}}]));
        let (done, _) = settled(old, &[]);
        let at = "spec.versions[0].schema.openAPIV3Schema.properties";
        let expected = format!(
            "True Violations [{at}[a].type: Required value: must not be empty for specified object fields, {at}[b].items: Required value: must be specified]"
        );
        assert_eq!(says(&done, "NonStructuralSchema"), expected);
        let mut mended = done;
        set(&mut mended, "spec.versions", json!([{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]));
        let (done, _) = settled(mended, &[]);
        assert_eq!(condition(&done, "NonStructuralSchema"), None);
    }

    #[test]
    fn an_established_kind_stays_so() {
        let (mut done, _) = settled(definition("things", "Thing", &[]), &[]);
        let (other, _) = settled(definition("others", "Other", &["xy"]), &[]);
        set(&mut done, "spec.names.shortNames", json!(["xy"]));
        let (done, _) = settled(done, &[other]);
        assert_eq!(says(&done, "NamesAccepted"), "False ShortNamesConflict \"xy\" is already in use");
        assert_eq!(says(&done, "Established"), "True InitialNamesAccepted the initial names have been accepted");
        assert_eq!(done["status"]["acceptedNames"].get("shortNames"), None);
    }
}
