//! Generates the messages and services of `proto/gantry/v1` (needs `protoc`, Debian: protobuf-compiler), the set of descriptors
//! that server reflection answers from, and the contract with plugins that hold keys (`proto/kms/v2`).

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let out =
        std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| std::io::Error::other("cargo sets OUT_DIR"))?;
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(out.join("gantry.v1.bin"))
        .compile_protos(&["proto/gantry/v1/gantry.proto"], &["proto"])?;
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_protos(&["proto/kms/v2/kms.proto"], &["proto"])
}
