//! Compiles the pause process (`crates/pause/src/main.rs`) to a static binary that the kubelet embeds.
//!
//! It is built by `rustc` directly: it has no dependencies, no standard library and its own linker flags, which a
//! Cargo package of this workspace could not have without changing them for everybody.

use std::{env, path::PathBuf, process::Command};

const SOURCE: &str = "../pause/src/main.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts")).join("pause");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC for build scripts");
    let target = env::var("TARGET").expect("cargo sets TARGET for build scripts");
    let status = Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "pause", "--crate-type", "bin", "--target", &target])
        .args(["-C", "opt-level=z", "-C", "panic=abort", "-C", "strip=symbols", "-C", "relocation-model=static"])
        .args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib", "-C", "link-arg=-static"])
        .args(["-C", "link-arg=-Wl,--build-id=none"])
        .arg("-o")
        .arg(&out)
        .arg(SOURCE)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("rustc could not build the pause process from {SOURCE}: {status}"),
        Err(error) => panic!("rustc could not be started to build the pause process: {error}"),
    }
}
