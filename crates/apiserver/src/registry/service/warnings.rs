//! What the writer of a service should know.

use gantry_api::{Value, value};

use crate::registry::columns::text;
use crate::registry::written;

/// Texts for `Warning:` headers, in upstream's order.
pub(super) fn all(service: &Value) -> Vec<String> {
    let kind = text(service, "spec.type");
    let headless = kind == "ClusterIP" && text(service, "spec.clusterIP") == "None";
    let each = |list: &str, check: fn(&str, &str) -> Option<String>| {
        let values = value::list_at(service, &format!("spec.{list}")).iter().enumerate();
        let found = values.filter_map(|(i, v)| check(&format!("spec.{list}[{i}]"), v.as_str().unwrap_or_default()));
        found.collect::<Vec<String>>()
    };
    let external = !value::list_at(service, "spec.externalIPs").is_empty();
    let mut out = Vec::new();
    let mut say = |told: bool, text: &str| {
        if told {
            out.push(text.to_owned());
        }
    };
    let annotations = value::map_at(service, "metadata.annotations");
    say(
        annotations.is_some_and(|a| a.contains_key("service.kubernetes.io/topology-aware-hints")),
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
         service.kubernetes.io/topology-mode instead",
    );
    each("clusterIPs", written::ip).iter().for_each(|text| say(true, text));
    let balancer = text(service, "spec.loadBalancerIP");
    say(headless && !balancer.is_empty(), "spec.loadBalancerIP is ignored for headless services");
    say(headless && external, "spec.externalIPs is ignored for headless services");
    let sticky = text(service, "spec.sessionAffinity") != "None";
    say(headless && sticky, "spec.SessionAffinity is ignored for headless services");
    each("externalIPs", written::ip).iter().for_each(|text| say(true, text));
    let named = kind == "ExternalName";
    say(
        external && !headless && !named,
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    );
    written::ip("spec.loadBalancerIP", balancer).iter().for_each(|text| say(true, text));
    each("loadBalancerSourceRanges", written::cidr).iter().for_each(|text| say(true, text));
    say(named && external, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    let name = text(service, "spec.externalName");
    say(!named && !name.is_empty(), "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    say(
        text(service, "spec.trafficDistribution") == "PreferClose",
        "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
    );
    out
}
