//! What annotations hold as JSON, and what kubelets report of containers.

use serde_json::json;

use super::{check, kind, object, texts};
use crate::Value;
use crate::validation::status_update;

const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";

fn annotated(key: &str, text: &str) -> Value {
    json!({"name": "n", "annotations": {key: text}})
}

#[test]
fn tolerations_in_annotations() {
    let at = format!("metadata.annotations.{TOLERATIONS}[0]");
    let whole = |why: &str| format!("metadata.annotations: Invalid value: \"{TOLERATIONS}\": {why}");
    let rows = [
        (r#"[{"key": "a", "operator": "Exists"}, {"Key": "b", "VALUE": "c", "effect": "NoSchedule"}]"#, None),
        ("", None),
        ("null", None),
        (
            "[null]",
            Some(format!(
                "{at}.operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\""
            )),
        ),
        (
            r#"[{"key": "a", "operator": "Near"}]"#,
            Some(format!("{at}.operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"")),
        ),
        ("x", Some(whole("invalid character 'x' looking for beginning of value"))),
        ("{}", Some(whole("json: cannot unmarshal object into Go value of type []core.Toleration"))),
        ("[1]", Some(whole("json: cannot unmarshal number into Go value of type core.Toleration"))),
        (
            r#"[{"key": 1}]"#,
            Some(whole("json: cannot unmarshal number into Go struct field Toleration.Key of type string")),
        ),
        (
            r#"[{"tolerationSeconds": "1"}]"#,
            Some(whole(
                "json: cannot unmarshal string into Go struct field Toleration.TolerationSeconds of type int64",
            )),
        ),
    ];
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    for (text, expected) in rows {
        let expected: Vec<&str> = expected.as_deref().into_iter().collect();
        let mut metadata = annotated(TOLERATIONS, text);
        metadata["namespace"] = "default".into();
        check("Pod", json!({"metadata": metadata, "spec": spec}), &expected);
    }
}

#[test]
fn annotations_of_nodes() {
    let taints = "scheduler.alpha.kubernetes.io/taints";
    let avoided = "scheduler.alpha.kubernetes.io/preferAvoidPods";
    let row = |key: &str, text: &str, expected: &[String]| {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check("Node", json!({"metadata": annotated(key, text)}), &expected);
    };
    row(taints, r#"[{"key": "a", "effect": "NoSchedule", "timeAdded": null}]"#, &[]);
    row(taints, "[", &[format!("metadata.annotations: Invalid value: \"{taints}\": unexpected end of JSON input")]);
    let effect = format!("metadata.annotations.{taints}[0].effect");
    let effects = "supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"";
    row(taints, r#"[{"key": "a", "effect": "x"}]"#, &[format!("{effect}: Unsupported value: \"x\": {effects}")]);
    let owner = |owner: &str| format!(r#"{{"preferAvoidPods": [{{"podSignature": {{{owner}}}}}]}}"#);
    row(avoided, &owner(r#""podController": {"controller": true}"#), &[]);
    let at = format!("metadata.annotations.{avoided}[0].PodSignature");
    row(avoided, &owner(""), &[format!("{at}: Required value")]);
    let why = "Invalid value: false: must point to a controller";
    row(
        avoided,
        &owner(r#""podController": {"controller": false}"#),
        &[format!("{at}.PodController.Controller: {why}")],
    );
    let whole = format!("metadata.annotations.AvoidPods: Invalid value: \"{avoided}\"");
    row(avoided, "[]", &[format!("{whole}: json: cannot unmarshal array into Go value of type v1.AvoidPods")]);
}

#[test]
fn what_is_reported_of_containers() {
    let container = |name: &str| {
        json!({"name": name, "image": "i", "resources": {"requests": {"example.com/gpu": "1"},
            "claims": [{"name": "whole"}, {"name": "many", "request": "one"}]}})
    };
    let check_on = |os: &str, status: Value, expected: &[&str]| {
        let spec = json!({"containers": [container("c")], "initContainers": [container("i")], "os": {"name": os}});
        let old = object("Pod", json!({"metadata": {"name": "p"}, "spec": spec}));
        let mut new = old.clone();
        new["status"] = status;
        assert_eq!(texts(&status_update(kind("Pod"), &new, &old)), expected);
    };
    let user = |uid: i64, group: i64| json!({"linux": {"uid": uid, "gid": 0, "supplementalGroups": [0, group]}});
    let users = |user: Value| json!({"initContainerStatuses": [{"name": "i", "user": user}]});
    check_on("linux", users(user(0, 1)), &[]);
    let range = "must be between 0 and 2147483647, inclusive";
    check_on(
        "linux",
        users(user(-1, 1 << 31)),
        &[
            &format!("status.initContainerStatuses[0].linux.uid: Invalid value: -1: {range}"),
            &format!("status.initContainerStatuses[0].linux.supplementalGroups[1]: Invalid value: 2147483648: {range}"),
        ],
    );
    let windows = "status.initContainerStatuses[0].linux: Forbidden: cannot be set for a windows pod";
    check_on("windows", users(user(0, 1)), &[windows]);
    let given = |key: &str, container: &str, resources: Value| json!({key: [{"name": container, "allocatedResourcesStatus": resources}]});
    let device = |health: &str| json!({"resourceID": "d", "health": health});
    let good = json!([{"name": "example.com/gpu", "resources": [device("Healthy")]}, {"name": "claim:whole"},
        {"name": "claim:many/one"}]);
    check_on("linux", given("containerStatuses", "c", good), &[]);
    let odd = json!([{"name": "example.com/other", "resources": [device("Unknown"), device("ill")]},
        {"name": "claim:many"}]);
    let at = "status.containerStatuses[0].allocatedResourcesStatus";
    check_on(
        "linux",
        given("containerStatuses", "c", odd.clone()),
        &[
            &format!(
                "{at}[0].name: Invalid value: \"example.com/other\": must match one of the container's resource requests"
            ),
            &format!(
                "{at}[0].resources[1].health: Unsupported value: \"ill\": supported values: \"Healthy\", \
                 \"Unhealthy\", \"Unknown\""
            ),
            &format!("{at}[0].resources[1].resourceID: Duplicate value: \"d\""),
            &format!(
                "{at}[1].name: Invalid value: \"claim:many\": must match one of the container's resource claims in a \
                 format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
            ),
        ],
    );
    let strangers = json!([{"name": "example.com/other"}]);
    check_on("linux", given("containerStatuses", "gone", strangers.clone()), &[]);
    let never = "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in \
        container status";
    check_on("linux", given("ephemeralContainerStatuses", "e", strangers), &[never]);
}
