//! Ingresses: hosts, paths and what is behind them; and their classes.

use super::super::at::{At, Out};
use super::super::read::{list, map, number, some, text};
use super::super::{formats, service};
use super::UNSET;
use crate::Value;
use crate::names;

const CLASS: &str = "kubernetes.io/ingress.class";

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

/// What holds for new ingresses only.
pub(in super::super) fn create(out: &mut Out, object: &Value) {
    let annotations = some(object, "metadata").and_then(|m| map(m, "annotations"));
    let Some(class) = annotations.and_then(|a| a.get(CLASS)) else { return };
    if some(spec_of(object), "ingressClassName").is_some_and(|named| named != class) {
        let at = At::Root("annotations");
        out.invalid(at.child(CLASS), class.clone(), "must match `ingressClassName` when both are specified");
    }
}

/// An ingress.
pub(in super::super) fn ingress(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let (rules, default) = (list(spec, "rules"), some(spec, "defaultBackend"));
    if rules.is_empty() && default.is_none() {
        let rules = spec.get("rules");
        out.invalid_of(
            at,
            "[]networking/v1.IngressRule",
            rules,
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(default) = default {
        backend(out, at.child("defaultBackend"), default);
    }
    let rules_at = at.child("rules");
    for (index, rule) in rules.iter().enumerate() {
        let at = rules_at.index(index);
        host(out, at.child("host"), text(rule, "host"));
        let Some(http) = some(rule, "http") else { continue };
        let paths = at.child("http.paths");
        if list(http, "paths").is_empty() {
            out.required(paths, "");
        }
        for (index, path) in list(http, "paths").iter().enumerate() {
            self::path(out, paths.index(index), path);
        }
    }
    let tls_at = at.child("tls");
    for (index, tls) in list(spec, "tls").iter().enumerate() {
        let at = tls_at.index(index);
        let hosts = at.child("hosts");
        for (index, name) in list(tls, "hosts").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let found = if name.contains('*') { wildcard(name) } else { names::dns_subdomain(name) };
            out.invalid_each(hosts.index(index), name, found);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            out.invalid_each(at.child("secretName"), secret, names::dns_subdomain(secret));
        }
    }
    if let Some(class) = some(spec, "ingressClassName").and_then(Value::as_str) {
        out.invalid_each(at.child("ingressClassName"), class, names::dns_subdomain(class));
    }
}

/// `*.example.com`
fn wildcard(name: &str) -> Vec<String> {
    let rest = name.strip_prefix("*.");
    if rest.is_some_and(|rest| names::dns_subdomain(rest).is_empty()) {
        return Vec::new();
    }
    vec![
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
         lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
         regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned(),
    ]
}

fn host(out: &mut Out, at: At<'_>, host: &str) {
    if host.is_empty() {
        return;
    }
    if formats::ip(host).is_none() {
        out.invalid(at, host, "must be a DNS name, not an IP address");
    }
    let found = if host.contains('*') { wildcard(host) } else { names::dns_subdomain(host) };
    out.invalid_each(at, host, found);
}

fn path(out: &mut Out, at: At<'_>, rule: &Value) {
    let (kind, path) = (text(rule, "pathType"), text(rule, "path"));
    let path_at = at.child("path");
    if some(rule, "pathType").is_none() {
        out.required(at.child("pathType"), "pathType must be specified");
        return;
    }
    match kind {
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                out.invalid(path_at, path, "must be an absolute path");
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if !path.is_empty() && path.contains(sequence) {
                    out.invalid(path_at, path, &format!("must not contain '{sequence}'"));
                }
            }
            for suffix in ["/..", "/."] {
                if path.ends_with(suffix) {
                    out.invalid(path_at, path, &format!("cannot end with '{suffix}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                out.invalid(path_at, path, "must be an absolute path");
            }
        }
        other => {
            out.not_supported(at.child("pathType"), other, &["Exact", "ImplementationSpecific", "Prefix"]);
        }
    }
    backend(out, at.child("backend"), some(rule, "backend").unwrap_or(&UNSET));
}

fn backend(out: &mut Out, at: At<'_>, backend: &Value) {
    match (some(backend, "service"), some(backend, "resource")) {
        (Some(_), Some(_)) => out.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => out.invalid(at, "", "resource or service backend is required"),
        (None, Some(resource)) => {
            reference(out, at.child("resource"), resource);
        }
        (Some(found), None) => {
            match text(found, "name") {
                "" => out.required(at.child("service.name"), ""),
                name => out.invalid_each(at.child("service.name"), name, names::dns_1035_label(name)),
            }
            let port = some(found, "port").unwrap_or(&UNSET);
            let (name, number) = (text(port, "name"), number(port, "number").unwrap_or(0));
            // What is wrong with both is told of the backend.
            match (name, number) {
                ("", 0) => out.required(at, "port name or number is required"),
                ("", number) => {
                    if let Some(detail) = formats::port_number(number) {
                        out.invalid(at.child("service.port.number"), number, &detail);
                    }
                }
                (name, 0) => out.invalid_each(at.child("service.port.name"), name, names::port_name(name)),
                _ => out.invalid(at, "", "cannot set both port name & port number"),
            }
        }
    }
}

/// What stands behind an ingress or configures a class: its group, kind and name.
fn reference(out: &mut Out, at: At<'_>, reference: &Value) {
    if let Some(group) = some(reference, "apiGroup").and_then(Value::as_str) {
        out.invalid_each(at.child("apiGroup"), group, names::dns_subdomain(group));
    }
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => out.required(at.child(key), if key == "kind" { "kind is required" } else { "name is required" }),
            found => out.invalid_each(at.child(key), found, names::path_segment(found)),
        }
    }
}

/// The addresses that a controller reports.
pub(in super::super) fn status(out: &mut Out, new: &Value, old: &Value) {
    service::published(out, new, old, |_, _, _| {});
}

/// An ingress class.
pub(in super::super) fn class(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let controller = text(spec, "controller");
    if controller.len() > 250 {
        out.too_long(at.child("controller"), 250);
    }
    formats::domain_prefixed_path(out, at.child("controller"), controller);
    let Some(parameters) = some(spec, "parameters") else { return };
    let at = at.child("parameters");
    reference(out, at, parameters);
    if some(parameters, "scope").is_none() {
        out.required(at.child("scope"), "");
        return;
    }
    let (scope, namespace) = (text(parameters, "scope"), some(parameters, "namespace"));
    match (scope, namespace) {
        ("Namespace", None) => {
            out.required(at.child("namespace"), "`parameters.scope` is set to 'Namespace'");
        }
        ("Namespace", Some(namespace)) => {
            let namespace = namespace.as_str().unwrap_or_default();
            out.invalid_each(at.child("namespace"), namespace, names::dns_label(namespace));
        }
        ("Cluster", Some(_)) => out.forbidden(at.child("namespace"), "`parameters.scope` is set to 'Cluster'"),
        ("Cluster", None) => {}
        (other, _) => out.not_supported(at.child("scope"), other, &["Cluster", "Namespace"]),
    }
}

/// Who serves a class does not change under its ingresses.
pub(in super::super) fn class_update(out: &mut Out, new: &Value, old: &Value) {
    let controller = |object| spec_of(object).get("controller");
    out.immutable(At::Root("spec.controller"), "string", controller(new), controller(old));
}
