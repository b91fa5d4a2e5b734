//! What pods send out of the cluster gets the node's address. One table of its own, beside that of the services, replaced in
//! one transaction where it is not as it should be.

use super::Plan;
use crate::kernel::{self, Error, Kernel, Nft};

/// The table's name, family `ip`.
const TABLE: &str = "gantry-nodes";
/// Where these rules were before; two of them would disagree about nodes that came since.
const FORMER_TABLE: &str = "gantry-kubelet";

/// Makes the rules of the present namespace fit the plan.
pub(super) async fn bring(plan: &Plan) -> Result<(), Error> {
    let wanted = table(plan);
    let tables = kernel::list(&["list", "tables", "ip"]).await?.unwrap_or_default();
    let former = tables.lines().any(|line| line.split_whitespace().last() == Some(FORMER_TABLE));
    let present = kernel::list(&["-s", "list", "table", "ip", TABLE]).await?.unwrap_or_default();
    if !former && same(&present, &wanted) {
        return Ok(());
    }
    tracing::info!(inside = plan.inside.len(), "making the rules for what pods send out of the cluster");
    let without = |table: &str| format!("add table ip {table}\ndelete table ip {table}\n");
    Nft.apply(format!("{}{}{wanted}", without(FORMER_TABLE), without(TABLE))).await
}

fn same(listed: &str, wanted: &str) -> bool {
    listed.split_whitespace().eq(wanted.split_whitespace())
}

/// The table in nft's own spelling, so that a listing can be compared with it; pure. Destinations inside the cluster (pods
/// and nodes) keep the pod's address.
fn table(plan: &Plan) -> String {
    let mut set = "type ipv4_addr\nflags interval\n".to_owned();
    if !plan.inside.is_empty() {
        let elements: Vec<String> = plan.inside.iter().map(element).collect();
        set.push_str(&format!("elements = {{ {} }}\n", elements.join(", ")));
    }
    let mut chain = "type nat hook postrouting priority srcnat + 10; policy accept;\n".to_owned();
    if let Some(own) = plan.own {
        chain.push_str(&format!("ip saddr {own} ip daddr != @inside ip daddr != 224.0.0.0/4 counter masquerade\n"));
    }
    format!("table ip {TABLE} {{\nset inside {{\n{set}}}\nchain postrouting {{\n{chain}}}\n}}\n")
}

fn element(net: &ipnet::Ipv4Net) -> String {
    if net.prefix_len() == 32 { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_not_masqueraded() {
        let net = |text: &str| text.parse().expect("a range");
        let plan = Plan {
            own: Some(net("10.244.1.0/24")),
            inside: vec![net("10.200.0.11/32"), net("10.200.0.12/32"), net("10.244.1.0/24")],
            ..Plan::default()
        };
        let text = table(&plan);
        assert!(text.contains("elements = { 10.200.0.11, 10.200.0.12, 10.244.1.0/24 }"), "{text}");
        assert!(text.contains("ip saddr 10.244.1.0/24 ip daddr != @inside"), "{text}");
        assert!(!table(&Plan::default()).contains("masquerade"));
    }

    #[test]
    fn a_listing_is_compared_by_its_words() {
        let listed = "table ip t {\n\tset inside {\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n}\n";
        assert!(same(listed, "table ip t { set inside { elements = { 10.0.0.1, 10.0.0.2 } } }"));
        assert!(!same(listed, "table ip t { set inside { elements = { 10.0.0.1 } } }"));
    }
}
