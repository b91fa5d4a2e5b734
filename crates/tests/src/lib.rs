//! What end-to-end tests share: one cluster of real etcd, Docker, nftables and kubectl, and ways to look at it.
//!
//! The cluster is made by `gantryctl up` from the dev binaries, with a name, bridge, network and state folder of its own, so
//! that it does not meet a cluster that somebody uses. Tests take turns; the last one takes it down and looks for remains.

pub mod cluster;
pub mod machine;
pub mod wait;
