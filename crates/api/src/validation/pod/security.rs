//! Security contexts of pods and containers.

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{Seen, list, number, repeats, some, text, truth};
use super::{mounts, windows};
use crate::Value;

/// User and group ids are 31 bits wide.
fn id(out: &mut Out, at: At<'_>, id: Option<i64>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        out.invalid(at, id, &formats::between(0, i64::from(i32::MAX)));
    }
}

/// Prefixes of the sysctls of a namespace, or their whole names: what they are of, and the field that shares it with the host.
const NAMESPACED: &[(&str, &str)] = &[
    ("net.", "hostNetwork"),
    ("fs.mqueue.", "hostIPC"),
    ("kernel.msg", "hostIPC"),
    ("kernel.sem", "hostIPC"),
    ("kernel.shm", "hostIPC"),
];

/// The security context of a pod whose spec stands at `at`.
pub(super) fn pod(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(context) = some(spec, "securityContext") else { return };
    let at = at.child("securityContext");
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(out, at.child(key), number(context, key));
    }
    for (index, group) in list(context, "supplementalGroups").iter().enumerate() {
        id(out, at.child("supplementalGroups").index(index), group.as_i64());
    }
    if truth(spec, "shareProcessNamespace") && truth(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        out.invalid(at.child("shareProcessNamespace"), true, detail);
    }
    sysctls(out, at.child("sysctls"), list(context, "sysctls"), spec);
    let choice = |out: &mut Out, key: &str, supported: &[&str]| {
        if let Some(given) = some(context, key).and_then(Value::as_str).filter(|g| !supported.contains(g)) {
            out.not_supported(at.child(key), given, supported);
        }
    };
    choice(out, "fsGroupChangePolicy", &["Always", "OnRootMismatch"]);
    profiles(out, at, context);
    choice(out, "supplementalGroupsPolicy", &["Merge", "Strict"]);
    let policies = ["MountOption", "Recursive"];
    let allowed = if out.any_se_linux_policy { &policies } else { &policies[1..] };
    choice(out, "seLinuxChangePolicy", allowed);
}

/// Whether the pods of a spec say how SELinux labels get onto their volumes.
pub(crate) fn has_se_linux_policy(spec: &Value) -> bool {
    some(spec, "securityContext").is_some_and(|context| some(context, "seLinuxChangePolicy").is_some())
}

/// A pod with users of its own cannot share the host's namespaces.
pub(super) fn host_users(out: &mut Out, at: At<'_>, spec: &Value) {
    if host_has_users(spec) {
        return;
    }
    // Upstream's paths are the names of the fields in Go, but for one.
    for (key, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if truth(spec, key) {
            out.forbidden(at.child(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

/// Whether the users of a pod are those of its host.
pub(super) fn host_has_users(spec: &Value) -> bool {
    some(spec, "hostUsers").and_then(Value::as_bool).unwrap_or(true)
}

fn sysctls(out: &mut Out, at: At<'_>, sysctls: &[Value], spec: &Value) {
    let valid = |name: &str| {
        let part = |p: &str| {
            let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let bytes = p.as_bytes();
            bytes.first().is_some_and(|b| alnum(*b))
                && bytes.last().is_some_and(|b| alnum(*b))
                && bytes.iter().all(|b| alnum(*b) || b"-_".contains(b))
        };
        name.len() <= 253 && name.split(['.', '/']).all(part)
    };
    let mut seen = Seen::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let at = at.index(index);
        let name = text(sysctl, "name");
        let repeated = repeats(&mut seen, name);
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else if !valid(name) {
            let detail = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            out.invalid(at.child("name"), name, detail);
        } else if repeated {
            out.duplicate(at.child("name"), name);
        }
        // Slashes separate as dots do.
        let dotted = name.replace('/', ".");
        let of = NAMESPACED.iter().find(|(prefix, _)| dotted.starts_with(prefix));
        if let Some((_, field)) = of.filter(|(_, field)| truth(spec, field)) {
            out.invalid(at.child("name"), name, &format!("may not be specified when '{field}' is true"));
        }
    }
}

/// The security context of a container in a pod with this spec.
pub(super) fn container(out: &mut Out, at: At<'_>, context: &Value, spec: &Value) {
    for key in ["runAsUser", "runAsGroup"] {
        id(out, at.child(key), number(context, key));
    }
    let mount = text(context, "procMount");
    if !mount.is_empty() && !["Default", "Unmasked"].contains(&mount) {
        out.not_supported(at.child("procMount"), mount, &["Default", "Unmasked"]);
    }
    if mount == "Unmasked" && host_has_users(spec) {
        out.invalid(at.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(out, at.child("seccompProfile"), context);
    let escalation = some(context, "allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalation == Some(false) {
        if truth(context, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            out.invalid_of(at, "*core/v1.SecurityContext", context, detail);
        }
        let added = some(context, "capabilities").map_or(&[][..], |c| list(c, "add"));
        if added.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            out.invalid_of(at, "*core/v1.SecurityContext", context, detail);
        }
    }
    windows::options(out, at.child("windowsOptions"), context);
    app_armor(out, at.child("appArmorProfile"), context);
}

fn profiles(out: &mut Out, at: At<'_>, context: &Value) {
    seccomp(out, at.child("seccompProfile"), context);
    windows::options(out, at.child("windowsOptions"), context);
    app_armor(out, at.child("appArmorProfile"), context);
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn profile_type(out: &mut Out, at: At<'_>, kind: &str, field: &str) {
    if kind.is_empty() {
        out.required(at.child("type"), &format!("type is required when {field} is set"));
    } else if !PROFILES.contains(&kind) {
        out.not_supported(at.child("type"), kind, &PROFILES);
    }
}

fn seccomp(out: &mut Out, at: At<'_>, context: &Value) {
    let Some(profile) = some(context, "seccompProfile") else { return };
    let kind = text(profile, "type");
    profile_type(out, at, kind, "seccompProfile");
    let local_at = at.child("localhostProfile");
    match (kind, some(profile, "localhostProfile").and_then(Value::as_str)) {
        ("Localhost", None) => out.required(local_at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => mounts::descending(out, local_at, path),
        (_, Some(_)) => {
            let detail = "can only be set when seccomp type is Localhost";
            out.invalid_of(local_at, "*core/v1.SeccompProfile", profile, detail);
        }
        (_, None) => {}
    }
}

fn app_armor(out: &mut Out, at: At<'_>, context: &Value) {
    const PATH_BYTES: usize = 4095;
    let Some(profile) = some(context, "appArmorProfile") else { return };
    let kind = text(profile, "type");
    let local_at = at.child("localhostProfile");
    let missing = "must be set when AppArmor type is Localhost";
    match (kind, some(profile, "localhostProfile").and_then(Value::as_str)) {
        ("Localhost", None | Some("")) => out.required(local_at, missing),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                out.invalid(local_at, name, "must not be padded with whitespace");
            }
            if name.len() > PATH_BYTES {
                out.too_long(local_at, PATH_BYTES);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            out.invalid(local_at, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        (kind, _) => profile_type(out, at, kind, "appArmorProfile"),
    }
}
