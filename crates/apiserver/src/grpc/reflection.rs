//! Server reflection: what the services and messages are, for grpcurl and the like. It takes a caller, as all reading does
//! ([`super::entry`]).

use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

use super::SMALL_MESSAGE_BYTES_MAX;

fn builder<'b>() -> Builder<'b> {
    Builder::configure()
        .register_encoded_file_descriptor_set(gantry_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// `grpc.reflection.v1`.
pub(crate) fn current() -> ServerReflectionServer<impl ServerReflection + use<>> {
    let service = builder().build_v1().expect("the descriptors were made by protoc");
    service.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX)
}

/// `grpc.reflection.v1alpha`, which older tools ask for.
pub(crate) fn older() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>> {
    let service = builder().build_v1alpha().expect("the descriptors were made by protoc");
    service.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX)
}
