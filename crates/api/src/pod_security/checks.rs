//! The checks: those of the baseline in the order of their names, then those of the restricted level.

use std::collections::BTreeSet;

use super::Violation;
use crate::Value;
use crate::value::{bool_at, get, i64_at, list_at, map_at, str_at};

/// Capabilities that container runtimes give anyway.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The first minor version that trusts pods with users of their own (KEP-127).
const OWN_USERS: u32 = 35;
/// Sysctls that are the pod's own, and the version that added them.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
/// Volumes that restricted pods may have.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

struct Pod<'a> {
    pod: &'a Value,
    minor: u32,
    containers: Vec<&'a Value>,
}

type Found = Option<Violation>;

fn found(reason: &str, detail: String) -> Found {
    Some(Violation { reason: reason.to_owned(), detail })
}

/// `one` or `many`, by the number of things.
fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| format!("{:?}", i.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `containers "a", "b"`
fn named(containers: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", containers.len()), quoted(containers))
}

impl<'a> Pod<'a> {
    fn at(&self, path: &str) -> Option<&'a Value> {
        get(self.pod, path).filter(|v| !v.is_null())
    }

    /// Whether root in the pod is nobody outside, and the policy knows that.
    fn has_own_users(&self) -> bool {
        self.minor >= OWN_USERS && self.at("spec.hostUsers") == Some(&Value::Bool(false))
    }

    fn is_windows(&self) -> bool {
        self.minor >= 25 && self.at("spec.os.name").and_then(Value::as_str) == Some("windows")
    }

    /// The names of the containers that `test` is true of.
    fn where_(&self, test: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers.iter().filter(|c| test(c)).map(|c| str_at(c, "name").unwrap_or_default()).collect()
    }

    /// Who sets a value of `securityContext` at `path` that is not `allowed`: `pod and container "a"`, and the values.
    fn setters(&self, path: &str, allowed: impl Fn(&Value) -> bool) -> (Vec<String>, BTreeSet<String>) {
        let (mut setters, mut values) = (Vec::new(), BTreeSet::new());
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        if let Some(value) = self.at(&format!("spec.securityContext.{path}")).filter(|v| !allowed(v)) {
            setters.push("pod".to_owned());
            values.insert(text(value));
        }
        let own = format!("securityContext.{path}");
        let bad = |c: &Value| get(c, &own).filter(|v| !v.is_null() && !allowed(v)).map(text);
        let containers = self.where_(|c| bad(c).is_some());
        values.extend(self.containers.iter().filter_map(|c| bad(c)));
        if !containers.is_empty() {
            setters.push(named(&containers));
        }
        (setters, values)
    }
}

pub(super) fn all(restricted: bool, minor: u32, pod: &Value) -> Vec<Violation> {
    let lists = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    let pod = Pod { pod, minor, containers: lists.iter().flat_map(|path| list_at(pod, path)).collect() };
    let mut all = vec![app_armor(&pod)];
    if !restricted || minor < 22 {
        all.push(capabilities(&pod));
    }
    all.push(host_namespaces(&pod));
    if !restricted {
        all.push(host_paths(&pod));
    }
    // From 1.35 on the restricted level has a check of its own for what /proc shows.
    let own_proc = restricted && minor >= OWN_USERS;
    all.extend([host_ports(&pod), host_probes(&pod), privileged(&pod)]);
    if !own_proc && !pod.has_own_users() {
        all.push(proc_mount(&pod));
    }
    all.push(se_linux(&pod));
    if !restricted || minor < 19 {
        all.push(seccomp(&pod));
    }
    all.extend([sysctls(&pod), host_process(&pod)]);
    if restricted {
        all.extend([
            privilege_escalation(&pod),
            dropped_capabilities(&pod),
            if own_proc { proc_mount(&pod) } else { None },
            volume_types(&pod),
            non_root(&pod),
            root_user(&pod),
            chosen_seccomp(&pod),
        ]);
    }
    all.into_iter().flatten().collect()
}

