//! Conformance of every kind, generated from the registry and the type table: what a kind needs beyond its types stands in
//! `corrections.tsv`.

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests; each uses a part")]
mod support;

mod changes;
mod client;
mod doors;
mod etcd;
mod floods;
mod golden;
mod manifest;
mod openapi;
mod patches;
mod reads;
mod revisions;
mod rights;
mod subject;
mod tables;
mod whole;
mod wire;
mod writes;
