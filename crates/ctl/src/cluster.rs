//! A cluster on this machine: its state folder, keys, network, services; `up` and `down`.

pub mod bootstrap;
pub mod checks;
pub mod config;
pub mod containers;
pub mod down;
pub mod kubeconfigs;
pub mod layout;
pub mod manager;
pub mod network;
pub mod pki;
pub mod process;
pub mod progress;
pub mod services;
pub mod shell;
pub mod spec;
pub mod supervisor;
pub mod systemd;
pub mod up;
