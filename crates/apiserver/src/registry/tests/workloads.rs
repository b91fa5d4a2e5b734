//! Golden cells of what keeps pods running, and what the strategies of jobs and daemon sets prepare.

use gantry_api::Value;
use serde_json::json;

use super::{check, ctx, headers, kind, meta};
use crate::registry::{strategy, workload};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"nodeSelector": {"disk": "ssd"},
        "containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}})
}

#[test]
fn golden_workload_headers() {
    for (group, kind, expected) in [
        ("", "ReplicationController", "Name|Desired|Current|Ready|Age|Containers*|Images*|Selector*"),
        ("", "PodTemplate", "Name|Containers|Images|Pod Labels"),
        ("apps", "ControllerRevision", "Name|Controller|Revision|Age"),
        (
            "apps",
            "DaemonSet",
            "Name|Desired|Current|Ready|Up-to-date|Available|Node Selector|Age|Containers*|Images*|Selector*",
        ),
        ("apps", "StatefulSet", "Name|Ready|Age|Containers*|Images*"),
        ("batch", "Job", "Name|Status|Completions|Duration|Age|Containers*|Images*|Selector*"),
        ("batch", "CronJob", "Name|Schedule|Timezone|Suspend|Active|Last Schedule|Age|Containers*|Images*|Selector*"),
    ] {
        assert_eq!(headers(group, kind), expected, "{kind}");
    }
}

#[test]
fn sets() {
    let selector = json!({"matchLabels": {"app": "x"}});
    check(
        "apps",
        "DaemonSet",
        &json!({"metadata": meta("d"), "spec": {"template": template(), "selector": selector},
            "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
                "updatedNumberScheduled": 2, "numberAvailable": 1}}),
        &json!(["d", 5, 4, 3, 2, 1, "disk=ssd", "4m5s", "a,b", "i:1,j", "app=x"]),
    );
    check(
        "apps",
        "StatefulSet",
        &json!({"metadata": meta("s"), "spec": {"replicas": 3, "template": template()}, "status": {"readyReplicas": 2}}),
        &json!(["s", "2/3", "4m5s", "a,b", "i:1,j"]),
    );
    check(
        "",
        "ReplicationController",
        &json!({"metadata": meta("r"), "spec": {"replicas": 3, "template": template(), "selector": {"app": "x"}},
            "status": {"replicas": 2, "readyReplicas": 1}}),
        &json!(["r", 3, 2, 1, "4m5s", "a,b", "i:1,j", "app=x"]),
    );
    check(
        "",
        "PodTemplate",
        &json!({"metadata": meta("t"), "template": template()}),
        &json!(["t", "a,b", "i:1,j", "app=x"]),
    );
    let mut revision = json!({"metadata": meta("web-1"), "revision": 7});
    check("apps", "ControllerRevision", &revision, &json!(["web-1", "<none>", 7, "4m5s"]));
    revision["metadata"]["ownerReferences"] =
        json!([{"kind": "StatefulSet", "apiVersion": "apps/v1", "name": "web", "controller": true}]);
    check("apps", "ControllerRevision", &revision, &json!(["web-1", "statefulset.apps/web", 7, "4m5s"]));
}

#[test]
fn jobs() {
    let row = |spec: Value, status: Value, state: &str, completions: &str, duration: &str| {
        let mut spec = spec;
        spec["template"] = template();
        spec["selector"] = json!({"matchLabels": {"u": "1"}});
        check(
            "batch",
            "Job",
            &json!({"metadata": meta("j"), "spec": spec, "status": status}),
            &json!(["j", state, completions, duration, "4m5s", "a,b", "i:1,j", "u=1"]),
        );
    };
    let condition = |kind: &str| json!([{"type": kind, "status": "True"}]);
    row(json!({"completions": 3}), json!({"succeeded": 1}), "Running", "1/3", "");
    row(json!({"parallelism": 2}), json!({"startTime": "2026-01-02T03:03:35Z"}), "Running", "0/1 of 2", "30s");
    row(json!({"parallelism": 1}), json!({"conditions": condition("Suspended")}), "Suspended", "0/1", "");
    row(
        json!({"completions": 1}),
        json!({"succeeded": 1, "startTime": "2026-01-02T03:00:00Z", "completionTime": "2026-01-02T03:02:05Z",
            "conditions": condition("Complete")}),
        "Complete",
        "1/1",
        "2m5s",
    );
    row(json!({"completions": 1}), json!({"conditions": condition("Failed")}), "Failed", "0/1", "");
}

#[test]
fn cron_jobs() {
    let job = json!({"spec": {"template": template()}});
    let mut object = json!({"metadata": meta("c"), "spec": {"schedule": "*/5 * * * *", "suspend": false,
        "jobTemplate": job}});
    check(
        "batch",
        "CronJob",
        &object,
        &json!(["c", "*/5 * * * *", "<none>", "False", 0, "<none>", "4m5s", "a,b", "i:1,j", "<none>"]),
    );
    object["spec"]["timeZone"] = "Europe/Berlin".into();
    object["spec"]["suspend"] = true.into();
    object["status"] = json!({"active": [{"name": "j"}], "lastScheduleTime": "2026-01-02T03:03:05Z"});
    check(
        "batch",
        "CronJob",
        &object,
        &json!(["c", "*/5 * * * *", "Europe/Berlin", "True", 1, "60s", "4m5s", "a,b", "i:1,j", "<none>"]),
    );
}

#[test]
fn jobs_select_their_own_pods() {
    let kind = kind("batch", "Job");
    let prepared = |spec: Value| {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": spec});
        strategy(kind).prepare_create(&ctx(kind), &mut job);
        job
    };
    let job = prepared(json!({"template": template()}));
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    let labels = json!({"app": "x", "job-name": "j", "batch.kubernetes.io/job-name": "j", "controller-uid": "u",
        "batch.kubernetes.io/controller-uid": "u"});
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
    let manual = json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "template": template()});
    assert_eq!(prepared(manual.clone())["spec"], manual);
}

#[test]
fn daemon_sets_count_their_templates() {
    let kind = kind("apps", "DaemonSet");
    let generation = |set: &Value| set["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
    let mut old = json!({"metadata": {"name": "d"}, "spec": {"template": template()}});
    strategy(kind).prepare_create(&ctx(kind), &mut old);
    assert_eq!(generation(&old), "1");
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({});
    strategy(kind).prepare_update(&ctx(kind), &mut new, &old);
    assert_eq!(generation(&new), "1");
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2".into();
    strategy(kind).prepare_update(&ctx(kind), &mut new, &old);
    assert_eq!(generation(&new), "2");
}

#[test]
fn a_replication_controllers_scale_has_its_plain_selector() {
    let controller = json!({"kind": "ReplicationController", "metadata": {"name": "r"},
        "spec": {"replicas": 2, "selector": {"a": "b", "c": "d"}}, "status": {"replicas": 1}});
    let scale = workload::scale(&controller);
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b,c=d"}));
    let set = json!({"kind": "StatefulSet", "spec": {"selector": {"matchLabels": {"a": "b"}}}});
    assert_eq!(workload::scale(&set)["status"]["selector"], "a=b");
}

#[test]
fn jobs_warn_of_names_that_hosts_cannot_have() {
    let job = |name: &str| json!({"metadata": {"name": name}, "spec": {"template": {"spec": {}}}});
    let warnings = |name: &str| strategy(kind("batch", "Job")).warnings(&job(name), None);
    assert_eq!(warnings("a-b"), Vec::<String>::new());
    assert!(warnings("a.b")[0].starts_with("metadata.name: this is used in Pod names"), "{:?}", warnings("a.b"));
}
