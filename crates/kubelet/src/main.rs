//! The gantry-kubelet daemon.

fn main() {}
