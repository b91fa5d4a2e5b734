//! Tests that cannot run on this machine say why.

use std::{fs::File, io::Write};

/// `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
pub(crate) fn note(why: &str) {
    let line = format!("{}: {why}", std::thread::current().name().unwrap_or("a test of the kubelet"));
    println!("skipped: {line}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = File::options().append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