fn app_armor(pod: &Pod<'_>) -> Found {
    let fine = |v: &Value| matches!(v.as_str(), Some("RuntimeDefault" | "Localhost"));
    let (mut setters, values) = pod.setters("appArmorProfile.type", fine);
    let mut values: Vec<String> = values.into_iter().collect();
    let annotations = map_at(pod.pod, "metadata.annotations").into_iter().flatten();
    let forbidden: Vec<String> = annotations
        .filter(|(key, _)| key.starts_with("container.apparmor.security.beta.kubernetes.io/"))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, v)| !(v.is_empty() || *v == "runtime/default" || v.starts_with("localhost/")))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !forbidden.is_empty() {
        setters.push(plural("annotation", "annotations", forbidden.len()).to_owned());
        values.extend(forbidden);
    }
    if setters.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    found(reason, format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values)))
}

/// Capabilities that a container adds beyond `allowed`.
fn added<'a>(container: &'a Value, allowed: &[&str]) -> Vec<&'a str> {
    let all = list_at(container, "securityContext.capabilities.add").iter().filter_map(Value::as_str);
    all.filter(|c| !allowed.contains(c)).collect()
}

fn capabilities(pod: &Pod<'_>) -> Found {
    let bad = pod.where_(|c| !added(c, DEFAULT_CAPABILITIES).is_empty());
    let which: BTreeSet<&str> = pod.containers.iter().flat_map(|c| added(c, DEFAULT_CAPABILITIES)).collect();
    let detail = || format!("{} must not include {} in securityContext.capabilities.add", named(&bad), quoted(&which));
    if bad.is_empty() { None } else { found("non-default capabilities", detail()) }
}

fn host_namespaces(pod: &Pod<'_>) -> Found {
    let keys = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let set: Vec<String> =
        keys.filter(|k| bool_at(pod.pod, &format!("spec.{k}"))).map(|k| format!("{k}=true")).collect();
    if set.is_empty() { None } else { found("host namespaces", set.join(", ")) }
}

fn host_paths(pod: &Pod<'_>) -> Found {
    let volumes = list_at(pod.pod, "spec.volumes").iter().filter(|v| get(v, "hostPath").is_some_and(|p| !p.is_null()));
    let names: Vec<&str> = volumes.map(|v| str_at(v, "name").unwrap_or_default()).collect();
    let detail = || format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    if names.is_empty() { None } else { found("hostPath volumes", detail()) }
}

fn host_ports(pod: &Pod<'_>) -> Found {
    let ports = |c: &Value| -> Vec<String> {
        let all = list_at(c, "ports").iter().map(|p| i64_at(p, "hostPort").unwrap_or(0));
        all.filter(|p| *p != 0).map(|p| p.to_string()).collect()
    };
    let bad = pod.where_(|c| !ports(c).is_empty());
    let which: BTreeSet<String> = pod.containers.iter().flat_map(|c| ports(c)).collect();
    if bad.is_empty() {
        return None;
    }
    let which: Vec<String> = which.into_iter().collect();
    let (uses, what) = (plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", which.len()));
    found("hostPort", format!("{} {uses} {what} {}", named(&bad), which.join(", ")))
}

fn host_probes(pod: &Pod<'_>) -> Found {
    const HANDLERS: [&str; 5] =
        ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    let hosts = |c: &'_ Value| -> Vec<String> {
        let of = |handler: &str| {
            ["httpGet", "tcpSocket"].map(|kind| str_at(c, &format!("{handler}.{kind}.host")).unwrap_or_default())
        };
        HANDLERS.iter().flat_map(|h| of(h)).filter(|h| !h.is_empty()).map(str::to_owned).collect()
    };
    if pod.minor < 34 {
        return None;
    }
    let bad: BTreeSet<&str> = pod.where_(|c| !hosts(c).is_empty()).into_iter().collect();
    let bad: Vec<&str> = bad.into_iter().collect();
    let which: BTreeSet<String> = pod.containers.iter().flat_map(|c| hosts(c)).collect();
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", which.len());
    found("probe or lifecycle host", format!("{} {uses} {what} {}", named(&bad), quoted(&which)))
}

