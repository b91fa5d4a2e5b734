//! The Kubernetes API as data: kinds, field types, decoding, canonical form, patches, selectors, validation.
//!
//! Nothing here does I/O or reads a clock. Everything works on [`Value`] trees and interprets one type table.

// What is shared with the tests of other crates names this one as they do.
#[cfg(test)]
extern crate self as gantry_api;

mod brief;
pub mod canon;
pub mod containers;
pub mod convert;
pub mod cron;
pub mod custom;
pub mod decode;
pub mod defaults;
pub mod discovery;
pub mod duration;
pub mod encode;
pub mod field;
pub mod flow;
pub mod gated;
pub mod go;
pub mod internal;
pub mod kinds;
pub mod legacy_token;
pub mod managed;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod priorities;
pub mod quantity;
pub mod quota;
pub mod regexp;
pub mod selector;
pub mod stats;
pub mod status;
pub mod table;
pub mod validation;
pub mod value;

pub use value::{Object, Value};
