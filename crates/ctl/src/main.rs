//! The gantryctl daemon.

fn main() {}
