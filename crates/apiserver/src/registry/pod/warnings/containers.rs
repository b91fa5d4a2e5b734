//! Containers: profiles in annotations, fractions of bytes, variables and ports that stand twice.

use std::collections::{HashMap, HashSet};

use gantry_api::{Object, Value, value};

use super::{SECCOMP, annotated, fraction};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn each<'p>(at: &str, spec: &'p Value) -> impl Iterator<Item = (String, &'p Value)> {
    LISTS.iter().flat_map(move |list| {
        let containers = value::list_at(spec, list).iter().enumerate();
        containers.map(move |(index, container)| (format!("{at}.{list}[{index}]"), container))
    })
}

/// The warnings about each container but for those about ports; `first` says what comes first.
pub(super) fn all(out: &mut Vec<String>, at: &str, spec: &Value, first: impl Fn(&mut Vec<String>, &Value)) {
    for (at, container) in each(at, spec) {
        first(out, container);
        let resources = container.get("resources").unwrap_or(&Value::Null);
        for resource in ["memory", "ephemeral-storage"] {
            for list in ["limits", "requests"] {
                let quantity = resources.get(list).and_then(|l| l.get(resource));
                out.extend(fraction(|| format!("{at}.resources.{list}[{resource}]"), quantity));
            }
        }
        variables(out, &at, container);
    }
}

/// Profiles that an annotation gives the container and no field does. A pod's own annotation is made a field.
pub(super) fn profiles(
    out: &mut Vec<String>,
    annotations: Option<&Object>,
    (at, is_template): (&str, bool),
    spec: &Value,
    container: &Value,
) {
    if annotations.is_none() {
        return;
    }
    let name = value::str_at(container, "name").unwrap_or_default();
    let has = |of: &Value, profile: &str| of.get("securityContext").is_some_and(|c| c.get(profile).is_some());
    if !has(container, "seccompProfile") {
        out.extend(annotated(
            annotations,
            at,
            &format!("container.seccomp.security.alpha.kubernetes.io/{name}"),
            SECCOMP,
        ));
    }
    if is_template && !has(spec, "appArmorProfile") && !has(container, "appArmorProfile") {
        let why = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
        out.extend(annotated(annotations, at, &format!("container.apparmor.security.beta.kubernetes.io/{name}"), why));
    }
}

/// A variable that stands again may build on what it was.
fn variables(out: &mut Vec<String>, at: &str, container: &Value) {
    let mut names = HashSet::new();
    for (index, variable) in value::list_at(container, "env").iter().enumerate() {
        let text = |key| value::str_at(variable, key).unwrap_or_default();
        let name = text("name");
        if names.insert(name) {
            continue;
        }
        let before = format!("$({name})");
        let is_computed = value::get(variable, "valueFrom").is_some();
        if is_computed || text("value") == before || !text("value").contains(&before) {
            out.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

/// A port of a container, and where it stands.
struct Port<'p> {
    at: String,
    host_ip: &'p str,
    host_port: i64,
}

/// Pairs of ports that are compared: nobody declares so many of one number, and each pair can have its warning.
const COMPARED_MAX: usize = 1_000_000;

/// Ports of all containers that get in each other's way.
pub(super) fn ports(out: &mut Vec<String>, at: &str, spec: &Value) {
    let mut compared = 0;
    let mut taken: HashMap<(i64, &str), Vec<Port<'_>>> = HashMap::new();
    for (at, container) in each(at, spec) {
        for (index, port) in value::list_at(container, "ports").iter().enumerate() {
            let text = |key| value::str_at(port, key).unwrap_or_default();
            let number = |key| value::i64_at(port, key).unwrap_or_default();
            let protocol = value::str_at(port, "protocol").unwrap_or("TCP");
            let port =
                Port { at: format!("{at}.ports[{index}]"), host_ip: text("hostIP"), host_port: number("hostPort") };
            if !port.host_ip.is_empty() && port.host_port == 0 {
                out.push(format!(
                    "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{protocol} HostIP:{}}}",
                    port.at,
                    text("name"),
                    number("containerPort"),
                    port.host_ip
                ));
            }
            let others = taken.entry((number("containerPort"), protocol)).or_default();
            compared += others.len();
            if compared > COMPARED_MAX || out.len() > super::WARNINGS_MAX {
                return;
            }
            out.extend(others.iter().filter_map(|other| {
                Some(format!("{}: {} port definition with {}", port.at, conflict(&port, other)?, other.at))
            }));
            others.push(port);
        }
    }
}

fn conflict(port: &Port<'_>, other: &Port<'_>) -> Option<&'static str> {
    if (port.host_ip, port.host_port) == (other.host_ip, other.host_port) {
        Some("duplicate")
    } else if port.host_port == 0 || other.host_port == 0 {
        Some("overlapping")
    } else {
        let one_is_open = port.host_ip.is_empty() != other.host_ip.is_empty();
        (port.host_port == other.host_port && one_is_open).then_some("dangerously ambiguous")
    }
}
