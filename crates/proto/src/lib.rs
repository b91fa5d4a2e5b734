//! The generated messages, clients and servers of Gantry's gRPC API (`proto/gantry/v1/gantry.proto`).

pub mod failure;

/// Package `gantry.v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the documentation is in the .proto file")]
pub mod v1 {
    tonic::include_proto!("gantry.v1");
}

/// Package `v2` of KMS plugins.
#[allow(missing_docs, clippy::all, reason = "generated; the documentation is in the .proto file")]
pub mod kms {
    tonic::include_proto!("v2");
}

/// The encoded `google.protobuf.FileDescriptorSet` of package `gantry.v1`, with comments.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("gantry.v1");
