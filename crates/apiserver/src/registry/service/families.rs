//! Address families of Services: what a cluster's families make of what is asked for, as upstream's allocators do.

use std::net::IpAddr;

use gantry_api::field::{Error, Errors, Path};
use gantry_api::{Value, value};
use serde_json::json;

use super::{copy, is_headless, needs_cluster_ip, same};
use crate::registry::columns::text;

const FAMILIES: &str = "spec.ipFamilies";
const IPS: &str = "spec.clusterIPs";
const POLICY: &str = "spec.ipFamilyPolicy";

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `IPv4`
    V4,
    /// `IPv6`
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// As the API has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The name of the other family.
fn other(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

fn is_configured(cluster: &[Family], name: &str) -> bool {
    cluster.iter().any(|family| family.name() == name)
}

/// Whether its endpoints are not ours, so that it may claim families that the cluster does not have.
fn is_unselected(service: &Value) -> bool {
    is_headless(service) && value::map_at(service, "spec.selector").is_none_or(|selector| selector.is_empty())
}

/// Whether it prefers two families as before, and changes nothing about them: whatever the cluster has come to have, such a
/// Service is left as it is.
fn stays(service: &Value, old: Option<&Value>) -> bool {
    let prefers = |service: &Value| text(service, POLICY) == "PreferDualStack";
    let unchanged = |old: &Value| ["spec.type", IPS, FAMILIES].iter().all(|path| same(service, old, path));
    old.is_some_and(|old| prefers(service) && prefers(old) && unchanged(old))
}

/// Fills in policy and families, which are given up by a policy, taken from addresses, or the cluster's. What is asked for
/// wrongly is left as it is for [`errors`].
pub(super) fn prepare(service: &mut Value, old: Option<&Value>, cluster: &[Family]) {
    if !needs_cluster_ip(service) || stays(service, old) {
        return;
    }
    if let Some(old) = old.filter(|_| text(service, POLICY).is_empty()) {
        // Who sends none keeps what there is.
        copy(service, old, POLICY);
    }
    let policy = if is_unselected(service) { "RequireDualStack" } else { "SingleStack" };
    value::set_default(service, POLICY, policy);
    let is_single = text(service, POLICY) == "SingleStack";
    if let Some(old) = old.filter(|_| is_single) {
        for path in [IPS, FAMILIES] {
            if same(service, old, path)
                && let Some(Value::Array(list)) = value::get_mut(service, path)
            {
                list.truncate(1);
            }
        }
    }
    let mut families: Vec<Value> = value::list_at(service, FAMILIES).to_vec();
    let ips = value::list_at(service, IPS).iter().skip(families.len());
    families.extend(ips.map_while(family_of).filter(|name| is_configured(cluster, name)).map(Value::from));
    if !errors(service, old, cluster).is_empty() {
        return;
    }
    if families.is_empty() {
        families.extend(cluster.first().map(|family| family.name().into()));
    }
    let may_have_two = is_unselected(service) || cluster.len() == 2;
    if let [only] = families.as_slice()
        && !is_single
        && may_have_two
    {
        let other = other(only.as_str().unwrap_or_default());
        families.push(other.into());
    }
    value::set(service, FAMILIES, json!(families));
}

/// The family of an address; nothing where it is none.
fn family_of(ip: &Value) -> Option<&'static str> {
    let address = ip.as_str()?.parse().ok()?;
    Some(Family::of(address).name())
}

