//! The gantry-controller-manager daemon.

fn main() {}
