//! A container's log.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use gantry_api::status::Status;
use gantry_proto::v1::LogRequest;
use k8s_openapi::api::core::v1::Pod;

use super::{
    Context, Work,
    answer::{self, Ended},
    link::{Incoming, Outgoing},
    target,
};
use crate::{logs, pod, runtime::Error};

/// A log's bytes.
pub(super) type Bytestream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// An open log.
struct Log {
    stream: Bytestream,
}

/// Opens the log that is asked for.
pub(super) async fn open(context: &Context, request: &LogRequest) -> Result<Bytestream, Status> {
    let pod = target::pod(context.pods.as_ref(), &request.namespace, &request.pod, &request.pod_uid)?;
    open_of(context, request, &pod).await
}

async fn open_of(context: &Context, request: &LogRequest, pod: &Pod) -> Result<Bytestream, Status> {
    let deps = &context.deps;
    let containers = deps.observed.of(&pod::reference(pod).uid);
    let id = logs::select(pod, &containers, request)?;
    let options = logs::options(request, deps.clock.now())?;
    let output = deps.runtime.logs(&id, &options).await;
    let output = output.map_err(|error| Status::internal(gantry_common::error_chain(&error)))?;
    let bytes = output.map(|chunk| chunk.map(crate::runtime::Chunk::into_bytes));
    Ok(match request.limit_bytes.and_then(|limit| u64::try_from(limit).ok()) {
        Some(limit) => Box::pin(limited(bytes, limit)),
        None => Box::pin(bytes),
    })
}

/// The first `limit` bytes.
fn limited<S>(bytes: S, limit: u64) -> impl Stream<Item = Result<Bytes, Error>> + Send
where
    S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
{
    stream::unfold((bytes, limit), |(mut bytes, left)| async move {
        if left == 0 {
            return None;
        }
        match bytes.next().await? {
            Ok(mut chunk) => {
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - chunk.len() as u64;
                Some((Ok(chunk), (bytes, left)))
            }
            Err(error) => Some((Err(error), (bytes, 0))),
        }
    })
}

/// Opens the log as a session; gives its pod too.
pub(super) async fn prepare(context: &Context, request: &LogRequest) -> Result<(Box<dyn Work>, Arc<Pod>), Status> {
    let pod = target::pod(context.pods.as_ref(), &request.namespace, &request.pod, &request.pod_uid)?;
    let stream = open_of(context, request, &pod).await?;
    Ok((Box::new(Log { stream }), pod))
}

#[async_trait::async_trait]
impl Work for Log {
    async fn run(mut self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let send = async {
            while let Some(chunk) = self.stream.next().await {
                match chunk {
                    Ok(bytes) => outgoing.data(bytes).await?,
                    Err(error) => {
                        return Ok(answer::failure(&Status::internal(gantry_common::error_chain(&error))));
                    }
                }
            }
            Ok(answer::success())
        };
        tokio::select! {
            ended = send => ended.unwrap_or_else(|left: super::link::Left| left.into()),
            () = incoming.left() => Ended::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_limit_cuts_to_the_byte() {
        let check = async |limit: u64, expected: &str| {
            let pieces = stream::iter(["abc", "", "def"]).map(|text| Ok(Bytes::from_static(text.as_bytes())));
            let found: Vec<Bytes> = limited(pieces, limit).try_collect().await.unwrap();
            assert_eq!(found.concat(), expected.as_bytes(), "{limit}");
        };
        for limit in 0..=7 {
            check(limit, &"abcdef"[..usize::try_from(limit.min(6)).unwrap()]).await;
        }
        // What comes after the limit is not even waited for.
        let endless = stream::iter([Ok(Bytes::from_static(b"abc"))]).chain(stream::pending());
        let found: Vec<Bytes> = limited(endless, 2).try_collect().await.unwrap();
        assert_eq!(found.concat(), b"ab");
    }
}