fn privileged(pod: &Pod<'_>) -> Found {
    let bad = pod.where_(|c| bool_at(c, "securityContext.privileged"));
    let detail = || format!("{} must not set securityContext.privileged=true", named(&bad));
    if bad.is_empty() { None } else { found("privileged", detail()) }
}

fn proc_mount(pod: &Pod<'_>) -> Found {
    let of = |c: &Value| str_at(c, "securityContext.procMount").filter(|m| *m != "Default").map(str::to_owned);
    let bad = pod.where_(|c| of(c).is_some());
    let which: BTreeSet<String> = pod.containers.iter().filter_map(|c| of(c)).collect();
    let detail = || format!("{} must not set securityContext.procMount to {}", named(&bad), quoted(&which));
    if bad.is_empty() { None } else { found("procMount", detail()) }
}

fn se_linux(pod: &Pod<'_>) -> Found {
    let engine = if pod.minor >= 31 { "container_engine_t" } else { "" };
    let types = ["", "container_t", "container_init_t", "container_kvm_t", engine];
    let text = |o: &Value, key: &str| str_at(o, key).unwrap_or_default().to_owned();
    let fine = |o: &Value| {
        types.contains(&text(o, "type").as_str()) && text(o, "user").is_empty() && text(o, "role").is_empty()
    };
    let (setters, _) = pod.setters("seLinuxOptions", fine);
    if setters.is_empty() {
        return None;
    }
    let own = pod.containers.iter().filter_map(|c| get(c, "securityContext.seLinuxOptions"));
    let options: Vec<&Value> = pod.at("spec.securityContext.seLinuxOptions").into_iter().chain(own).collect();
    let bad: BTreeSet<String> =
        options.iter().map(|o| text(o, "type")).filter(|t| !types.contains(&t.as_str())).collect();
    let mut what = Vec::new();
    if !bad.is_empty() {
        what.push(format!("{} {}", plural("type", "types", bad.len()), quoted(&bad)));
    }
    for key in ["user", "role"] {
        if options.iter().any(|o| !text(o, key).is_empty()) {
            what.push(format!("{key} may not be set"));
        }
    }
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), what.join("; "));
    found("seLinuxOptions", detail)
}

fn seccomp_profile(value: &Value) -> bool {
    matches!(value.as_str(), Some("RuntimeDefault" | "Localhost"))
}

