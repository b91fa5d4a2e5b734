//! The gantry-proxy daemon.

fn main() {}
