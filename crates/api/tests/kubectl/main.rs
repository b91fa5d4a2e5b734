//! kubectl as the oracle: it merges, reads documents and writes protobuf, all without a cluster.

mod kinds;
mod reads;
mod server;
mod strategic;
mod writes;

use std::fs::File;
use std::io::Write;
use std::process::Command;

/// Whether kubectl is there; says so when it is not: `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
fn present() -> bool {
    let found = Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|o| o.status.success());
    if !found {
        let line =
            format!("{}: kubectl is not installed", std::thread::current().name().unwrap_or("a test of kubectl"));
        eprintln!("skipped: {line}");
        if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
            let mut file = File::options().append(true).open(path).expect("the file of skips is there");
            writeln!(file, "{line}").expect("it can be written");
        }
    }
    found
}
