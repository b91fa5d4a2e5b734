//! End to end: a cluster of real etcd, Docker, nftables and kubectl. Tests take turns on it (`gantry_tests::cluster`).

mod backends;
mod bad_input;
mod control_planes;
mod demo;
mod healing;
mod node_loss;
mod notes;
mod security;
mod sessions;
mod systemd;
mod zz_down;
