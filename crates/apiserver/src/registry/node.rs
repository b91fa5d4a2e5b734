//! Nodes: their kubelet creates them with a status, which is kept.

use std::borrow::Cow;

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, of_field, text, text_or};
use super::{Column, Row, Strategy, metadata_field, written};

/// The strategy of nodes.
pub(super) struct Node;

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "The status of the node"),
    column("Roles", "string", "The roles of the node"),
    AGE,
    of_field("Version", "string", "core/v1.NodeSystemInfo", "kubeletVersion"),
    of_field("Internal-IP", "string", "core/v1.NodeStatus", "addresses").wide(),
    of_field("External-IP", "string", "core/v1.NodeStatus", "addresses").wide(),
    of_field("OS-Image", "string", "core/v1.NodeSystemInfo", "osImage").wide(),
    of_field("Kernel-Version", "string", "core/v1.NodeSystemInfo", "kernelVersion").wide(),
    of_field("Container-Runtime", "string", "core/v1.NodeSystemInfo", "containerRuntimeVersion").wide(),
];

impl Strategy for Node {
    fn resets_status(&self) -> bool {
        false
    }

    fn warnings(&self, node: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut found = Vec::new();
        if value::get(node, "spec.configSource").is_some_and(|source| !source.is_null()) {
            found.push("spec.configSource: the feature is removed".to_owned());
        }
        if !text(node, "spec.externalID").is_empty() {
            found.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for (index, range) in value::list_at(node, "spec.podCIDRs").iter().enumerate() {
            found.extend(written::cidr(&format!("spec.podCIDRs[{index}]"), range.as_str().unwrap_or_default()));
        }
        found
    }

    fn field_value<'a>(&self, node: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.unschedulable" => Some(if value::bool_at(node, path) { "true" } else { "false" }.into()),
            _ => metadata_field(node, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, node: &Value, now: jiff::Timestamp) -> Row {
        let info =
            |key: &str| value::get(node, "status.nodeInfo").map_or("<unknown>", |i| text_or(i, key, "<unknown>"));
        cells(vec![
            name(node),
            status(node).into(),
            roles(node).into(),
            age(node, now),
            text(node, "status.nodeInfo.kubeletVersion").into(),
            address(node, "InternalIP").into(),
            address(node, "ExternalIP").into(),
            info("osImage").into(),
            info("kernelVersion").into(),
            info("containerRuntimeVersion").into(),
        ])
    }
}

fn status(node: &Value) -> String {
    let ready = value::list_at(node, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut status = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if value::bool_at(node, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in value::map_at(node, "metadata.labels").into_iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            None => continue,
        };
        if !role.is_empty() && !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles.sort_unstable();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = value::list_at(node, "status.addresses");
    addresses.iter().find(|a| text(a, "type") == kind).map_or("<none>", |a| text(a, "address"))
}
