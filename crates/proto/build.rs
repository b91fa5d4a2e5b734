//! Generates the messages and services of `proto/gantry/v1` (needs `protoc`, Debian: protobuf-compiler), and the set of
//! descriptors that server reflection answers from.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let out =
        std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| std::io::Error::other("cargo sets OUT_DIR"))?;
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(out.join("gantry.v1.bin"))
        .compile_protos(&["proto/gantry/v1/gantry.proto"], &["proto"])
}
