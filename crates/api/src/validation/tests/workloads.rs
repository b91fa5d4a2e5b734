//! Sets, controllers, jobs and cron jobs.

use serde_json::json;

use super::{check, check_update, kind, object, texts};
use crate::validation::status_update;
use crate::{Value, defaults, value};

fn template(policy: &str) -> Value {
    json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]}})
}

/// A spec that selects its pods, changed at `path`.
fn set(path: &str, change: Value) -> Value {
    let mut object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template("Always")}});
    if !path.is_empty() {
        value::set(&mut object, path, change);
    }
    object
}

#[test]
fn daemon_sets() {
    let with = |path: &str, change: Value, expected: &[&str]| check("DaemonSet", set(path, change), expected);
    with("", Value::Null, &[]);
    with(
        "spec.selector",
        json!({"matchLabels": {"a": "c"}}),
        &["spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"],
    );
    with("spec.selector", json!({}), &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]);
    with(
        "spec.template.spec.restartPolicy",
        json!("Never"),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    with(
        "spec.template.spec.activeDeadlineSeconds",
        json!(5),
        &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"],
    );
    with(
        "spec.updateStrategy",
        json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}),
        &[
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set when maxUnavailable is non-zero",
        ],
    );
    with(
        "spec.updateStrategy",
        json!({"rollingUpdate": {"maxUnavailable": 0}}),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    );
    with(
        "spec.updateStrategy",
        json!({"rollingUpdate": {"maxUnavailable": "101%"}}),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
    );
    with(
        "spec.updateStrategy",
        json!({"type": "X"}),
        &[
            "spec.updateStrategy: Unsupported value: {\"Type\":\"X\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\"",
        ],
    );
    check(
        "Deployment",
        set("spec.strategy", json!({"type": "X"})),
        &[
            "spec.strategy: Unsupported value: {\"Type\":\"X\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
        ],
    );
    check_update(
        "DaemonSet",
        set("spec.template.metadata.labels", json!({"a": "b", "c": "d"})),
        set("", Value::Null),
        &[],
    );
    let mut other = set("spec.selector.matchLabels", json!({"c": "d"}));
    other["spec"]["template"]["metadata"]["labels"]["c"] = "d".into();
    check_update(
        "DaemonSet",
        other,
        set("", Value::Null),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"c\":\"d\"}}: field is immutable"],
    );
}

#[test]
fn stateful_sets() {
    let with = |path: &str, change: Value, expected: &[&str]| check("StatefulSet", set(path, change), expected);
    with("", Value::Null, &[]);
    with(
        "spec.podManagementPolicy",
        json!("Random"),
        &["spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"],
    );
    with(
        "spec.updateStrategy",
        json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
        &[
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'",
        ],
    );
    with(
        "spec.updateStrategy",
        json!({"rollingUpdate": {"maxUnavailable": 0}}),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"],
    );
    with(
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
        json!("Keep"),
        &[
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\"",
        ],
    );
    with(
        "spec.ordinals",
        json!({"start": -1}),
        &["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"],
    );
    // Its claims are volumes of its pods.
    let mut claimed = set("spec.volumeClaimTemplates", json!([{"metadata": {"name": "data"}, "spec": {}}]));
    let mount = json!([{"name": "data", "mountPath": "/d"}]);
    claimed["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mount.clone();
    check("StatefulSet", claimed.clone(), &[]);
    claimed["spec"]["volumeClaimTemplates"] = json!([]);
    check("StatefulSet", claimed, &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]);
    check_update("StatefulSet", set("spec.replicas", json!(7)), set("", Value::Null), &[]);
    with("spec.revisionHistoryLimit", json!(-1), &[]);
    check_update(
        "StatefulSet",
        set("spec.serviceName", json!("s")),
        set("", Value::Null),
        &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
           'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
           forbidden"],
    );
    let long = "a".repeat(64);
    let mut named = set("", Value::Null);
    named["metadata"] = json!({"name": long, "namespace": "default"});
    check("StatefulSet", named, &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 63 bytes")]);
}

#[test]
fn replication_controllers_and_revisions() {
    let controller = |selector: Value| json!({"spec": {"selector": selector, "template": template("Always")}});
    check("ReplicationController", controller(Value::Null), &[]);
    check(
        "ReplicationController",
        controller(json!({"a": "c"})),
        &["spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"],
    );
    check(
        "ReplicationController",
        json!({"spec": {}}),
        &["spec.selector: Required value", "spec.template: Required value"],
    );
    check("PodTemplate", json!({"template": template("Never")}), &[]);
    check("PodTemplate", json!({}), &["template.spec.containers: Required value"]);
    check("ControllerRevision", json!({"revision": 1}), &["data: Required value: data is mandatory"]);
    check_update(
        "ControllerRevision",
        json!({"revision": 2, "data": {"a": 2}}),
        json!({"revision": 1, "data": {"a": 1}}),
        &["data: Invalid value: {\"a\":2}: field is immutable"],
    );
}

/// A job that selects by hand.
fn job(path: &str, change: Value) -> Value {
    let mut object = json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
        "template": template("Never")}});
    if !path.is_empty() {
        value::set(&mut object, path, change);
    }
    object
}

