//! Ephemeral containers: what they may say, and that those that are there stay as they are.

use serde_json::json;

use super::{check_update, kind, object, texts};
use crate::Value;
use crate::validation::ephemeral_containers;

/// A pod with these ephemeral containers.
fn pod(list: Value) -> Value {
    let mut pod = json!({"spec": {"containers": [{"name": "c", "image": "i"}],
        "initContainers": [{"name": "i", "image": "i"}]}});
    pod["spec"]["ephemeralContainers"] = list;
    pod
}

fn check(new: Value, old: Value, expected: &[&str]) {
    let (new, old) = (object("Pod", new), object("Pod", old));
    assert_eq!(texts(&ephemeral_containers(&new, &old)), expected, "{new}");
}

#[test]
fn guests_are_added_and_stay() {
    let debugger = json!({"name": "d", "image": "busybox", "stdin": true, "tty": true, "targetContainerName": "c"});
    let none = || pod(json!([]));
    check(pod(json!([debugger])), none(), &[]);
    check(pod(json!([{"name": "e", "image": "i"}, debugger])), pod(json!([debugger])), &[]);
    check(
        none(),
        pod(json!([debugger])),
        &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"],
    );
    let mut other = debugger.clone();
    other["image"] = "alpine:3".into();
    check(
        pod(json!([other])),
        pod(json!([debugger])),
        &[
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n@@ -1,6 +1,6 @@\n {\n  \"Name\": \"d\",\n- \"Image\": \"busybox\",\n+ \"Image\": \"alpine:3\",\n  \"Command\": null,\n  \"Args\": null,\n  \"WorkingDir\": \"\",\n@@ -23,7 +23,7 @@\n  \"Lifecycle\": null,\n  \"TerminationMessagePath\": \"/dev/termination-log\",\n  \"TerminationMessagePolicy\": \"File\",\n- \"ImagePullPolicy\": \"Always\",\n+ \"ImagePullPolicy\": \"IfNotPresent\",\n  \"SecurityContext\": null,\n  \"Stdin\": true,\n  \"StdinOnce\": false,\n",
        ],
    );
}

#[test]
fn guests_may_not_be_what_others_are() {
    let at = "spec.ephemeralContainers[0]";
    let not = "Forbidden: cannot be set for an Ephemeral Container";
    let one = |extra: Value| {
        let mut guest = json!({"name": "d", "image": "i"});
        guest.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
        pod(json!([guest]))
    };
    for (extra, field) in [
        (json!({"ports": [{"containerPort": 80}]}), "ports"),
        (json!({"livenessProbe": {"exec": {"command": ["x"]}}}), "livenessProbe"),
        (json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}), "lifecycle"),
        (json!({"resources": {"limits": {"cpu": "1"}}}), "resources"),
        (json!({"restartPolicy": "Always"}), "restartPolicy"),
        (json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}), "resizePolicy"),
    ] {
        check(one(extra), pod(json!([])), &[&format!("{at}.{field}: {not}")]);
    }
    let mut mounting = one(json!({"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "s"}]}));
    mounting["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    check(mounting, pod(json!([])), &[&format!("{at}.volumeMounts[0].subPath: {not}")]);
    check(
        one(json!({"targetContainerName": "nobody"})),
        pod(json!([])),
        &[&format!("{at}.targetContainerName: Not found: \"nobody\"")],
    );
    for name in ["c", "i"] {
        check(one(json!({"name": name})), pod(json!([])), &[&format!("{at}.name: Duplicate value: \"{name}\"")]);
    }
}

#[test]
fn other_writes_leave_guests_alone() {
    let errors = {
        let (new, old) = (object("Pod", pod(json!([{"name": "d", "image": "i"}]))), object("Pod", pod(json!([]))));
        texts(&crate::validation::update(kind("Pod"), &new, &old))
    };
    assert!(errors.len() == 1 && errors[0].contains("\n@@ -66,7 +66,40 @@\n"), "{errors:?}");
    check_update("Pod", pod(json!([{"name": "d", "image": "i"}])), pod(json!([{"name": "d", "image": "i"}])), &[]);
    let mut mirror = pod(json!([]));
    mirror["metadata"] =
        json!({"name": "x", "namespace": "default", "annotations": {"kubernetes.io/config.mirror": "x"}});
    let mut next = pod(json!([{"name": "d", "image": "i"}]));
    next["metadata"] = mirror["metadata"].clone();
    check(next, mirror, &["Forbidden: static pods do not support ephemeral containers"]);
}
