//! kubeconfig files of the administrator and the components.
//!
//! Gantry's own clients read several servers, separated by commas, from one cluster entry, and go on with another server
//! when one is dead. kubectl reads one server: so the administrator has `admin.conf` with a context for each API server
//! (`gantry-NAME`, `gantry-NAME-2` …), and `admin-all.conf` for gantryctl.

use std::fs;

use anyhow::Context;
use gantry_common::{
    kubeconfig::{ContextRef, File, NamedCluster, NamedContext},
    tls::Identity,
};

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

/// The file of the administrator that names all API servers.
pub const ADMIN_ALL: &str = "admin-all";

/// Writes every kubeconfig whose content changed.
///
/// # Errors
/// When a key cannot be read or a file not be written.
pub fn ensure(config: &Config, layout: &Layout, pki: &Pki) -> anyhow::Result<()> {
    for holder in holders(config) {
        write(layout, &holder, &render(config, pki, &holder)?)?;
    }
    if config.control_planes > 1 {
        write(layout, ADMIN_ALL, &admin(config, pki, true)?)?;
    }
    Ok(())
}

fn write(layout: &Layout, name: &str, file: &File) -> anyhow::Result<()> {
    let text = file.to_yaml().with_context(|| format!("cannot write the kubeconfig of {name}"))?;
    let path = layout.kubeconfig(name);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write_atomically(&path, text.as_bytes(), 0o600)
}

/// All API servers, as Gantry's own clients read them.
fn all_servers(config: &Config) -> String {
    config.api_servers().iter().map(|s| config.url_of(s.address)).collect::<Vec<_>>().join(",")
}

fn render(config: &Config, pki: &Pki, holder: &str) -> anyhow::Result<File> {
    if holder == "admin" {
        return admin(config, pki, false);
    }
    file(config, pki, holder, holder, &all_servers(config))
}

fn file(config: &Config, pki: &Pki, holder: &str, name: &str, servers: &str) -> anyhow::Result<File> {
    let read = |path: std::path::PathBuf| fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let identity = Identity { cert_pem: read(pki.cert(holder))?, key_pem: read(pki.key(holder))? };
    debug_assert!(holders(config).iter().any(|h| h == holder), "{holder} has a certificate");
    Ok(File::single(name, servers, &read(pki.cert(CLUSTER_CA))?, &identity))
}

fn admin(config: &Config, pki: &Pki, all: bool) -> anyhow::Result<File> {
    let name = format!("gantry-{}", config.name);
    if all {
        return file(config, pki, "admin", &name, &all_servers(config));
    }
    let mut file = file(config, pki, "admin", &name, &config.server_url())?;
    for (n, server) in (1..).zip(config.api_servers()).skip(1) {
        let other = format!("{name}-{n}");
        let mut cluster = file.clusters[0].cluster.clone();
        cluster.server = config.url_of(server.address);
        file.clusters.push(NamedCluster { name: other.clone(), cluster });
        let context = ContextRef { cluster: other.clone(), user: name.clone(), namespace: None };
        file.contexts.push(NamedContext { name: other, context });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use gantry_common::{clock, kubeconfig};

    use super::*;
    use crate::cluster::{
        config::{Choices, Manager},
        pki,
    };

    fn config(control_planes: u16) -> Config {
        Config::plan(&Choices {
            name: "x".to_owned(),
            data_dir: "/var/lib/gantry".into(),
            nodes: 1,
            control_planes,
            secure_port: 6443,
            bridge: None,
            subnet: "10.200.0.0/24".parse().expect("a network"),
            manager: Manager::Builtin,
            bin_dir: "/usr/bin".into(),
            extra_args: Vec::new(),
        })
        .expect("it can be planned")
    }

    #[test]
    fn components_know_every_api_server_and_kubectl_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::with_run(folder.path().to_owned(), folder.path().join("run"));
        for folder in [layout.pki(), layout.root().join("kubeconfig")] {
            fs::create_dir_all(folder).expect("made");
        }
        let servers = |file: &str, context: Option<&str>| {
            kubeconfig::load_file(&layout.kubeconfig(file), context).expect(file).servers
        };
        let (one, two) = ("https://10.200.0.1:6443", "https://10.200.0.2:6443");
        let keys = Pki::new(layout.pki());
        let alone = config(1);
        keys.ensure(&pki::requests(&alone), clock::system().now()).expect("keys");
        ensure(&alone, &layout, &keys).expect("written");
        assert_eq!(servers("admin", None), [one]);
        assert_eq!(servers("kubelet-node-1", None), [one]);
        assert!(!layout.kubeconfig(ADMIN_ALL).exists());
        ensure(&config(2), &layout, &keys).expect("written");
        for holder in holders(&alone).iter().filter(|h| *h != "admin") {
            assert_eq!(servers(holder, None), [one, two], "{holder}");
        }
        assert_eq!(servers("admin", None), [one]);
        assert_eq!(servers("admin", Some("gantry-x-2")), [two]);
        assert_eq!(servers(ADMIN_ALL, None), [one, two]);
    }
}
