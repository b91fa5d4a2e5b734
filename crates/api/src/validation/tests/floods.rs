//! What is wrong in very many places, or repeats very much when it is told: few errors are listed, with little text. Lists are so
//! long that what looks at each pair of their items does not come to an end.

use serde_json::json;

use super::*;
use crate::field::{ERRORS_MAX, TEXT_BYTES_MAX};
use crate::status::Status;

const MANY: usize = 100_000;
const MORE: &str = "there are more errors, which are not listed: mend these first";

fn many(length: usize, make: impl Fn(usize) -> Value) -> Value {
    (0..length).map(make).collect::<Vec<_>>().into()
}

/// The errors of creating the object, which are bounded: the last one says whether there are more.
fn bounded(name: &str, content: Value) -> (Vec<String>, bool) {
    let mut errors = texts(&create(kind(name), &object(name, content)));
    assert!(errors.len() <= ERRORS_MAX + 1, "{}", errors.len());
    let bytes: usize = errors.iter().map(String::len).sum();
    // The last one may be larger than what was left.
    assert!(bytes < TEXT_BYTES_MAX + 256 * 1024, "{bytes}");
    let more = errors.last().is_some_and(|error| error == MORE);
    if more {
        errors.pop();
    }
    (errors, more)
}

fn meta(more: &[(&str, Value)]) -> Value {
    let mut meta = json!({"name": "x", "namespace": "default"});
    for (key, value) in more {
        meta[*key] = value.clone();
    }
    json!({"metadata": meta})
}

#[test]
fn attack_errors_are_so_many_and_no_more() {
    let (errors, more) = bounded("Pod", json!({"spec": {"containers": many(50_000, |_| json!({}))}}));
    assert_eq!((errors.len(), more), (ERRORS_MAX, true));
    assert_eq!(errors[0], "spec.containers[0].name: Required value");
    // An object with a few more errors than anybody makes shows them all.
    let (errors, more) =
        bounded("Pod", json!({"spec": {"containers": many(100, |_| json!({"name": "A", "image": "i"}))}}));
    assert_eq!((errors.len(), more), (199, false));
}

#[test]
fn attack_errors_do_not_repeat_whole_lists() {
    let owner =
        |n: usize| json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": n.to_string(), "controller": true});
    let (errors, more) = bounded("ConfigMap", meta(&[("ownerReferences", many(30_000, owner))]));
    assert!(errors.len() < 20 && more, "{}", errors.len());
    assert!(
        errors[0].ends_with("Found \"true\" in references for A/a and A/a"),
        "{}",
        &errors[0][errors[0].len() - 200..]
    );
    let container =
        json!({"name": "c", "image": "i", "resources": {"claims": many(30_000, |n| json!({"name": format!("u{n}")}))}});
    let known = many(30_000, |n| json!({"name": format!("k{n}"), "resourceClaimName": "x"}));
    let (errors, more) = bounded("Pod", json!({"spec": {"containers": [container], "resourceClaims": known}}));
    assert!(errors.len() < 20 && more, "{}", errors.len());
    let hard: serde_json::Map<String, Value> = (0..30_000).map(|n| (format!("hugepages-{n}"), "1".into())).collect();
    let scopes = many(30_000, |_| "BestEffort".into());
    let (errors, more) = bounded("ResourceQuota", json!({"spec": {"hard": hard, "scopes": scopes}}));
    assert!(errors.len() < 20 && more, "{}", errors.len());
    // What is said of one value is cut, and so is the answer that is made of it.
    let name = "A".repeat(2 << 20);
    let errors = create(kind("ConfigMap"), &object("ConfigMap", meta(&[("labels", json!({"a": name}))])));
    let answer = serde_json::to_string(&Status::invalid("", "ConfigMap", "x", &errors)).expect("JSON");
    assert!(answer.len() < 1 << 20, "{}", answer.len());
}

