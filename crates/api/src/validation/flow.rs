//! Flow schemas and priority levels.

use super::at::{At, Out};
use super::read::{Seen, list, number, some, text, truth};
use crate::{Value, flow, names};

const UNSET: Value = Value::Null;
const VERBS: &[&str] = &["get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"];
const METHOD: &str = "*flowcontrol/v1.FlowDistinguisherMethod";
/// The most queues of a level.
const QUEUES: i64 = 10_000_000;
/// The most bits that dealing a hand may take.
const ENTROPY_BITS: f64 = 60.0;

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

/// The objects that are upstream's own must be as upstream's are.
fn fixed(out: &mut Out, object: &Value, kind: &str) {
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    let Some(mut wanted) = flow::fixed_spec(kind, name) else { return };
    let mut found = spec_of(object).clone();
    let free = if (kind, name) == ("PriorityLevelConfiguration", "exempt") {
        // How much of the server it takes or lends is the administrator's to say.
        crate::value::remove(&mut wanted, "exempt");
        crate::value::remove(&mut found, "exempt");
        " except the 'spec.exempt' field"
    } else {
        ""
    };
    if wanted != found {
        let detail = format!("spec of '{name}'{free} must equal the fixed value");
        out.invalid_of(At::Root("spec"), &format!("flowcontrol/v1.{kind}Spec"), spec_of(object), &detail);
    }
}

