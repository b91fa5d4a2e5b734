//! Pods and pod templates.

use gantry_api::value::{Value, bool_at, get, i64_at, list_at, map_at, str_at};

use super::{Page, conditions};

/// A pod.
pub(super) fn pod(page: &mut Page, pod: &Value) {
    page.maybe(0, "Priority", i64_at(pod, "spec.priority").map(|p| p.to_string()));
    page.maybe(0, "Service Account", str_at(pod, "spec.serviceAccountName"));
    let node = str_at(pod, "spec.nodeName").map_or_else(
        || "<none>".to_owned(),
        |n| str_at(pod, "status.hostIP").map_or_else(|| n.to_owned(), |ip| format!("{n}/{ip}")),
    );
    page.entry(0, "Node", node);
    page.maybe(0, "Start Time", str_at(pod, "status.startTime"));
    if get(pod, "metadata.deletionTimestamp").is_none() {
        page.entry(0, "Status", str_at(pod, "status.phase").unwrap_or("Unknown"));
    }
    page.maybe(0, "Reason", str_at(pod, "status.reason"));
    page.maybe(0, "Message", str_at(pod, "status.message"));
    page.entry(0, "IP", str_at(pod, "status.podIP").unwrap_or(""));
    let inits = list_at(pod, "spec.initContainers");
    if !inits.is_empty() {
        page.text(0, "Init Containers:");
        containers(page, inits, list_at(pod, "status.initContainerStatuses"));
    }
    page.text(0, "Containers:");
    containers(page, list_at(pod, "spec.containers"), list_at(pod, "status.containerStatuses"));
    conditions(page, pod, &[("Type", "type"), ("Status", "status"), ("Reason", "reason"), ("Message", "message")]);
    volumes(page, list_at(pod, "spec.volumes"));
    page.maybe(0, "QoS Class", str_at(pod, "status.qosClass"));
    page.map(0, "Node-Selectors", map_at(pod, "spec.nodeSelector"), "=");
    tolerations(page, list_at(pod, "spec.tolerations"));
}

/// The template of a workload.
pub(super) fn template(page: &mut Page, template: &Value) {
    page.text(0, "Pod Template:");
    page.map(1, "Labels", map_at(template, "metadata.labels"), "=");
    page.maybe(1, "Service Account", str_at(template, "spec.serviceAccountName"));
    page.text(1, "Containers:");
    containers(page, list_at(template, "spec.containers"), &[]);
    volumes(page, list_at(template, "spec.volumes"));
}

fn containers(page: &mut Page, specs: &[Value], statuses: &[Value]) {
    for spec in specs {
        let name = str_at(spec, "name").unwrap_or("");
        let status = statuses.iter().find(|s| str_at(s, "name") == Some(name));
        page.text(1, format!("{name}:"));
        if let Some(s) = status {
            page.maybe(2, "Container ID", str_at(s, "containerID"));
        }
        page.entry(2, "Image", str_at(spec, "image").unwrap_or(""));
        page.maybe(2, "Image ID", status.and_then(|s| str_at(s, "imageID")));
        let ports: Vec<String> = list_at(spec, "ports")
            .iter()
            .map(|p| format!("{}/{}", i64_at(p, "containerPort").unwrap_or(0), str_at(p, "protocol").unwrap_or("TCP")))
            .collect();
        page.entry(2, "Port", if ports.is_empty() { "<none>".to_owned() } else { ports.join(", ") });
        for (title, path) in [("Command", "command"), ("Args", "args")] {
            let words: Vec<&str> = list_at(spec, path).iter().filter_map(Value::as_str).collect();
            page.maybe(2, title, (!words.is_empty()).then(|| words.join(" ")));
        }
        if let Some(s) = status {
            state(page, "State", get(s, "state"));
            state(page, "Last State", get(s, "lastState").filter(|v| v.as_object().is_some_and(|o| !o.is_empty())));
            page.entry(2, "Ready", if bool_at(s, "ready") { "True" } else { "False" });
            page.entry(2, "Restart Count", i64_at(s, "restartCount").unwrap_or(0).to_string());
        }
        for title in ["limits", "requests"] {
            let map = get(spec, "resources").and_then(|r| map_at(r, title)).filter(|m| !m.is_empty());
            if let Some(map) = map {
                let mut label = title.to_owned();
                label[..1].make_ascii_uppercase();
                page.map(2, &label, Some(map), ": ");
            }
        }
        probes(page, spec);
        environment(page, list_at(spec, "env"));
        mounts(page, list_at(spec, "volumeMounts"));
    }
}

