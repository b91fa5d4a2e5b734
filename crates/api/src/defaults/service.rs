//! Defaults of services; addresses and node ports are allocated, not defaulted.

use super::{fill, fill_object, fill_text, object_in, objects_in};
use crate::Value;
use crate::value::object_mut;

/// How long a client sticks to one endpoint, in seconds: 3 hours.
const STICKY_SECONDS: i64 = 10_800;

/// Defaults of one service.
pub(super) fn service(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill_text(spec, "sessionAffinity", "None");
    fill_text(spec, "type", "ClusterIP");
    if spec.get("sessionAffinity").and_then(Value::as_str) == Some("None") {
        spec.remove("sessionAffinityConfig");
    } else if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        fill_object(spec, "sessionAffinityConfig");
        if let Some(config) = object_in(spec, "sessionAffinityConfig") {
            fill_object(config, "clientIP");
            if let Some(client) = object_in(config, "clientIP") {
                fill(client, "timeoutSeconds", STICKY_SECONDS);
            }
        }
    }
    for port in objects_in(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        let target = port.get("targetPort");
        if target.is_none_or(|t| t.is_null() || t.as_str() == Some("") || t.as_i64() == Some(0))
            && let Some(number) = port.get("port").cloned()
        {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|l| !l.is_empty());
    if kind == "NodePort" || kind == "LoadBalancer" || (kind == "ClusterIP" && external_ips) {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
        let status = object.get_mut("status").and_then(|s| s.get_mut("loadBalancer")).and_then(Value::as_object_mut);
        for ingress in status.into_iter().flat_map(|s| objects_in(s, "ingress")) {
            if ingress.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
                fill(ingress, "ipMode", "VIP");
            }
        }
    }
}