/// A flow schema.
pub(super) fn schema(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    let precedence = number(spec, "matchingPrecedence").unwrap_or(0);
    let precedence_at = at.child("matchingPrecedence");
    if precedence <= 0 {
        out.invalid(precedence_at, precedence, "must be a positive value");
    } else if precedence > 10_000 {
        out.invalid(precedence_at, precedence, "must not be greater than 10000");
    } else if precedence == 1 && name != "exempt" {
        out.invalid(precedence_at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    if let Some(method) = some(spec, "distinguisherMethod") {
        let kind = text(method, "type");
        if !["ByNamespace", "ByUser"].contains(&kind) {
            out.not_listed_of(at.child("distinguisherMethod.type"), METHOD, method, &["ByNamespace", "ByUser"]);
        }
    }
    let level_at = at.child("priorityLevelConfiguration.name");
    match some(spec, "priorityLevelConfiguration").map_or("", |l| text(l, "name")) {
        "" => out.required(level_at, "must reference a priority level"),
        level => out.invalid_each(level_at, level, names::dns_subdomain(level)),
    }
    let rules_at = at.child("rules");
    for (index, found) in list(spec, "rules").iter().enumerate() {
        rule(out, rules_at.index(index), found);
    }
    fixed(out, object, "FlowSchema");
}

fn rule(out: &mut Out, at: At<'_>, rule: &Value) {
    let subjects_at = at.child("subjects");
    if list(rule, "subjects").is_empty() {
        out.required(subjects_at, "subjects must contain at least one value");
    }
    for (index, found) in list(rule, "subjects").iter().enumerate() {
        subject(out, subjects_at.index(index), found);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        out.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    let resources_at = at.child("resourceRules");
    for (index, rule) in resources.iter().enumerate() {
        let at = resources_at.index(index);
        verbs(out, at.child("verbs"), rule);
        words(
            out,
            at.child("apiGroups"),
            rule,
            "apiGroups",
            "resource rules must supply at least one api group",
            "api groups",
        );
        words(
            out,
            at.child("resources"),
            rule,
            "resources",
            "resource rules must supply at least one resource",
            "resources",
        );
        let namespaces_at = at.child("namespaces");
        let required = if truth(rule, "clusterScope") {
            ""
        } else {
            "resource rules that are not cluster scoped must supply at least one namespace"
        };
        words(out, namespaces_at, rule, "namespaces", required, "namespaces");
        for (index, namespace) in unless_any(rule, "namespaces").enumerate() {
            for why in names::dns_label(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                out.invalid(namespaces_at.index(index), namespace, &detail);
            }
        }
    }
    let others_at = at.child("nonResourceRules");
    for (index, rule) in others.iter().enumerate() {
        let at = others_at.index(index);
        verbs(out, at.child("verbs"), rule);
        let detail = "nonResourceURLs must contain at least one value";
        words(out, at.child("nonResourceURLs"), rule, "nonResourceURLs", detail, "non-resource URLs");
        let urls_at = at.child("nonResourceURLs");
        for (index, url) in unless_any(rule, "nonResourceURLs").enumerate() {
            if let Some(why) = wrong_url(url) {
                out.invalid(urls_at.index(index), url, why);
            }
        }
    }
}

/// What is wrong with a path that a rule is about.
fn wrong_url(url: &str) -> Option<&'static str> {
    match url {
        "/" => None,
        "" => Some("must not be empty"),
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if url.strip_suffix("/*").unwrap_or(url).contains('*') => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

/// The words under `key`, or none where one of them is `*`.
fn unless_any<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let found = list(rule, key);
    let any = found.iter().any(|word| word == "*");
    found.iter().filter(move |_| !any).filter_map(Value::as_str)
}

/// A list that is not empty (unless `required` is) and in which `*` stands alone.
fn words(out: &mut Out, at: At<'_>, rule: &Value, key: &str, required: &str, what: &str) {
    let found = list(rule, key);
    if found.is_empty() && !required.is_empty() {
        out.required(at, required);
    } else if found.len() > 1 && found.iter().any(|w| w == "*") {
        out.invalid(at, found.to_vec(), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn verbs(out: &mut Out, at: At<'_>, rule: &Value) {
    words(out, at, rule, "verbs", "verbs must contain at least one value", "verbs");
    if unless_any(rule, "verbs").any(|verb| !VERBS.contains(&verb)) {
        out.not_supported(at, list(rule, "verbs").to_vec(), VERBS);
    }
}

fn subject(out: &mut Out, at: At<'_>, subject: &Value) {
    let kind = text(subject, "kind");
    let fields = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let Some((_, field)) = fields.iter().find(|(k, _)| *k == kind) else {
        out.not_supported(at.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
        return;
    };
    named_subject(out, at, subject, kind, field);
    for (kind, other) in fields.iter().filter(|(_, f)| f != field && some(subject, f).is_some()) {
        out.forbidden(at.child(other), &format!("{other} is forbidden when subject kind is not '{kind}'"));
    }
}

fn named_subject(out: &mut Out, at: At<'_>, subject: &Value, kind: &str, field: &str) {
    let Some(named) = some(subject, field) else {
        out.required(at.child(field), &format!("{field} is required when subject kind is '{kind}'"));
        return;
    };
    let at = at.child(field);
    let name = text(named, "name");
    if name.is_empty() {
        out.required(at.child("name"), "");
    } else if kind == "ServiceAccount" && name != "*" {
        out.invalid_each(at.child("name"), name, names::dns_subdomain(name));
    }
    if kind == "ServiceAccount" {
        match text(named, "namespace") {
            "" => out.required(at.child("namespace"), "must specify namespace for service account"),
            namespace => out.invalid_each(at.child("namespace"), namespace, names::dns_label(namespace)),
        }
    }
}

/// A priority level.
pub(super) fn level(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let (limited, exempt) = (some(spec, "limited"), some(spec, "exempt"));
    let kind = text(spec, "type");
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    if (name == "exempt") != (kind == "Exempt") {
        out.invalid(at.child("type"), kind, "type must be 'Exempt' if and only if name is 'exempt'");
    }
    match kind {
        "Exempt" => {
            if limited.is_some() {
                out.forbidden(at.child("limited"), "must be nil if the type is not Limited");
            }
            if let Some(exempt) = exempt {
                shares(out, at.child("exempt"), exempt);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                out.forbidden(at.child("exempt"), "must be nil if the type is Limited");
            }
            match limited {
                None => out.required(at.child("limited"), "must not be empty when type is Limited"),
                Some(limited) => self::limited(out, at.child("limited"), limited),
            }
        }
        other => out.not_supported(at.child("type"), other, &["Exempt", "Limited"]),
    }
    fixed(out, object, "PriorityLevelConfiguration");
}

fn shares(out: &mut Out, at: At<'_>, level: &Value) {
    if let Some(count) = number(level, "nominalConcurrencyShares").filter(|n| *n < 0) {
        out.invalid(at.child("nominalConcurrencyShares"), count, "must be a non-negative integer");
    }
    if let Some(percent) = number(level, "lendablePercent").filter(|n| !(0..=100).contains(n)) {
        out.invalid(at.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
    }
}

fn limited(out: &mut Out, at: At<'_>, limited: &Value) {
    shares(out, at, limited);
    if let Some(percent) = number(limited, "borrowingLimitPercent").filter(|n| *n < 0) {
        out.invalid(at.child("borrowingLimitPercent"), percent, "if specified, must be a non-negative integer");
    }
    let at = at.child("limitResponse");
    let response = some(limited, "limitResponse").unwrap_or(&UNSET);
    match (text(response, "type"), some(response, "queuing")) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            out.forbidden(at.child("queuing"), "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            out.required(at.child("queuing"), "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(found)) => queuing(out, at.child("queuing"), found),
        (other, _) => out.not_supported(at.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queuing(out: &mut Out, at: At<'_>, queuing: &Value) {
    let count = |key| number(queuing, key).unwrap_or(0);
    let mut positive = |key| {
        if count(key) <= 0 {
            out.invalid(at.child(key), count(key), "must be positive");
        }
    };
    positive("queueLengthLimit");
    positive("queues");
    let (queues, hand) = (count("queues"), count("handSize"));
    if hand <= 0 && queues <= QUEUES {
        positive("handSize");
    }
    if queues > QUEUES {
        out.invalid(at.child("queues"), queues, "must not be greater than 10000000");
    }
    if hand > queues {
        out.invalid(at.child("handSize"), hand, &format!("should not be greater than queues ({queues})"));
    } else if hand > 0 {
        #[expect(clippy::cast_precision_loss, reason = "below ten million")]
        let bits: f64 = (0..hand.min(64)).map(|dealt| ((queues - dealt) as f64).log2()).sum();
        if bits.ceil() > ENTROPY_BITS {
            let detail =
                format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60");
            out.invalid(at.child("handSize"), hand, &detail);
        }
    }
}

/// Conditions of a schema or level.
pub(super) fn status(out: &mut Out, new: &Value) {
    let at = At::Root("status.conditions");
    let status = some(new, "status").unwrap_or(&UNSET);
    let mut seen = Seen::new();
    for (index, condition) in list(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        if super::read::repeats(&mut seen, kind) {
            out.duplicate(at.index(index).child("type"), kind);
        }
        if kind.is_empty() {
            out.required(at.index(index).child("type"), "must not be empty");
        }
    }
}
