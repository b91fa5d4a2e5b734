//! Addresses of services and endpoints: families, and those that lead nowhere.

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{Seen, list, repeats, some, text};
use crate::Value;

/// Addresses and ranges that a service names.
pub(super) fn of(service: &Value) -> Seen<'_> {
    let spec = some(service, "spec").unwrap_or(&Value::Null);
    let lists = ["clusterIPs", "externalIPs", "loadBalancerSourceRanges"].into_iter();
    let named = lists.flat_map(|key| list(spec, key)).filter_map(Value::as_str);
    let annotations = some(service, "metadata").and_then(|m| some(m, "annotations"));
    let annotated = annotations.map_or("", |a| text(a, super::SOURCE_RANGES)).split(',');
    named.chain(annotated).map(str::trim).collect()
}

/// The addresses inside the cluster, and their families.
pub(super) fn cluster_ips(out: &mut Out, at: At<'_>, spec: &Value, known: &Seen<'_>) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let (ip, ips) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let ips_at = at.child("clusterIPs");
    match (ip, ips.first()) {
        ("", Some(_)) => out.invalid(ips_at, ips.to_vec(), "must be empty when `clusterIP` is not specified"),
        (ip, Some(first)) if first != ip => out.invalid(ips_at, ips.to_vec(), "first value must match `clusterIP`"),
        _ => {}
    }
    let families = list(spec, "ipFamilies");
    let mut seen = Seen::new();
    for (index, family) in families.iter().enumerate() {
        let list = at.child("ipFamilies");
        let at = list.index(index);
        let family = family.as_str().unwrap_or_default();
        if !["IPv4", "IPv6"].contains(&family) {
            out.not_supported(at, family, &["IPv4", "IPv6"]);
        }
        if repeats(&mut seen, family) {
            out.duplicate(at, family);
        }
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    if let Some(policy) = some(spec, "ipFamilyPolicy").and_then(Value::as_str).filter(|p| !policies.contains(p)) {
        out.not_supported(at.child("ipFamilyPolicy"), policy, &policies);
    }
    let before = out.count();
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if index == 0 && ip == "None" {
            if ips.len() > 1 {
                out.invalid(ips_at, ips.to_vec(), "'None' must be the first and only value");
            }
        } else {
            formats::strict_ip(out, ips_at.index(index), ip, known);
        }
    }
    let fine = out.count() == before;
    if ips.len() > 2 {
        out.invalid(ips_at, ips.to_vec(), "may only hold up to 2 values");
    }
    if fine {
        stacks(out, ips_at, ips, families);
    }
}

/// At most one address of a family, in the order of the families.
fn stacks(out: &mut Out, at: At<'_>, ips: &[Value], families: &[Value]) {
    let is_six = |ip: &Value| ip.as_str().is_some_and(|ip| ip.contains(':'));
    if ips.len() > 1 && (ips.iter().all(is_six) || !ips.iter().any(is_six)) {
        out.invalid(at, ips.to_vec(), "may specify no more than one IP for each IP family");
    }
    for (index, (ip, wanted)) in ips.iter().zip(families).enumerate().filter(|(_, (ip, _))| *ip != "None") {
        let family = if is_six(ip) { "IPv6" } else { "IPv4" };
        let wanted = wanted.as_str().unwrap_or_default();
        if ["IPv4", "IPv6"].contains(&wanted) && wanted != family {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            out.invalid(at.index(index), ip.clone(), &detail);
        }
    }
}

/// Addresses that nothing outside a node can use.
pub(in super::super) fn special_ip(text: &str) -> Option<String> {
    let ip = text.parse::<std::net::IpAddr>().ok()?.to_canonical();
    let (link_local, multicast) = match ip {
        std::net::IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if ip.is_unspecified() {
        Some(format!("may not be unspecified ({text})"))
    } else if ip.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned())
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned())
    } else if multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned())
    } else {
        None
    }
}
