//! What a service is: a program, its arguments, and how it is kept running.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt, path::PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::Layout;

/// How a service shows that it does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// It sends `READY=1` to the socket named in `NOTIFY_SOCKET`.
    Notify,
    /// It accepts connections at the address.
    Tcp(SocketAddr),
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its name within the cluster.
    pub name: String,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, added to the supervisor's.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The folder to run in; otherwise the root.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// A socket that it makes, and that would be in its way after it was killed: removed before it starts.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The network namespace to run in.
    #[serde(default)]
    pub netns: Option<PathBuf>,
    /// How it shows that it works.
    pub ready: Ready,
    /// How long it may take to stop before it is killed, in seconds.
    pub stop_seconds: u32,
    /// Files whose change asks for a restart.
    #[serde(default)]
    pub restart_on: Vec<PathBuf>,
}

impl Spec {
    /// The command line as the kernel will show it.
    #[must_use]
    pub fn command_line(&self) -> Vec<String> {
        let mut all = vec![self.program.to_string_lossy().into_owned()];
        all.extend(self.args.iter().cloned());
        all
    }

    /// A number that changes when the service would have to be started in another way.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        // A newly built program; its content would take long to read.
        if let Ok(program) = fs::metadata(&self.program) {
            let parts = [program.len().to_string(), program.mtime().to_string(), program.mtime_nsec().to_string()];
            text.push_str(&parts.join(" "));
        }
        for file in &self.restart_on {
            text.push_str(&digest_bytes(&fs::read(file).unwrap_or_default()));
        }
        digest(&text)
    }

    /// Reads the services of a cluster, in their order.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load_all(layout: &Layout) -> anyhow::Result<Vec<Self>> {
        let path = layout.units().join("services.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the services of a cluster.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_all(layout: &Layout, all: &[Self]) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(all)?;
        super::process::write_atomically(&layout.units().join("services.json"), &bytes, 0o600)
    }
}

/// SHA-256 of text, as hexadecimal digits.
#[must_use]
pub fn digest(text: &str) -> String {
    digest_bytes(text.as_bytes())
}

fn digest_bytes(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_follows_arguments_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cert");
        fs::write(&file, "one").expect("it is written");
        let spec = Spec {
            name: "x".into(),
            program: "/bin/true".into(),
            args: vec!["--a".into()],
            env: Vec::new(),
            folder: None,
            socket: None,
            netns: None,
            ready: Ready::Notify,
            stop_seconds: 10,
            restart_on: vec![file.clone()],
        };
        let before = spec.fingerprint();
        assert_eq!(before, spec.fingerprint());
        assert_ne!(before, Spec { args: vec!["--b".into()], ..spec.clone() }.fingerprint());
        fs::write(&file, "two").expect("it is written");
        assert_ne!(before, spec.fingerprint());
    }
}