fn must_not_set_seccomp((setters, values): (Vec<String>, BTreeSet<String>)) -> Found {
    if setters.is_empty() {
        return None;
    }
    let who = setters.join(" and ");
    found("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&values)))
}

fn seccomp(pod: &Pod<'_>) -> Found {
    if pod.minor < 19 {
        return seccomp_annotations(pod);
    }
    must_not_set_seccomp(pod.setters("seccompProfile.type", seccomp_profile))
}

/// As it was said before there were fields.
fn seccomp_annotations(pod: &Pod<'_>) -> Found {
    let annotations = map_at(pod.pod, "metadata.annotations");
    let names = pod.containers.iter().filter_map(|c| str_at(c, "name"));
    let keys = names.map(|name| format!("container.seccomp.security.alpha.kubernetes.io/{name}"));
    let keys = keys.chain(["seccomp.security.alpha.kubernetes.io/pod".to_owned()]);
    let fine = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad: BTreeSet<String> = keys
        .filter_map(|key| {
            let value = annotations?.get(&key)?.as_str().filter(|value| !fine(value))?;
            Some(format!("{key}={value:?}"))
        })
        .collect();
    let what = plural("annotation", "annotations", bad.len());
    let detail = || format!("forbidden {what} {}", bad.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    if bad.is_empty() { None } else { found("seccompProfile", detail()) }
}

fn sysctls(pod: &Pod<'_>) -> Found {
    let allowed = |name: &str| SYSCTLS.iter().any(|(n, since)| *n == name && *since <= pod.minor);
    let all = list_at(pod.pod, "spec.securityContext.sysctls").iter().filter_map(|s| str_at(s, "name"));
    let bad: Vec<&str> = all.filter(|name| !allowed(name)).collect();
    if bad.is_empty() {
        return None;
    }
    found(plural("forbidden sysctl", "forbidden sysctls", bad.len()), bad.join(", "))
}

fn host_process(pod: &Pod<'_>) -> Found {
    let (setters, _) = pod.setters("windowsOptions.hostProcess", |v| v != true);
    let detail = || format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    if setters.is_empty() { None } else { found("hostProcess", detail()) }
}

fn privilege_escalation(pod: &Pod<'_>) -> Found {
    let bad = pod.where_(|c| get(c, "securityContext.allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    if bad.is_empty() || pod.minor < 8 || pod.is_windows() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&bad));
    found("allowPrivilegeEscalation != false", detail)
}

fn dropped_capabilities(pod: &Pod<'_>) -> Found {
    if pod.minor < 22 || pod.is_windows() {
        return None;
    }
    let allowed = ["NET_BIND_SERVICE"];
    let keeps = pod.where_(|c| !list_at(c, "securityContext.capabilities.drop").iter().any(|d| d == "ALL"));
    let adds = pod.where_(|c| !added(c, &allowed).is_empty());
    let which: BTreeSet<&str> = pod.containers.iter().flat_map(|c| added(c, &allowed)).collect();
    let mut details = Vec::new();
    if !keeps.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeps)));
    }
    if !adds.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&adds),
            quoted(&which)
        ));
    }
    if details.is_empty() { None } else { found("unrestricted capabilities", details.join("; ")) }
}

fn volume_types(pod: &Pod<'_>) -> Found {
    let source = |v: &Value| {
        let all = v.as_object().into_iter().flatten();
        let mut sources = all.filter(|(key, value)| *key != "name" && !value.is_null()).map(|(key, _)| key.clone());
        sources.find(|key| !VOLUMES.contains(&key.as_str()))
    };
    let bad: Vec<(&str, String)> = list_at(pod.pod, "spec.volumes")
        .iter()
        .filter_map(|v| Some((str_at(v, "name").unwrap_or_default(), source(v)?)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = bad.iter().map(|(_, kind)| kind.as_str()).collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(bad.iter().map(|(name, _)| *name)),
        plural("uses", "use", bad.len()),
        plural("restricted volume type", "restricted volume types", types.len()),
        quoted(&types)
    );
    found("restricted volume types", detail)
}

fn non_root(pod: &Pod<'_>) -> Found {
    const REASON: &str = "runAsNonRoot != true";
    if pod.has_own_users() {
        return None;
    }
    let (setters, _) = pod.setters("runAsNonRoot", |v| v == true);
    if !setters.is_empty() {
        return found(REASON, format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and ")));
    }
    if pod.at("spec.securityContext.runAsNonRoot").is_some() {
        return None;
    }
    let silent = pod.where_(|c| get(c, "securityContext.runAsNonRoot").is_none_or(Value::is_null));
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent));
    if silent.is_empty() { None } else { found(REASON, detail()) }
}

fn root_user(pod: &Pod<'_>) -> Found {
    let (setters, _) = pod.setters("runAsUser", |v| v != 0);
    if setters.is_empty() || pod.minor < 23 || pod.has_own_users() {
        return None;
    }
    found("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}

fn chosen_seccomp(pod: &Pod<'_>) -> Found {
    if pod.minor < 19 || pod.is_windows() {
        return None;
    }
    let explicit = must_not_set_seccomp(pod.setters("seccompProfile.type", seccomp_profile));
    if explicit.is_some() || pod.at("spec.securityContext.seccompProfile.type").is_some() {
        return explicit;
    }
    let silent = pod.where_(|c| get(c, "securityContext.seccompProfile.type").is_none());
    let detail = || {
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named(&silent)
        )
    };
    if silent.is_empty() { None } else { found("seccompProfile", detail()) }
}
