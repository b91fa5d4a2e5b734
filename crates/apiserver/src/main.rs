//! The gantry-apiserver daemon.

fn main() {}
