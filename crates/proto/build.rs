//! Generates the messages and services of `proto/gantry/v1` (needs `protoc`, Debian: protobuf-compiler).

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure().bytes(".").compile_protos(&["proto/gantry/v1/gantry.proto"], &["proto"])
}
