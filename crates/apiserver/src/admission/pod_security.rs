//! The Pod Security Standard that a namespace asks for by its labels.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gantry_api::pod_security::{self, Level, Policy, Standard};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request, settings};

/// Pods that are looked at when a namespace becomes stricter.
const PODS_CHECKED: usize = 3000;

pub(super) struct PodSecurity(pub(super) settings::PodSecurity);

/// What is judged in a request.
enum Judged {
    /// A pod, which can be refused.
    Pod(Value),
    /// A template, whose pods will be refused.
    Template(Value),
}

fn judged(request: &Request<'_>, object: &Value) -> Option<Judged> {
    let target = request.target;
    let created = request.operation == Operation::Create && target.subresource.is_empty();
    // Of a pod that exists only these can become worse.
    let extended = request.operation == Operation::Update && target.subresource == "ephemeralcontainers";
    let written = request.operation != Operation::Delete && target.subresource.is_empty();
    let path = match (target.kind.group, target.kind.kind) {
        ("", "Pod") => return (created || extended).then(|| Judged::Pod(object.clone())),
        ("", "PodTemplate") => "template",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job") => "spec.template",
        ("batch", "CronJob") => "spec.jobTemplate.spec.template",
        _ => return None,
    };
    let template = value::get(object, path).filter(|_| written)?;
    let unchanged = request.old.is_some_and(|old| value::get(old, path) == Some(template));
    (!unchanged).then(|| Judged::Template(template.clone()))
}

impl PodSecurity {
    /// What the namespace asks for. One that this replica does not know yet is looked up, where anything is judged: it may ask
    /// for more than the default.
    async fn policy(&self, request: &Request<'_>, object: &Value) -> Result<Policy, Status> {
        let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
        if let Some(found) = request.app.view(kind).get("", &request.target.namespace) {
            return Ok(pod_security::policy_of(|key| found.meta().label(key), self.0.defaults).0);
        }
        if judged(request, object).is_none() {
            return Ok(self.0.defaults);
        }
        Ok(pod_security::policy(&request.load_namespace().await?, self.0.defaults).0)
    }

    /// Whether the request is none of this plugin's business.
    fn exempts(&self, request: &Request<'_>) -> bool {
        let exempt = &self.0.exempt;
        exempt.namespaces.contains(&request.target.namespace) || exempt.usernames.contains(&request.caller.user.name)
    }

    fn exempts_pod(&self, pod: &Value) -> bool {
        let class = value::str_at(pod, "spec.runtimeClassName").unwrap_or_default();
        self.0.exempt.runtime_classes.iter().any(|exempt| exempt == class)
    }
}

fn is_namespace(request: &Request<'_>) -> bool {
    let kind = &request.target.kind;
    (kind.group, kind.kind) == ("", "Namespace") && request.target.subresource.is_empty()
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if is_namespace(request) && request.operation != Operation::Delete {
            let errors = pod_security::policy(object, self.0.defaults).1;
            let known = request.old.map(|old| pod_security::policy(old, self.0.defaults).1).unwrap_or_default();
            // Labels that were wrong before must not block other changes.
            if errors != known && !errors.is_empty() {
                return Err(Status::invalid("", "Namespace", &request.target.name, &errors));
            }
            return Ok(());
        }
        if self.exempts(request) {
            return Ok(());
        }
        let enforce = self.policy(request, object).await?.enforce;
        if enforce.level == Level::Privileged {
            return Ok(());
        }
        let Some(Judged::Pod(pod)) = judged(request, object) else { return Ok(()) };
        if self.exempts_pod(&pod) {
            return Ok(());
        }
        let found = pod_security::violations(enforce, &pod);
        if found.is_empty() {
            return Ok(());
        }
        let why = format!("violates PodSecurity {:?}: {}", enforce.to_string(), pod_security::described(&found));
        Err(request.forbidden(&why))
    }

    async fn warnings(&self, request: &Request<'_>, object: &Value) -> Vec<String> {
        if is_namespace(request) {
            return self.stricter(request, object);
        }
        if self.exempts(request) {
            return Vec::new();
        }
        // Whoever could not be looked up was refused before.
        let Ok(policy) = self.policy(request, object).await else { return Vec::new() };
        if policy.warn.level == Level::Privileged && policy.audit.level == Level::Privileged {
            return Vec::new();
        }
        let Some(judged) = judged(request, object) else { return Vec::new() };
        let (Judged::Pod(pod) | Judged::Template(pod)) = judged;
        if self.exempts_pod(&pod) {
            return Vec::new();
        }
        let would = |standard: Standard| {
            let found = pod_security::violations(standard, &pod);
            let text =
                || format!("would violate PodSecurity {:?}: {}", standard.to_string(), pod_security::described(&found));
            (!found.is_empty()).then(text)
        };
        if let Some(text) = would(policy.audit) {
            let target = request.target;
            tracing::info!(target: "audit", namespace = target.namespace, resource = target.kind.resource, name = target.name, user = request.caller.user.name, "{text}");
        }
        would(policy.warn).into_iter().collect()
    }
}

