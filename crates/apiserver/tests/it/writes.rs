//! Details of writes: dry run, generated names, defaults, managed fields, finalizers, collections.

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, configmap, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_dry_run_does_all_but_store() {
    let cluster = Cluster::start().await;
    let made = cluster.rest("POST", &format!("{MAPS}?dryRun=All"), &[], &configmap("a", "1").to_string()).await;
    assert_eq!(made.code, 201);
    assert!(made.json()["metadata"].get("resourceVersion").is_none());
    assert!(made.json()["metadata"]["uid"].is_string());
    assert_eq!(cluster.rest("GET", &format!("{MAPS}/a"), &[], "").await.code, 404);
    let services = "/api/v1/namespaces/default/services?dryRun=All";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let service = cluster.rest("POST", services, &[], &service.to_string()).await.json();
    assert!(service["spec"]["clusterIP"].is_string());
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    let put = cluster.rest("PUT", &format!("{MAPS}/a?dryRun=All"), &[], &configmap("a", "2").to_string()).await.json();
    assert_eq!(put["data"]["a"], "2");
    cluster.rest("DELETE", &format!("{MAPS}/a?dryRun=All"), &[], "").await;
    let kept = cluster.rest("GET", &format!("{MAPS}/a"), &[], "").await.json();
    assert_eq!(kept["data"]["a"], "1");
}

#[tokio::test]
async fn names_are_generated() {
    let cluster = Cluster::start().await;
    let body = json!({"metadata": {"generateName": "job-"}}).to_string();
    let made = cluster.rest("POST", MAPS, &[], &body).await.json();
    let name = made["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn managers_are_recorded() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[("user-agent", "tool/1.0")], &configmap("a", "1").to_string()).await;
    let patch = r#"{"data":{"b":"2"}}"#;
    let merge = ("content-type", "application/merge-patch+json");
    let patched = cluster.rest("PATCH", &format!("{MAPS}/a?fieldManager=me"), &[merge], patch).await.json();
    let managers: Vec<&str> = patched["metadata"]["managedFields"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|e| e["manager"].as_str())
        .collect();
    assert_eq!(managers.len(), 2, "{managers:?}");
    assert!(managers.contains(&"tool") && managers.contains(&"me"), "{managers:?}");
    let long = "x".repeat(200);
    let refused = cluster.rest("PATCH", &format!("{MAPS}/a?fieldManager={long}"), &[merge], patch).await;
    assert_eq!(refused.code, 422);
}

/// Who owns an annotation of the object.
fn owners_of(object: &Value, annotation: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().expect("entries").iter();
    let field = format!("f:{annotation}");
    let own = entries.filter(|entry| entry["fieldsV1"]["f:metadata"]["f:annotations"].get(&field).is_some());
    own.filter_map(|entry| entry["manager"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn daemon_sets_template_generation_is_its_senders() {
    const GENERATION: &str = "deprecated.daemonset.template.generation";
    let cluster = Cluster::start().await;
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let template = |image: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template("i:1")});
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec});
    let made = cluster.rest("POST", &format!("{sets}?fieldManager=first"), &[], &set.to_string()).await.json();
    let generation = |set: &Value| set["metadata"]["annotations"][GENERATION].as_str().unwrap_or_default().to_owned();
    assert_eq!((generation(&made).as_str(), owners_of(&made, GENERATION)), ("1", vec!["first".to_owned()]));
    // Who changes the template does not become the owner of what the server counts.
    let mut next = made.clone();
    next["spec"]["template"] = template("i:2");
    let one = |manager: &str| format!("{sets}/d?fieldManager={manager}");
    let put = cluster.rest("PUT", &one("second"), &[], &next.to_string()).await.json();
    assert_eq!((generation(&put).as_str(), owners_of(&put, GENERATION)), ("2", vec!["first".to_owned()]));
    // Who leaves it out says 0, and owns that; the server counts on.
    let mut bare = put.clone();
    bare["metadata"]["annotations"] = json!({});
    let put = cluster.rest("PUT", &one("third"), &[], &bare.to_string()).await.json();
    assert_eq!((generation(&put).as_str(), owners_of(&put, GENERATION)), ("2", vec!["third".to_owned()]));
    bare["metadata"]["resourceVersion"] = put["metadata"]["resourceVersion"].clone();
    let status = format!("{sets}/d/status?fieldManager=fourth");
    let put = cluster.rest("PUT", &status, &[], &bare.to_string()).await.json();
    assert_eq!(generation(&put), "2", "{put}");
}