/// What the cluster's families, or those that the Service had, do not allow.
pub(crate) fn errors(service: &Value, old: Option<&Value>, cluster: &[Family]) -> Errors {
    let mut errors = Errors::new();
    if !needs_cluster_ip(service) || stays(service, old) {
        return errors;
    }
    let spec = Path::new("spec");
    let policy = text(service, POLICY);
    let mut refuse_policy = |why: &str| errors.push(Error::invalid(&spec.child("ipFamilyPolicy"), policy, why));
    for (path, one, many) in [(IPS, "cluster IP", "cluster IPs"), (FAMILIES, "IP family", "IP families")] {
        let now = value::list_at(service, path).len();
        let before = old.map_or(0, |old| value::list_at(old, path).len());
        match policy {
            "SingleStack" if now == 2 => refuse_policy(&format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified"
            )),
            "SingleStack" => {}
            _ if now > 0 && now < before => {
                refuse_policy(&format!("must be 'SingleStack' to release the secondary {one}"));
            }
            _ => {}
        }
    }
    let families = value::list_at(service, FAMILIES);
    let ips = value::list_at(service, IPS);
    for (at, ip) in ips.iter().enumerate().skip(families.len()) {
        let Some(family) = family_of(ip).filter(|family| !is_configured(cluster, family)) else { continue };
        let why = format!("{family} is not configured on this cluster");
        errors.push(Error::invalid(&spec.child("clusterIPs").index(at), ips.to_vec(), &why));
    }
    if is_unselected(service) {
        return errors;
    }
    if policy == "RequireDualStack" && cluster.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(Error::invalid(&spec.child("ipFamilyPolicy"), policy, why));
    }
    for (at, family) in families.iter().enumerate() {
        if !is_configured(cluster, family.as_str().unwrap_or_default()) {
            let path = spec.child("ipFamilies").index(at);
            errors.push(Error::invalid(&path, family.clone(), "not configured on this cluster"));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[Family] = &[Family::V4];
    const V6: &[Family] = &[Family::V6];
    const BOTH: &[Family] = &[Family::V4, Family::V6];
    const SIX_FIRST: &[Family] = &[Family::V6, Family::V4];

    /// `policy families addresses`, each with commas and `-` for none; `headless` or `bare` (without selector) follows.
    fn service(text: &str) -> Value {
        let mut words = text.split(' ');
        let mut list = || -> Vec<Value> {
            let word = words.next().unwrap_or("-");
            word.split(',').filter(|word| *word != "-").map(Value::from).collect()
        };
        let (policy, families, ips) = (list(), list(), list());
        let mut spec = json!({"type": "ClusterIP", "selector": {"a": "b"}});
        if let Some(policy) = policy.first() {
            spec["ipFamilyPolicy"] = policy.clone();
        }
        if !families.is_empty() {
            spec["ipFamilies"] = families.into();
        }
        if let Some(first) = ips.first() {
            spec["clusterIP"] = first.clone();
            spec["clusterIPs"] = ips.into();
        }
        match words.next() {
            None => {}
            Some("headless") => spec["clusterIPs"] = json!(["None"]),
            Some("bare") => {
                spec["clusterIPs"] = json!(["None"]);
                spec["selector"] = Value::Null;
            }
            Some(kind) => spec["type"] = kind.into(),
        }
        if spec["clusterIPs"] == json!(["None"]) {
            spec["clusterIP"] = "None".into();
        }
        json!({"spec": spec})
    }

    fn prepared(new: &str, old: Option<&str>, cluster: &[Family]) -> (Value, Errors) {
        let (mut new, old) = (service(new), old.map(service));
        prepare(&mut new, old.as_ref(), cluster);
        let errors = errors(&new, old.as_ref(), cluster);
        (new, errors)
    }

    fn gives(new: &str, old: Option<&str>, cluster: &[Family], expected: &str) {
        let (found, errors) = prepared(new, old, cluster);
        assert!(errors.is_empty(), "{new} over {old:?} with {cluster:?}: {errors:?}");
        let list = |path| {
            let list: Vec<&str> = value::list_at(&found, path).iter().filter_map(Value::as_str).collect();
            if list.is_empty() { "-".to_owned() } else { list.join(",") }
        };
        let shown = format!("{} {} {}", text(&found, POLICY), list(FAMILIES), list(IPS));
        assert_eq!(shown, expected, "{new} over {old:?} with {cluster:?}");
    }

    fn refused(new: &str, old: Option<&str>, cluster: &[Family], expected: &str) {
        let (_, errors) = prepared(new, old, cluster);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [expected], "{new} over {old:?} with {cluster:?}");
    }

    #[test]
    fn a_new_service_has_the_families_of_the_cluster() {
        for (cluster, one, two) in
            [(V4, "IPv4", "IPv4"), (V6, "IPv6", "IPv6"), (BOTH, "IPv4", "IPv4,IPv6"), (SIX_FIRST, "IPv6", "IPv6,IPv4")]
        {
            gives("-", None, cluster, &format!("SingleStack {one} -"));
            gives("PreferDualStack", None, cluster, &format!("PreferDualStack {two} -"));
            gives("- - - headless", None, cluster, &format!("SingleStack {one} None"));
            gives("PreferDualStack - - headless", None, cluster, &format!("PreferDualStack {two} None"));
            let bare = if one == "IPv4" { "IPv4,IPv6" } else { "IPv6,IPv4" };
            gives("- - - bare", None, cluster, &format!("RequireDualStack {bare} None"));
            gives("SingleStack - - bare", None, cluster, &format!("SingleStack {one} None"));
            gives("PreferDualStack - - bare", None, cluster, &format!("PreferDualStack {bare} None"));
            gives("- - - ExternalName", None, cluster, " - -");
        }
        gives("RequireDualStack", None, BOTH, "RequireDualStack IPv4,IPv6 -");
        gives("RequireDualStack IPv6", None, BOTH, "RequireDualStack IPv6,IPv4 -");
        gives("- IPv6", None, BOTH, "SingleStack IPv6 -");
        gives("PreferDualStack IPv6,IPv4", None, BOTH, "PreferDualStack IPv6,IPv4 -");
        gives("- - fd00::7", None, BOTH, "SingleStack IPv6 fd00::7");
        gives("PreferDualStack - fd00::7", None, BOTH, "PreferDualStack IPv6,IPv4 fd00::7");
        gives("RequireDualStack - fd00::7,10.0.0.7", None, BOTH, "RequireDualStack IPv6,IPv4 fd00::7,10.0.0.7");
        gives("- IPv6,IPv4 - bare", None, V4, "RequireDualStack IPv6,IPv4 None");
    }

    #[test]
    fn what_the_cluster_does_not_have_is_refused() {
        let dual = "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services";
        refused("RequireDualStack", None, V4, dual);
        refused("- IPv6", None, V4, "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster");
        let second = "spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster";
        refused("PreferDualStack IPv4,IPv6", None, V4, second);
        let address = "spec.clusterIPs[0]: Invalid value: [\"fd00::7\"]: IPv6 is not configured on this cluster";
        refused("- - fd00::7", None, V4, address);
        let several = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
        let single = format!("spec.ipFamilyPolicy: Invalid value: \"SingleStack\": {several}");
        refused("SingleStack IPv4,IPv6", None, BOTH, &format!("{single} IP families are specified"));
        refused("SingleStack - 10.0.0.7,fd00::7", None, BOTH, &format!("{single} cluster IPs are specified"));
        refused("- IPv4,IPv6", None, BOTH, &format!("{single} IP families are specified"));
    }

    #[test]
    fn a_service_gains_and_gives_up_a_family_by_its_policy() {
        let one = "SingleStack IPv4 10.0.0.7";
        let two = "PreferDualStack IPv4,IPv6 10.0.0.7,fd00::7";
        // Gained: the address is allocated later.
        gives("PreferDualStack IPv4 10.0.0.7", Some(one), BOTH, "PreferDualStack IPv4,IPv6 10.0.0.7");
        gives("RequireDualStack IPv4 10.0.0.7", Some(one), BOTH, "RequireDualStack IPv4,IPv6 10.0.0.7");
        gives(
            "RequireDualStack IPv4,IPv6 10.0.0.7,fd00::9",
            Some(one),
            BOTH,
            "RequireDualStack IPv4,IPv6 10.0.0.7,fd00::9",
        );
        gives("PreferDualStack IPv4 10.0.0.7", Some(one), V4, "PreferDualStack IPv4 10.0.0.7");
        // Given up.
        gives("SingleStack IPv4,IPv6 10.0.0.7,fd00::7", Some(two), BOTH, "SingleStack IPv4 10.0.0.7");
        gives("SingleStack IPv4 10.0.0.7", Some(two), BOTH, "SingleStack IPv4 10.0.0.7");
        let released = |what: &str, policy: &str| {
            format!(
                "spec.ipFamilyPolicy: Invalid value: {policy:?}: must be 'SingleStack' to release the secondary {what}"
            )
        };
        let families = released("IP family", "PreferDualStack");
        refused("PreferDualStack IPv4 10.0.0.7,fd00::7", Some(two), BOTH, &families);
        let ips = released("cluster IP", "RequireDualStack");
        refused("RequireDualStack IPv4,IPv6 10.0.0.7", Some(two), BOTH, &ips);
        // Who says nothing keeps the policy.
        gives("- IPv4,IPv6 10.0.0.7,fd00::7", Some(two), BOTH, two);
        gives("- IPv4 10.0.0.7", Some(one), BOTH, one);
    }

    #[test]
    fn what_prefers_two_families_does_not_follow_the_cluster() {
        let one = "PreferDualStack IPv4 10.0.0.7";
        gives(one, Some(one), BOTH, one);
        let two = "PreferDualStack IPv4,IPv6 10.0.0.7,fd00::7";
        gives(two, Some(two), V4, two);
        let demands = "RequireDualStack IPv4 10.0.0.7";
        gives(demands, Some(one), BOTH, "RequireDualStack IPv4,IPv6 10.0.0.7");
    }
}