fn state(page: &mut Page, title: &str, state: Option<&Value>) {
    let Some(state) = state else { return };
    let Some((name, detail)) = state.as_object().and_then(|o| o.iter().next()) else {
        page.entry(2, title, "Waiting");
        return;
    };
    let mut name = name.clone();
    name[..1].make_ascii_uppercase();
    page.entry(2, title, name);
    page.maybe(3, "Reason", str_at(detail, "reason"));
    page.maybe(3, "Message", str_at(detail, "message"));
    page.maybe(3, "Exit Code", i64_at(detail, "exitCode").map(|c| c.to_string()));
    page.maybe(3, "Started", str_at(detail, "startedAt"));
    page.maybe(3, "Finished", str_at(detail, "finishedAt"));
}

fn probes(page: &mut Page, spec: &Value) {
    for (title, path) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")] {
        let Some(probe) = get(spec, path) else { continue };
        let n = |p| i64_at(probe, p).unwrap_or(0);
        let how = if let Some(http) = get(probe, "httpGet") {
            let port = get(http, "port").map(ToString::to_string).unwrap_or_default();
            let scheme = str_at(http, "scheme").unwrap_or("HTTP").to_ascii_lowercase();
            format!("http-get {scheme}://:{}{}", port.trim_matches('"'), str_at(http, "path").unwrap_or("/"))
        } else if let Some(exec) = get(probe, "exec") {
            let words: Vec<&str> = list_at(exec, "command").iter().filter_map(Value::as_str).collect();
            format!("exec [{}]", words.join(" "))
        } else if let Some(tcp) = get(probe, "tcpSocket") {
            format!("tcp-socket :{}", get(tcp, "port").map(ToString::to_string).unwrap_or_default().trim_matches('"'))
        } else {
            "grpc".to_owned()
        };
        page.entry(
            2,
            title,
            format!(
                "{how} delay={}s timeout={}s period={}s #success={} #failure={}",
                n("initialDelaySeconds"),
                n("timeoutSeconds"),
                n("periodSeconds"),
                n("successThreshold"),
                n("failureThreshold")
            ),
        );
    }
}

fn environment(page: &mut Page, env: &[Value]) {
    if env.is_empty() {
        page.entry(2, "Environment", "<none>");
        return;
    }
    page.text(2, "Environment:");
    for var in env {
        let value = match str_at(var, "value") {
            Some(v) => v.to_owned(),
            None => get(var, "valueFrom").map_or_else(String::new, |from| format!("<set from {}>", source(from))),
        };
        page.entry(3, str_at(var, "name").unwrap_or(""), value);
    }
}

fn source(from: &Value) -> String {
    let Some((kind, detail)) = from.as_object().and_then(|o| o.iter().next()) else { return String::new() };
    let what = str_at(detail, "fieldPath").or_else(|| str_at(detail, "resource")).map_or_else(
        || format!("the key '{}' in '{}'", str_at(detail, "key").unwrap_or(""), str_at(detail, "name").unwrap_or("")),
        str::to_owned,
    );
    format!("{} {what}", kind.trim_end_matches("Ref"))
}

fn mounts(page: &mut Page, mounts: &[Value]) {
    if mounts.is_empty() {
        page.entry(2, "Mounts", "<none>");
        return;
    }
    page.text(2, "Mounts:");
    for mount in mounts {
        let mode = if bool_at(mount, "readOnly") { "ro" } else { "rw" };
        page.text(
            3,
            format!(
                "{} from {} ({mode})",
                str_at(mount, "mountPath").unwrap_or(""),
                str_at(mount, "name").unwrap_or("")
            ),
        );
    }
}

fn volumes(page: &mut Page, volumes: &[Value]) {
    if volumes.is_empty() {
        return;
    }
    page.text(0, "Volumes:");
    for volume in volumes {
        page.text(1, format!("{}:", str_at(volume, "name").unwrap_or("")));
        for (kind, detail) in volume.as_object().into_iter().flatten().filter(|(k, _)| *k != "name") {
            page.entry(2, "Type", kind.clone());
            for key in ["name", "secretName", "path", "type", "medium", "sizeLimit"] {
                page.maybe(2, key, str_at(detail, key).filter(|v| !v.is_empty()));
            }
        }
    }
}

fn tolerations(page: &mut Page, tolerations: &[Value]) {
    let texts: Vec<String> = tolerations
        .iter()
        .map(|t| {
            let key = str_at(t, "key").unwrap_or("");
            let value = str_at(t, "value").map(|v| format!("={v}")).unwrap_or_default();
            let effect = str_at(t, "effect").map(|e| format!(":{e}")).unwrap_or_default();
            let op = if str_at(t, "operator") == Some("Exists") { " op=Exists" } else { "" };
            let seconds = i64_at(t, "tolerationSeconds").map(|s| format!(" for {s}s")).unwrap_or_default();
            format!("{key}{value}{effect}{op}{seconds}")
        })
        .collect();
    page.entry(0, "Tolerations", texts.first().cloned().unwrap_or_else(|| "<none>".to_owned()));
    for text in texts.iter().skip(1) {
        page.more(0, text.clone());
    }
}