#[tokio::test]
async fn status_writes_take_annotations_along() {
    let cluster = Cluster::start().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let made = json!({
        "metadata": {"name": "d", "labels": {"a": "b"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    let mut object = cluster.rest("POST", deployments, &[], &made.to_string()).await.json();
    object["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
    object["metadata"]["labels"]["a"] = "other".into();
    object["spec"]["replicas"] = 7.into();
    object["status"] = json!({"observedGeneration": 1});
    let written = cluster.rest("PUT", &format!("{deployments}/d/status"), &[], &object.to_string()).await.json();
    assert_eq!(written["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    assert_eq!(written["status"]["observedGeneration"], 1);
    assert_eq!((&written["metadata"]["labels"]["a"], &written["spec"]["replicas"]), (&json!("b"), &json!(1)));
    assert_eq!(written["metadata"]["generation"], 1);
}

#[tokio::test]
async fn some_status_writes_leave_metadata_alone() {
    let cluster = Cluster::start().await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}});
    let service = json!({"metadata": {"name": "v1.example.com"}, "spec": {
        "group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
        "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "none"}}});
    for (group, plural, object) in [
        ("admissionregistration.k8s.io", "validatingadmissionpolicies", policy),
        ("apiregistration.k8s.io", "apiservices", service),
    ] {
        let all = format!("/apis/{group}/v1/{plural}");
        let made = cluster.rest("POST", &all, &[], &object.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
        let path = format!("{all}/{}", object["metadata"]["name"].as_str().expect("a name"));
        let headers = [("content-type", "application/merge-patch+json")];
        let change = json!({"metadata": {"labels": {"a": "b"}}, "status": {"conditions": []}}).to_string();
        let written = cluster.rest("PATCH", &format!("{path}/status"), &headers, &change).await;
        assert_eq!((written.code, &written.json()["metadata"]["labels"]), (200, &Value::Null), "{}", written.text);
        // Nor can they be replaced by who has not read them.
        let blind = cluster.rest("PUT", &path, &[], &object.to_string()).await;
        let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        assert!(blind.code == 422 && blind.text.contains(why), "{}", blind.text);
    }
    let ranges = "/apis/networking.k8s.io/v1/servicecidrs";
    let range = json!({"metadata": {"name": "r"}, "spec": {"cidrs": ["10.99.0.0/24"]}});
    let made = cluster.rest("POST", ranges, &[], &range.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let change = json!({"metadata": {"labels": {"a": "b"}}, "status": {"conditions": []}}).to_string();
    let headers = [("content-type", "application/merge-patch+json")];
    let written = cluster.rest("PATCH", &format!("{ranges}/r/status"), &headers, &change).await;
    assert_eq!((written.code, &written.json()["metadata"]["labels"]), (200, &Value::Null), "{}", written.text);
}

#[tokio::test]
async fn leases_are_not_elected_over() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let cluster = Cluster::start().await;
    let lease = json!({"metadata": {"name": "l"}, "spec": {
        "holderIdentity": "a", "preferredHolder": "b", "strategy": "OldestEmulationVersion"}});
    let made = cluster.rest("POST", LEASES, &[], &lease.to_string()).await;
    assert_eq!((made.code, made.json()["spec"].clone()), (201, json!({"holderIdentity": "a"})));
    let headers = [("content-type", "application/merge-patch+json")];
    let change = json!({"spec": {"holderIdentity": "c", "preferredHolder": "b"}}).to_string();
    let changed = cluster.rest("PATCH", &format!("{LEASES}/l"), &headers, &change).await;
    assert_eq!((changed.code, changed.json()["spec"].clone()), (200, json!({"holderIdentity": "c"})));
}

#[tokio::test]
async fn fields_of_gates_that_are_off_are_dropped() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut given = pod("p");
    given["spec"]["schedulingGroup"] = json!({"podGroupName": "g"});
    given["spec"]["containers"][0]["lifecycle"] = json!({"stopSignal": "SIGHUP"});
    let made = cluster.rest("POST", pods, &[], &given.to_string()).await;
    let spec = &made.json()["spec"];
    assert_eq!((made.code, spec.get("schedulingGroup")), (201, None));
    assert_eq!(spec["containers"][0].get("lifecycle"), None);
    // It is not taken for a change of what pods may not change either.
    given["metadata"]["labels"] = json!({"a": "b"});
    let headers = [("content-type", "application/merge-patch+json")];
    let change = json!({"metadata": given["metadata"], "spec": {"schedulingGroup": {"podGroupName": "g"}}}).to_string();
    let changed = cluster.rest("PATCH", &format!("{pods}/p"), &headers, &change).await;
    assert_eq!((changed.code, changed.json()["spec"].get("schedulingGroup")), (200, None));
    let told =
        json!({"status": {"phase": "Running", "nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "c"}]}});
    let told = cluster.rest("PATCH", &format!("{pods}/p/status"), &headers, &told.to_string()).await.json();
    assert_eq!(
        (&told["status"]["phase"], told["status"].get("nodeAllocatableResourceClaimStatuses")),
        (&json!("Running"), None)
    );
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let cluster = Cluster::start().await;
    let mut object = configmap("a", "1");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.rest("POST", MAPS, &[], &object.to_string()).await;
    let one = format!("{MAPS}/a");
    let marked = cluster.rest("DELETE", &one, &[], "").await.json();
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    let again = cluster.rest("DELETE", &one, &[], "").await.json();
    assert_eq!(again["metadata"]["resourceVersion"], marked["metadata"]["resourceVersion"], "nothing changes");
    let exists = cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await.json();
    assert_eq!(exists["message"], "object is being deleted: configmaps \"a\" already exists");
    let merge = ("content-type", "application/merge-patch+json");
    let more = r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#;
    assert_eq!(cluster.rest("PATCH", &one, &[merge], more).await.code, 422);
    let freed = cluster.rest("PATCH", &one, &[merge], r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!((freed.code, freed.json()["kind"].as_str()), (200, Some("ConfigMap")));
    assert_eq!(cluster.rest("GET", &one, &[], "").await.code, 404);
}

#[tokio::test]
async fn propagation_sets_the_collectors_finalizer() {
    let cluster = Cluster::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        cluster.rest("POST", MAPS, &[], &configmap(&name, "1").to_string()).await;
        let body = json!({"propagationPolicy": policy}).to_string();
        let marked = cluster.rest("DELETE", &format!("{MAPS}/{name}"), &[], &body).await.json();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
    }
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let cluster = Cluster::start().await;
    for i in 0..40 {
        let mut object = configmap(&format!("c{i}"), "1");
        object["metadata"]["labels"] = json!({"go": (i < 30).to_string()});
        cluster.rest("POST", MAPS, &[], &object.to_string()).await;
    }
    let deleted = cluster.rest("DELETE", &format!("{MAPS}?labelSelector=go%3Dtrue"), &[], "").await.json();
    assert_eq!(deleted["items"].as_array().map(Vec::len), Some(30));
    let left = cluster.rest("GET", MAPS, &[], "").await.json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(10));
}

#[tokio::test]
async fn pods_are_admitted() {
    let cluster = Cluster::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let refused = cluster.rest("POST", pods, &[], &pod("p").to_string()).await;
    assert_eq!(
        refused.json()["message"],
        "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
    );
    cluster.default_account().await;
    let made = cluster.rest("POST", pods, &[], &pod("p").to_string()).await.json();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(made["status"]["phase"], "Pending");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    let mut classy = pod("q");
    classy["spec"]["priorityClassName"] = "nobody".into();
    let refused = cluster.rest("POST", pods, &[], &classy.to_string()).await.json();
    assert_eq!(refused["message"], "pods \"q\" is forbidden: no PriorityClass with name nobody was found");
    let node = cluster.rest("POST", "/api/v1/nodes", &[], &json!({"metadata": {"name": "n"}}).to_string()).await.json();
    assert_eq!(node["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    let patches = (0..20).map(|i| {
        let cluster = &cluster;
        async move {
            let body = json!({"data": {format!("k{i}"): "v"}}).to_string();
            let merge = ("content-type", "application/merge-patch+json");
            cluster.rest("PATCH", &format!("{MAPS}/a"), &[merge], &body).await.code
        }
    });
    assert!(futures::future::join_all(patches).await.iter().all(|code| *code == 200));
    let after: Value = cluster.rest("GET", &format!("{MAPS}/a"), &[], "").await.json();
    assert_eq!(after["data"].as_object().map(serde_json::Map::len), Some(21));
}

#[tokio::test]
async fn a_pod_takes_the_priority_of_its_class() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}).to_string();
    assert_eq!(cluster.rest("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", &[], &class).await.code, 201);
    let mut classy = pod("p");
    classy["spec"]["priorityClassName"] = "high".into();
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.rest("POST", pods, &[], &classy.to_string()).await.json();
    assert_eq!(
        (made["spec"]["priority"].as_i64(), made["spec"]["preemptionPolicy"].as_str()),
        (Some(1000), Some("Never"))
    );
    let mut chosen = pod("q");
    chosen["spec"]["priority"] = 7.into();
    assert_eq!(cluster.rest("POST", pods, &[], &chosen.to_string()).await.code, 403);
}

#[tokio::test]
async fn an_owner_that_is_named_twice_is_kept_once_with_a_warning() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let one = format!("{maps}/m");
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"});
    let metadata = json!({"name": "m", "ownerReferences": [owner, owner]});
    let merge = [("content-type", "application/merge-patch+json")];
    let requests = [("POST", maps, &[][..], ""), ("PUT", &one, &[], ""), ("PATCH", &one, &merge, " after mutating")];
    for (method, path, headers, when) in requests {
        let answer = cluster.rest(method, path, headers, &json!({"metadata": metadata}).to_string()).await;
        let warning = answer.headers["warning"].to_str().expect("text");
        let expected = format!("299 - \".metadata.ownerReferences contains duplicate entries{when}");
        assert!(warning.starts_with(&expected) && warning.ends_with("observed: u\""), "{method}: {warning}");
        assert_eq!(answer.json()["metadata"]["ownerReferences"], json!([owner]), "{method}");
    }
}

#[tokio::test]
async fn what_only_its_managed_fields_make_too_large_is_stored_without_them() {
    let cluster = Cluster::start().await;
    // etcd takes 1.5 MiB. Who owns a key takes somewhat more than the key.
    let map = |name: &str, keys: usize| {
        let data: serde_json::Map<String, Value> = (0..keys).map(|n| (format!("k{n:06}"), "".into())).collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}).to_string()
    };
    let path = |name: &str| format!("{MAPS}/{name}");
    let content = |kind: &'static str| [("content-type", kind)];
    let is_bare = |answer: &Answer| {
        assert!(answer.code < 300, "{}", &answer.text[..answer.text.len().min(300)]);
        answer.json()["metadata"].get("managedFields").is_none()
    };
    assert!(is_bare(&cluster.rest("POST", MAPS, &[], &map("created", 60_000)).await));
    for name in ["put", "patched", "applied"] {
        assert!(!is_bare(&cluster.rest("POST", MAPS, &[], &map(name, 1)).await));
    }
    assert!(is_bare(&cluster.rest("PUT", &path("put"), &[], &map("put", 60_000)).await));
    let merge = content("application/merge-patch+json");
    assert!(is_bare(&cluster.rest("PATCH", &path("patched"), &merge, &map("patched", 60_000)).await));
    let refused = |answer: Answer| {
        let status = answer.json();
        let message = status["message"].as_str().unwrap_or_default();
        assert_eq!((answer.code, status["reason"].as_str()), (500, None), "{message}");
        let words = "etcdserver: request is too large: what is written exceeds etcd's --max-request-bytes";
        assert!(message.starts_with(words), "{message}");
    };
    let apply = content("application/apply-patch+yaml");
    let applied = format!("{}?fieldManager=m", path("applied"));
    refused(cluster.rest("PATCH", &applied, &apply, &map("applied", 60_000)).await);
    refused(cluster.rest("PATCH", &format!("{}?fieldManager=m", path("new")), &apply, &map("new", 60_000)).await);
    refused(cluster.rest("POST", MAPS, &[], &map("huge", 130_000)).await);
}
