//! The gantry-dns daemon.

fn main() {}
