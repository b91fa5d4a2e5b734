//! Server reflection: what the services and messages are, for grpcurl and the like. It takes a caller, as all reading does.

use std::sync::Arc;

use tonic::Request;
use tonic::service::interceptor::InterceptedService;
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

use super::convert;
use crate::app::App;

fn builder<'b>() -> Builder<'b> {
    Builder::configure()
        .register_encoded_file_descriptor_set(gantry_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Lets only known callers through.
#[derive(Clone)]
pub(crate) struct Known(Arc<App>);

impl tonic::service::Interceptor for Known {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, tonic::Status> {
        convert::caller(&self.0, &request)?;
        Ok(request)
    }
}

/// `grpc.reflection.v1`.
pub(crate) fn current(
    app: &Arc<App>,
) -> InterceptedService<ServerReflectionServer<impl ServerReflection + use<>>, Known> {
    let service = builder().build_v1().expect("the descriptors were made by protoc");
    InterceptedService::new(service, Known(app.clone()))
}

/// `grpc.reflection.v1alpha`, which older tools ask for.
pub(crate) fn older(
    app: &Arc<App>,
) -> InterceptedService<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>>, Known> {
    let service = builder().build_v1alpha().expect("the descriptors were made by protoc");
    InterceptedService::new(service, Known(app.clone()))
}
