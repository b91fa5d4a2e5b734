//! The Sessions service: container logs for gantryctl and integrations.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use gantry_proto::v1::sessions_server::Sessions as Service;
use gantry_proto::v1::{LogChunk, LogRequest, SessionFrame};
use tonic::{Request, Response, Streaming};

use super::convert;
use crate::app::App;
use crate::rest::log::{self, Open};

/// Serves logs.
pub(crate) struct Logs(pub(crate) Arc<App>);

#[tonic::async_trait]
impl Service for Logs {
    type LogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, tonic::Status>> + Send>>;
    type OpenStream = Pin<Box<dyn Stream<Item = Result<SessionFrame, tonic::Status>> + Send>>;

    async fn open(
        &self,
        _request: Request<Streaming<SessionFrame>>,
    ) -> Result<Response<Self::OpenStream>, tonic::Status> {
        Err(tonic::Status::unimplemented("sessions"))
    }

    async fn log(&self, request: Request<LogRequest>) -> Result<Response<Self::LogStream>, tonic::Status> {
        let caller = convert::caller(&self.0, &request)?;
        let reader = log::open(&self.0, &caller, request.into_inner()).await.map_err(convert::failed)?;
        let stream = futures::stream::unfold((reader, Open::new(self.0.clone())), |(mut reader, open)| async move {
            let item = open.next(&mut reader).await?.map(|data| LogChunk { data }).map_err(convert::failed);
            Some((item, (reader, open)))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
