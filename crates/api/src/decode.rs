//! Request bodies to value trees: JSON, YAML and protobuf, then [`conform`]ed to their type.
//!
//! The caller bounds the bytes; depth, aliases and expansion are bounded here.

mod applied;
pub mod conform;
mod json;
mod nearest;
mod protobuf;
mod scalars;
pub(crate) mod syntax;
mod yaml;

pub use applied::applied;
pub use conform::conform;
pub use json::{in_order, json};
pub use nearest::{nearest, suggest};
pub(crate) use protobuf::type_name as protobuf_type;
pub use protobuf::{MAGIC as PROTOBUF_MAGIC, protobuf, stored_protobuf};
pub use scalars::{bad_base64_at, micro_time, time};
pub use syntax::error as syntax_error;
pub use yaml::{lenient as yaml_lenient, yaml, yaml_documents};

/// How deep objects and lists may nest.
pub(crate) const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests;
