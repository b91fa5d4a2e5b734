//! The use of CPU and memory, once.

use bytes::Bytes;
use gantry_api::status::Status;

use super::{
    Context, Work,
    answer::{self, Ended},
    link::{Incoming, Outgoing},
};

/// The figures as JSON.
struct Stats(Bytes);

/// Measures.
pub(super) async fn prepare(context: &Context) -> Result<Box<dyn Work>, Status> {
    let stats = context.meter.measure(context.pods.as_ref(), &context.deps).await;
    let json = serde_json::to_vec(&*stats).map_err(Status::internal)?;
    Ok(Box::new(Stats(json.into())))
}

#[async_trait::async_trait]
impl Work for Stats {
    async fn run(self: Box<Self>, _incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        match outgoing.data(self.0).await {
            Ok(()) => answer::success(),
            Err(left) => left.into(),
        }
    }
}
