//! kubectl as the oracle: it merges, reads documents and writes protobuf, all without a cluster.

mod reads;
mod server;
mod strategic;
mod writes;

use std::process::Command;

/// Whether kubectl is there; says so when it is not.
fn present() -> bool {
    let found = Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: kubectl is not installed");
    }
    found
}