impl PodSecurity {
    /// What the present pods of a namespace violate that asks for more than before.
    fn stricter(&self, request: &Request<'_>, namespace: &Value) -> Vec<String> {
        let name = &request.target.name;
        let Some(old) = request.old.filter(|_| request.operation == Operation::Update) else { return Vec::new() };
        let enforced = |namespace: &Value| pod_security::policy(namespace, self.0.defaults).0.enforce;
        let (now, before) = (enforced(namespace), enforced(old));
        let milder = now.minor == before.minor && now.level < before.level;
        if now == before || now.level == Level::Privileged || milder || self.0.exempt.namespaces.contains(name) {
            return Vec::new();
        }
        let Some(kind) = kinds::by_resource("", "v1", "pods") else { return Vec::new() };
        let snapshot = request.app.view(kind).snapshot();
        let pods: Vec<Value> = snapshot
            .list(Some(name), None)
            .take(PODS_CHECKED + 1)
            .filter_map(|p| serde_json::from_slice(p.json()).ok())
            .filter(|pod| !self.exempts_pod(pod))
            .collect();
        violating(&pods, name, now)
    }
}

fn violating(pods: &[Value], namespace: &str, standard: Standard) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().take(PODS_CHECKED) {
        let found = pod_security::violations(standard, pod);
        if !found.is_empty() {
            let name = value::str_at(pod, "metadata.name").unwrap_or_default();
            by_reason.entry(pod_security::reasons(&found)).or_default().push(name);
        }
    }
    let mut out = Vec::new();
    if pods.len() > PODS_CHECKED {
        out.push(format!("new PodSecurity enforce level only checked against the first {PODS_CHECKED} existing pods"));
    }
    if by_reason.is_empty() {
        return out;
    }
    out.push(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {:?}",
        standard.to_string()
    ));
    let mut lines: Vec<String> = by_reason.iter().map(|(reason, names)| line(names, reason)).collect();
    lines.sort_unstable();
    out.extend(lines);
    out
}

fn line(names: &[&str], reason: &str) -> String {
    let first = names.iter().min().copied().unwrap_or_default();
    match names.len() {
        1 => format!("{first}: {reason}"),
        2 => format!("{first} (and 1 other pod): {reason}"),
        many => format!("{first} (and {} other pods): {reason}", many - 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn present_pods_are_told_by_what_they_violate() {
        let pod = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let host = || json!({"hostNetwork": true});
        let pods = [
            pod("b", host()),
            pod("a", host()),
            pod("c", json!({})),
            pod("d", json!({"hostPID": true, "volumes": [{"name": "v", "hostPath": {}}]})),
        ];
        let standard = Standard { level: Level::Baseline, minor: None };
        assert_eq!(
            violating(&pods, "n", standard),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 1 other pod): host namespaces",
                "d: host namespaces, hostPath volumes",
            ]
        );
        assert_eq!(violating(&pods[2..3], "n", standard), Vec::<String>::new());
    }
}
