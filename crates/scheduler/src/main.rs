//! The gantry-scheduler daemon.

fn main() {}
