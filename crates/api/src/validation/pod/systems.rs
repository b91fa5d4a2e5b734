//! What pods of one operating system cannot have of the other.

use super::super::at::{At, Out};
use super::super::read::{list, some, text, truth};
use crate::Value;

const SYSTEMS: &[&str] = &["linux", "windows"];
const NOT_ON_LINUX: &str = "windows options cannot be set for a linux pod";
const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
/// Fields of a pod's security context that mean nothing on Windows, in upstream's order; those of the spec stand between them.
const OF_POD: &[(&str, bool)] = &[
    ("appArmorProfile", true),
    ("seLinuxOptions", true),
    ("hostUsers", false),
    ("hostPID", false),
    ("hostIPC", false),
    ("seccompProfile", true),
    ("fsGroup", true),
    ("fsGroupChangePolicy", true),
    ("sysctls", true),
    ("shareProcessNamespace", false),
    ("runAsUser", true),
    ("runAsGroup", true),
    ("supplementalGroups", true),
    ("supplementalGroupsPolicy", true),
    ("seLinuxChangePolicy", true),
];
/// The same of a container.
const OF_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `os` of a pod, and what it rules out.
pub(super) fn check(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(os) = some(spec, "os") else { return };
    let context = some(spec, "securityContext").unwrap_or(&Value::Null);
    let context_at = at.child("securityContext");
    match text(os, "name") {
        "" => out.required(at.child("os.name"), "cannot be empty"),
        "linux" => {
            if some(context, "windowsOptions").is_some() {
                out.forbidden(context_at.child("windowsOptions"), NOT_ON_LINUX);
            }
            containers(out, at, spec, |out, at, context| {
                if some(context, "windowsOptions").is_some() {
                    out.forbidden(at.child("windowsOptions"), NOT_ON_LINUX);
                }
            });
        }
        "windows" => {
            for (key, of_context) in OF_POD {
                let set = match *key {
                    "hostPID" | "hostIPC" => truth(spec, key),
                    "sysctls" => !list(context, key).is_empty(),
                    _ => some(if *of_context { context } else { spec }, key).is_some(),
                };
                if set {
                    out.forbidden(if *of_context { context_at.child(key) } else { at.child(key) }, NOT_ON_WINDOWS);
                }
            }
            containers(out, at, spec, |out, at, context| {
                for key in OF_CONTAINER.iter().filter(|key| some(context, key).is_some()) {
                    out.forbidden(at.child(key), NOT_ON_WINDOWS);
                }
            });
        }
        other => out.not_supported(at.child("os"), other, SYSTEMS),
    }
}

/// Looks at the security context of every container.
fn containers(out: &mut Out, at: At<'_>, spec: &Value, look: impl Fn(&mut Out, At<'_>, &Value)) {
    for key in ["initContainers", "containers", "ephemeralContainers"] {
        let list_at = at.child(key);
        for (index, container) in list(spec, key).iter().enumerate() {
            let at = list_at.index(index);
            if let Some(context) = some(container, "securityContext") {
                look(out, at.child("securityContext"), context);
            }
        }
    }
}
