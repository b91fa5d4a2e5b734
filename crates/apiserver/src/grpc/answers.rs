//! Answers of other API servers, which are held whole from their first byte until the client has taken the last: how many
//! bytes of them there may be at a time, altogether and for one user.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gantry_api::status::Status;
use http_body::Body;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

/// Bytes of one answer: what clients take in one message.
const ONE_MAX: usize = 64 << 20;
/// Bytes of all that one user has asked for.
const OF_USER_MAX: usize = 2 * ONE_MAX;
/// Bytes of all.
const ALL_MAX: usize = 4 * ONE_MAX;

/// What is held.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_users: HashMap<String, usize>,
}

/// One answer's part of it. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held {
    answers: Arc<Answers>,
    user: String,
    bytes: usize,
}

impl Held {
    fn new(answers: &Arc<Answers>, user: &str) -> Self {
        Self { answers: answers.clone(), user: user.to_owned(), bytes: 0 }
    }

    /// # Errors
    /// 502 for more than one answer may have, 429 for more than there may be.
    fn grow(&mut self, bytes: usize, name: &str) -> Result<(), Status> {
        if self.bytes + bytes > ONE_MAX {
            let why = format!("the answer of {name} has more than {ONE_MAX} bytes: ask for it in parts, with a limit");
            return Err(Status::failure(502, "BadGateway", why));
        }
        let mut counts = self.answers.0.lock();
        let own = counts.of_users.get(&self.user).copied().unwrap_or(0);
        let refused = if own + bytes > OF_USER_MAX {
            Some(format!("user {:?} has {own} bytes of answers of other API servers under way", self.user))
        } else if counts.all + bytes > ALL_MAX {
            Some(format!("{} bytes of answers of other API servers are under way", counts.all))
        } else {
            None
        };
        if let Some(why) = refused {
            let why = format!("{why}, and {bytes} more of {name} are more than this API server holds");
            return Err(Status::too_many_requests(why, 1));
        }
        counts.all += bytes;
        counts.of_users.insert(self.user.clone(), own + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.answers.0.lock();
        counts.all -= self.bytes;
        if let Some(own) = counts.of_users.get_mut(&self.user) {
            *own -= self.bytes;
            if *own == 0 {
                counts.of_users.remove(&self.user);
            }
        }
    }
}

/// Reads the answer of the API service `name` to `user`.
///
/// # Errors
/// 502 for one that is too large, 429 where too much is held already, 503 when it breaks off.
pub(super) async fn read<B>(
    answers: &Arc<Answers>,
    user: &str,
    name: &str,
    mut body: B,
) -> Result<(Bytes, Held), Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut held = Held::new(answers, user);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |error| Status::unavailable(format!("the answer of {name}: {error}")).retry_after(1);
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            held.grow(data.len(), name)?;
            whole.extend_from_slice(&data);
        }
    }
    Ok((whole.freeze(), held))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// What becomes of an answer that says the same a number of times.
    async fn asked(answers: &Arc<Answers>, user: &str, piece: &Bytes, times: usize) -> Result<(Bytes, Held), u16> {
        let frames = std::iter::repeat_n(piece.clone(), times).map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let read = read(answers, user, "v1.a.b", StreamBody::new(futures::stream::iter(frames))).await;
        read.map_err(|status| status.code)
    }

    #[tokio::test]
    async fn answers_take_no_more_than_there_is() {
        let answers = Arc::<Answers>::default();
        let (small, half) = (Bytes::from_static(b"ab"), Bytes::from(vec![b' '; ONE_MAX / 2]));
        assert_eq!(asked(&answers, "alice", &small, 2).await.expect("room").0, "abab");
        let code = |asked: Result<(Bytes, Held), u16>| asked.map(drop).err();
        assert_eq!(code(asked(&answers, "alice", &half, 3).await), Some(502), "one that is too large");
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(asked(&answers, "alice", &half, 1).await.expect("room"));
        }
        assert_eq!(code(asked(&answers, "alice", &small, 1).await), Some(429), "her part");
        for user in ["bob", "carol"] {
            held.push(asked(&answers, user, &half, 2).await.expect("room"));
        }
        assert_eq!(code(asked(&answers, "dave", &small, 1).await), Some(429), "all there is");
        held.pop();
        assert_eq!(code(asked(&answers, "dave", &small, 1).await), None);
        drop(held);
        let counts = answers.0.lock();
        assert_eq!((counts.all, counts.of_users.len()), (0, 0), "what has left is given back");
    }
}