#[test]
fn attack_pairs_of_items_are_not_compared() {
    let claims = |n: usize| json!({"name": "k", "request": format!("r{n}")});
    let containers =
        many(20, |n| json!({"name": format!("c{n}"), "image": "i", "resources": {"claims": many(MANY / 20, claims)}}));
    let known = many(
        MANY,
        |n| json!({"name": if n == 0 { "k".to_owned() } else { format!("k{n}") }, "resourceClaimName": "x"}),
    );
    let (errors, more) = bounded("Pod", json!({"spec": {"containers": containers, "resourceClaims": known}}));
    assert!(errors.is_empty() && !more, "{}", errors[0]);
    let keys = many(MANY, |n| format!("l{n}").into());
    let asked = many(MANY, |n| json!({"key": format!("m{n}"), "operator": "Exists"}));
    let spread = |n: usize| json!({"maxSkew": 1, "topologyKey": format!("k{n}"), "whenUnsatisfiable": "DoNotSchedule"});
    let mut spreads = many(MANY, spread);
    spreads[0]["matchLabelKeys"] = keys;
    spreads[0]["labelSelector"] = json!({"matchExpressions": asked});
    let containers = json!([{"name": "c", "image": "i"}]);
    let (errors, more) =
        bounded("Pod", json!({"spec": {"containers": containers, "topologySpreadConstraints": spreads}}));
    assert!(errors.is_empty() && !more, "{}", errors[0]);
    let finalizers = meta(&[
        ("finalizers", many(MANY, |n| format!("a.b/c{n}").into())),
        ("deletionTimestamp", "2026-01-01T00:00:00Z".into()),
    ]);
    let deleting = object("ConfigMap", finalizers);
    assert_eq!(update(kind("ConfigMap"), &deleting, &deleting), []);
    let uids = many(MANY, |n| format!("u{n}").into());
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
        "status": {"uncountedTerminatedPods": {"succeeded": uids}}});
    let job = object("Job", job);
    assert_eq!(texts(&status_update(kind("Job"), &job, &job)), [""; 0]);
}

#[test]
fn attack_pairs_of_items_of_other_kinds_are_not_compared() {
    let containers = many(MANY, |n| json!({"name": format!("c{n}"), "image": "i"}));
    let rules = many(MANY, |n| {
        json!({"action": "Ignore",
        "onExitCodes": {"containerName": format!("c{}", MANY - 1 - n), "operator": "In", "values": [1]}})
    });
    let codes = many(MANY, |n| (n + 1).into());
    let policy = json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": codes}}]});
    for policy in [json!({"rules": rules}), policy] {
        let template = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
        let (errors, more) = bounded("Job", json!({"spec": {"template": template, "podFailurePolicy": policy}}));
        let shown = &errors[..errors.len().min(5)];
        assert!(errors.len() < 5 && errors[0].contains("Too many") && !more, "{shown:?}");
    }
    let terms = |values: &str| {
        json!([{"topologyKey": "t", "labelSelector": {},
        "matchLabelKeys": many(MANY, |n| format!("a{n}").into()), "mismatchLabelKeys": many(MANY, |n| format!("{values}{n}").into())}])
    };
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms("b")}});
    let (errors, _) =
        bounded("Pod", json!({"spec": {"affinity": affinity, "containers": [{"name": "c", "image": "i"}]}}));
    assert!(errors.is_empty(), "{}", errors[0]);
    let topologies = many(MANY, |n| json!({"matchLabelExpressions": [{"key": "k", "values": [format!("v{n}")]}]}));
    let (errors, _) = bounded(
        "StorageClass",
        json!({"metadata": {"name": "x"}, "provisioner": "p", "allowedTopologies": topologies}),
    );
    assert!(errors.is_empty(), "{}", errors[0]);
    let addresses = many(MANY, |n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255).into());
    let service = object("Service", json!({"spec": {"ports": [{"port": 80}], "externalIPs": addresses}}));
    assert_eq!(texts(&update(kind("Service"), &service, &service)), [""; 0]);
}

#[test]
fn attack_long_names_are_not_repeated_in_those_of_parts() {
    let request = json!({"name": "r".repeat(1 << 20), "firstAvailable": many(100_000, |_| json!({}))});
    let (errors, _) = bounded("ResourceClaim", json!({"spec": {"devices": {"requests": [request]}}}));
    assert!(!errors.is_empty());
}

/// Two pods of very many lines, of which some stand again and again.
#[test]
fn attack_long_changes_are_shown_without_comparing_all_lines() {
    let pod = |first: usize| {
        let value = |n: usize| format!("v{}", (first + n * 7) % 150);
        let env = many(20_000, |n| json!({"name": "A", "value": value(n)}));
        object("Pod", json!({"spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}))
    };
    let errors = update(kind("Pod"), &pod(0), &pod(3));
    assert!(errors.iter().any(|error| error.body.contains("pod updates may not change fields")), "{}", errors.len());
}
