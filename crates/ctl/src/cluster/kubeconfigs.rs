//! kubeconfig files of the administrator and the components.

use std::fs;

use anyhow::Context;
use gantry_common::{kubeconfig::File, tls::Identity};

use super::{
    config::Config,
    layout::Layout,
    pki::{CLUSTER_CA, Pki},
    process::write_atomically,
};

/// The components that have a kubeconfig, by the name of their certificate.
#[must_use]
pub fn holders(config: &Config) -> Vec<String> {
    let mut all: Vec<String> = ["admin", "scheduler", "controller-manager", "proxy", "dns"].map(str::to_owned).to_vec();
    all.extend(config.nodes.iter().map(|n| format!("kubelet-{}", n.name)));
    all
}

/// Writes every kubeconfig whose content changed.
///
/// # Errors
/// When a key cannot be read or a file not be written.
pub fn ensure(config: &Config, layout: &Layout, pki: &Pki) -> anyhow::Result<()> {
    for holder in holders(config) {
        let text = render(config, pki, &holder)?;
        let path = layout.kubeconfig(&holder);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        write_atomically(&path, text.as_bytes(), 0o600)?;
    }
    Ok(())
}

fn render(config: &Config, pki: &Pki, holder: &str) -> anyhow::Result<String> {
    let read = |path: std::path::PathBuf| fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let identity = Identity { cert_pem: read(pki.cert(holder))?, key_pem: read(pki.key(holder))? };
    let name = if holder == "admin" { format!("gantry-{}", config.name) } else { holder.to_owned() };
    let file = File::single(&name, &config.server_url(), &read(pki.cert(CLUSTER_CA))?, &identity);
    file.to_yaml().with_context(|| format!("cannot write the kubeconfig of {holder}"))
}