#[test]
fn jobs() {
    let with = |path: &str, change: Value, expected: &[&str]| check("Job", job(path, change), expected);
    with("", Value::Null, &[]);
    with(
        "spec.template.spec.restartPolicy",
        json!("Always"),
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    with("spec.backoffLimit", json!(-1), &["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"]);
    with(
        "spec.backoffLimitPerIndex",
        json!(1),
        &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
    );
    with(
        "spec.completionMode",
        json!("Some"),
        &["spec.completionMode: Unsupported value: \"Some\": supported values: \"NonIndexed\", \"Indexed\""],
    );
    with(
        "spec.template.spec.restartPolicy",
        json!("Maybe"),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            "spec.template.spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"OnFailure\", \"Never\"",
        ],
    );
    with(
        "spec.podFailurePolicy",
        json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1, 0], "containerName": "x"}}]}),
        &[
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered",
        ],
    );
    with(
        "spec.successPolicy",
        json!({"rules": [{}]}),
        &[
            "spec.successPolicy: Invalid value: {\"Rules\":[{\"SucceededIndexes\":null,\"SucceededCount\":null}]}: requires indexed completion mode",
        ],
    );
    let mut generated = job("spec.manualSelector", json!(false));
    generated["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}});
    generated["metadata"] = json!({"name": "j", "namespace": "default", "uid": "u"});
    let labels = json!({"batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j",
        "controller-uid": "u", "job-name": "other"});
    generated["spec"]["template"]["metadata"]["labels"] = labels;
    let found = texts(&crate::validation::create(kind("Job"), &object("Job", generated.clone())));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("spec.template.metadata.labels[job-name]: Invalid value: "), "{found:?}");
    assert!(found[0].ends_with(": must be 'j'"), "{found:?}");
    generated["spec"]["template"]["metadata"]["labels"] = json!({"batch.kubernetes.io/controller-uid": "u"});
    check(
        "Job",
        generated,
        &[
            "spec.template.metadata.labels[controller-uid]: Required value: must be 'u'",
            "spec.template.metadata.labels[job-name]: Required value: must be 'j'",
            "spec.template.metadata.labels[batch.kubernetes.io/job-name]: Required value: must be 'j'",
        ],
    );
}

#[test]
fn job_policies() {
    let with = |path: &str, change: Value, expected: &[&str]| check("Job", job(path, change), expected);
    with(
        "spec.podFailurePolicy",
        json!({"rules": [{"action": "Count"}]}),
        &[
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ],
    );
    with(
        "spec.podFailurePolicy",
        json!({"rules": [{"action": "Count", "onExitCodes": {"operator": "In", "values": [0, 0]}}]}),
        &[
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Duplicate value: 0",
        ],
    );
}

