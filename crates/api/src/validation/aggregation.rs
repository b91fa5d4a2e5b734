//! APIServices (k8s.io/kube-aggregator/pkg/apis/apiregistration/validation).

use super::at::{At, Out};
use super::read::{list, map, number, text, truth};
use crate::Value;
use crate::names;

/// The highest `groupPriorityMinimum`.
const GROUP_PRIORITY: i64 = 20_000;
/// The highest `versionPriority`.
const VERSION_PRIORITY: i64 = 1_000;

/// An APIService, new or changed.
pub(super) fn api_service(out: &mut Out, object: &Value) {
    let none = Value::Null;
    let spec = object.get("spec").unwrap_or(&none);
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let name = object.get("metadata").map_or("", |metadata| text(metadata, "name"));
    let required = format!("{version}.{group}");
    if !name.is_empty() && name != required {
        let why = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
        out.invalid(At::Root("metadata.name"), name, &why);
    }
    let at = At::Root("spec");
    if group.is_empty() && version != "v1" {
        out.required(at.child("group"), "only v1 may have an empty group and it better be legacy kube");
    }
    if !group.is_empty() {
        out.invalid_each(at.child("group"), group, names::dns_subdomain(group));
    }
    out.invalid_each(at.child("version"), version, names::dns_1035_label(version));
    priority(out, at.child("groupPriorityMinimum"), spec, GROUP_PRIORITY);
    priority(out, at.child("versionPriority"), spec, VERSION_PRIORITY);
    let (bundle, insecure) = (text(spec, "caBundle"), truth(spec, "insecureSkipTLSVerify"));
    let Some(service) = spec.get("service").filter(|_| map(spec, "service").is_some()) else {
        if !bundle.is_empty() {
            let bytes = bundle.trim_end_matches('=').len() * 3 / 4;
            out.invalid(at.child("caBundle"), format!("{bytes} bytes"), "local APIServices may not have a caBundle");
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            out.invalid(at.child("insecureSkipTLSVerify"), true, why);
        }
        return;
    };
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            out.required(at.child("service").child(field), "");
        }
    }
    let port = number(service, "port").unwrap_or(0);
    if let Some(why) = super::formats::port_number(port) {
        out.invalid(at.child("service.port"), port, &format!("port is not valid: {why}"));
    }
    if insecure && !bundle.is_empty() {
        out.invalid(at.child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
    }
}

fn priority(out: &mut Out, at: At<'_>, spec: &Value, most: i64) {
    let At::Child(_, field) = at else { return };
    let value = number(spec, field).unwrap_or_default();
    if value <= 0 || value > most {
        out.invalid(at, value, &format!("must be positive and less than {most}"));
    }
}

/// The status of an APIService.
pub(super) fn api_service_status(out: &mut Out, object: &Value) {
    let none = Value::Null;
    let at = At::Root("status.conditions");
    for (index, condition) in list(object.get("status").unwrap_or(&none), "conditions").iter().enumerate() {
        let status = text(condition, "status");
        if !["True", "False", "Unknown"].contains(&status) {
            out.not_listed(at.index(index).child("status"), status, &["True", "False", "Unknown"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(spec: Value, name: &str) -> Vec<String> {
        let mut out = Out::default();
        api_service(&mut out, &json!({"metadata": {"name": name}, "spec": spec}));
        out.into_errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn remote_and_local_ones_have_rules_of_their_own() {
        let good = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 20_000, "versionPriority": 1});
        let with = |more: Value| {
            let mut spec = good.clone();
            spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            spec
        };
        assert_eq!(errors(good.clone(), "v1.a.b"), Vec::<String>::new());
        let service = json!({"namespace": "n", "name": "s", "port": 443});
        assert_eq!(errors(with(json!({"service": service, "caBundle": "AAAA"})), "v1.a.b"), Vec::<String>::new());
        let check = |spec: Value, name: &str, expected: &str| assert_eq!(errors(spec, name), [expected]);
        check(
            good.clone(),
            "v2.a.b",
            "metadata.name: Invalid value: \"v2.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
        );
        check(
            with(json!({"group": "", "version": "v2"})),
            "v2.",
            "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
        );
        check(
            with(json!({"groupPriorityMinimum": 20_001})),
            "v1.a.b",
            "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
        );
        check(
            with(json!({"versionPriority": 0})),
            "v1.a.b",
            "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
        );
        check(
            with(json!({"caBundle": "AAAA"})),
            "v1.a.b",
            "spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle",
        );
        check(
            with(json!({"service": {"namespace": "n", "name": "s", "port": 0}})),
            "v1.a.b",
            "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
        );
        check(with(json!({"service": {"name": "s", "port": 443}})), "v1.a.b", "spec.service.namespace: Required value");
        check(
            with(json!({"service": service, "caBundle": "AAAA", "insecureSkipTLSVerify": true})),
            "v1.a.b",
            "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
        );
    }
}
