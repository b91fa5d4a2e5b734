//! Security contexts of pods and containers.

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{list, number, some, text, truth};
use crate::Value;

/// User and group ids are 31 bits wide.
fn id(out: &mut Out, at: At<'_>, id: Option<i64>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        out.invalid(at, id, &formats::between(0, i64::from(i32::MAX)));
    }
}

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
    let policy = text(context, "fsGroupChangePolicy");
    if !policy.is_empty() && !["Always", "OnRootMismatch"].contains(&policy) {
        out.not_supported(at.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    let policy = text(context, "supplementalGroupsPolicy");
    if !policy.is_empty() && !["Merge", "Strict"].contains(&policy) {
        out.not_supported(at.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    sysctls(out, at.child("sysctls"), list(context, "sysctls"));
    profiles(out, at, context);
}

fn sysctls(out: &mut Out, at: At<'_>, sysctls: &[Value]) {
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
    for (index, sysctl) in sysctls.iter().enumerate() {
        let at = at.index(index);
        let name = text(sysctl, "name");
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else if !valid(name) {
            let detail = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            out.invalid(at.child("name"), name, detail);
        } else if sysctls[..index].iter().any(|s| text(s, "name") == name) {
            out.duplicate(at.child("name"), name);
        }
    }
}

/// The security context of a container.
pub(super) fn container(out: &mut Out, at: At<'_>, context: &Value) {
    for key in ["runAsUser", "runAsGroup"] {
        id(out, at.child(key), number(context, key));
    }
    let escalation = some(context, "allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalation == Some(false) {
        if truth(context, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            out.invalid(at, context.clone(), detail);
        }
        let added = some(context, "capabilities").map_or(&[][..], |c| list(c, "add"));
        if added.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            out.invalid(at, context.clone(), detail);
        }
    }
    let mount = text(context, "procMount");
    if !mount.is_empty() && !["Default", "Unmasked"].contains(&mount) {
        out.not_supported(at.child("procMount"), mount, &["Default", "Unmasked"]);
    }
    profiles(out, at, context);
}

/// `seccompProfile` and `appArmorProfile`, which have the same shape.
fn profiles(out: &mut Out, at: At<'_>, context: &Value) {
    for (key, what) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let Some(profile) = some(context, key) else { continue };
        let at = at.child(key);
        let kind = text(profile, "type");
        out.one_of(at.child("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"]);
        let local = text(profile, "localhostProfile");
        if kind == "Localhost" && local.is_empty() {
            let detail = format!("must be set when {what} type is Localhost");
            out.required(at.child("localhostProfile"), &detail);
        } else if kind != "Localhost" && some(profile, "localhostProfile").is_some() {
            let detail = format!("can only be set when {what} type is Localhost");
            out.invalid(at.child("localhostProfile"), local, &detail);
        }
    }
}