#[test]
fn job_updates() {
    let with = |path: &str, change: Value, expected: &[&str]| {
        let one = || job("spec.completions", json!(1));
        let mut changed = one();
        value::set(&mut changed, path, change);
        check_update("Job", changed, one(), expected);
    };
    with("spec.parallelism", json!(4), &[]);
    with("spec.completions", json!(4), &["spec.completions: Invalid value: 4: field is immutable"]);
    let suspended = |selector: Value, status: Value| {
        let mut job = job("spec.suspend", json!(true));
        job["spec"]["template"]["spec"]["nodeSelector"] = selector;
        job["status"] = status;
        job
    };
    check_update("Job", suspended(json!({"a": "b"}), json!({})), suspended(Value::Null, json!({})), &[]);
    let started = || json!({"startTime": "2026-01-02T03:04:05Z"});
    let new = object("Job", suspended(json!({"a": "b"}), started()));
    let old = object("Job", suspended(Value::Null, started()));
    let found = texts(&crate::validation::update(kind("Job"), &new, &old));
    assert_eq!(found.len(), 1, "{found:?}");
    let head = r#"spec.template: Invalid value: {"labels":{"a":"b"},"Spec":{"Volumes":null,"InitContainers":null,"#;
    assert!(found[0].starts_with(head) && found[0].ends_with("}}: field is immutable"), "{found:?}");
    let at_rest =
        || json!({"startTime": "2026-01-02T03:04:05Z", "conditions": [{"type": "Suspended", "status": "True"}]});
    check_update("Job", suspended(json!({"a": "b"}), at_rest()), suspended(Value::Null, at_rest()), &[]);
    let asking = |cpu: &str, status: Value| {
        let mut job = suspended(json!({"a": "b"}), status);
        job["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        job["spec"]["template"]["spec"]["initContainers"] =
            json!([{"name": "i", "image": "i", "resources": {"requests": {"cpu": cpu}}}]);
        job
    };
    check_update("Job", asking("2", at_rest()), asking("1", at_rest()), &[]);
    check_update("Job", asking("2", json!({})), asking("1", json!({})), &[]);
    let refused = |new: Value, old: Value| {
        let found = texts(&crate::validation::update(kind("Job"), &object("Job", new), &object("Job", old)));
        assert!(found.len() == 1 && found[0].ends_with("field is immutable"), "{found:?}");
    };
    refused(asking("2", started()), asking("1", started()));
    let mut busy = at_rest();
    busy["active"] = json!(1);
    refused(asking("2", busy.clone()), asking("1", busy));
    let mut other = asking("2", at_rest());
    other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    refused(other, asking("1", at_rest()));
    let indexed = |completions: i64, parallelism: i64| {
        let mut job = job("spec.completionMode", json!("Indexed"));
        job["spec"]["completions"] = completions.into();
        job["spec"]["parallelism"] = parallelism.into();
        job
    };
    check_update("Job", indexed(4, 4), indexed(2, 2), &[]);
    check_update(
        "Job",
        indexed(4, 3),
        indexed(2, 2),
        &["spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"],
    );
}

#[test]
fn job_statuses() {
    let with = |status: Value, before: Value, expected: &[&str]| {
        let of = |status: Value| {
            let mut job = job("status", status);
            defaults::apply(kind("Job"), &mut job).expect("of a usual size");
            job
        };
        assert_eq!(texts(&status_update(kind("Job"), &of(status), &of(before))), expected);
    };
    let complete = json!([{"type": "Complete", "status": "True"}]);
    let (start, end) = ("2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z");
    with(
        json!({"startTime": start, "completionTime": end, "succeeded": 1, "conditions": complete}),
        json!({"startTime": start}),
        &[],
    );
    with(
        json!({"conditions": complete, "active": 1}),
        json!({}),
        &[
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
            "status.startTime: Required value: startTime is required for finished job",
        ],
    );
    with(
        json!({"startTime": start}),
        json!({"startTime": start, "succeeded": 2}),
        &["status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"],
    );
    with(
        json!({"ready": 2, "active": 1}),
        json!({}),
        &["status.ready: Invalid value: 2: cannot set more ready pods than active"],
    );
}

#[test]
fn cron_jobs() {
    let cron = |path: &str, change: Value| {
        let mut object =
            json!({"spec": {"schedule": "@hourly", "jobTemplate": {"spec": {"template": template("Never")}}}});
        if !path.is_empty() {
            value::set(&mut object, path, change);
        }
        object
    };
    let with = |path: &str, change: Value, expected: &[&str]| check("CronJob", cron(path, change), expected);
    with("", Value::Null, &[]);
    with("spec.schedule", json!(""), &["spec.schedule: Required value"]);
    with(
        "spec.schedule",
        json!("error"),
        &["spec.schedule: Invalid value: \"error\": expected exactly 5 fields, found 1: [error]"],
    );
    with(
        "spec.schedule",
        json!("TZ=UTC 0 * * * *"),
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    with("spec.timeZone", json!("Europe/Berlin"), &[]);
    with(
        "spec.timeZone",
        json!("europe/berlin"),
        &["spec.timeZone: Invalid value: \"europe/berlin\": unknown time zone europe/berlin"],
    );
    with(
        "spec.timeZone",
        json!("Local"),
        &[
            "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ],
    );
    with(
        "spec.timeZone",
        json!("local"),
        &[
            "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            "spec.timeZone: Invalid value: \"local\": unknown time zone local",
        ],
    );
    with("spec.timeZone", json!("a b"), &["spec.timeZone: Invalid value: \"a b\": unknown time zone a b"]);
    with(
        "spec.jobTemplate.spec.manualSelector",
        json!(true),
        &["spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\""],
    );
    with("spec.jobTemplate.metadata", json!({"labels": {"a b": "-"}}), &[]);
    with(
        "spec.concurrencyPolicy",
        json!("Maybe"),
        &["spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
    );
    with(
        "spec.jobTemplate.spec.selector",
        json!({}),
        &["spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated"],
    );
    let zoned = || cron("spec.schedule", json!("TZ=UTC 0 * * * *"));
    check_update("CronJob", zoned(), zoned(), &[]);
    let name = "a".repeat(53);
    let mut long = cron("", Value::Null);
    long["metadata"] = json!({"name": name, "namespace": "default"});
    check("CronJob", long, &[&format!("metadata.name: Invalid value: \"{name}\": must be no more than 52 characters")]);
}
