//! Our packet rules: masquerade what pods send out of the cluster. One table of our own, replaced as a whole in one
//! transaction, never flushed when the kubelet ends.

use std::{collections::BTreeSet, process::Stdio};

use ipnet::Ipv4Net;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Error, Peer};

/// The table's name.
const TABLE: &str = "gantry-kubelet";

/// The rules as text for `nft -f -`; pure. Destinations inside the cluster (pods and nodes) keep the pod's address.
pub(super) fn rules(own: Option<Ipv4Net>, peers: &[Peer]) -> String {
    let mut inside: BTreeSet<String> = peers.iter().map(|peer| peer.address.to_string()).collect();
    inside.extend(peers.iter().filter_map(|peer| peer.range).chain(own).map(|range| range.to_string()));
    let mut text = format!("table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n");
    text.push_str("  set inside {\n    type ipv4_addr\n    flags interval\n    auto-merge\n");
    if !inside.is_empty() {
        let elements: Vec<String> = inside.into_iter().collect();
        text.push_str(&format!("    elements = {{ {} }}\n", elements.join(", ")));
    }
    text.push_str("  }\n  chain postrouting {\n    type nat hook postrouting priority srcnat + 10\n");
    if let Some(own) = own {
        text.push_str(&format!("    ip saddr {own} ip daddr != @inside ip daddr != 224.0.0.0/4 counter masquerade\n"));
    }
    text.push_str("  }\n}\n");
    text
}

/// Loads rules.
pub(super) async fn load(text: &str) -> Result<(), Error> {
    let run = async {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    };
    run.await
        .map_err(|source: std::io::Error| Error::kernel(format!("load the nftables table {TABLE}"))(Box::new(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_not_masqueraded() {
        let peers = [
            Peer { address: [10, 200, 0, 11].into(), range: Some("10.244.1.0/24".parse().unwrap()) },
            Peer { address: [10, 200, 0, 12].into(), range: None },
        ];
        let text = rules(Some("10.244.1.0/24".parse().unwrap()), &peers);
        assert!(text.contains("elements = { 10.200.0.11, 10.200.0.12, 10.244.1.0/24 }"), "{text}");
        assert!(text.contains("ip saddr 10.244.1.0/24 ip daddr != @inside"), "{text}");
        assert!(!rules(None, &[]).contains("masquerade"));
    }
}
