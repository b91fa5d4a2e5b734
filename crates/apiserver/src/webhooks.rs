//! Calls to webhooks: one client for every use of them (admission, conversion of custom kinds).
//!
//! A webhook is a Service of the cluster, reached through the node of one of its endpoints, or a URL outside of it. TLS goes
//! from end to end and is always verified. Connections are kept for the next call to the same place.

mod answers;
mod error;
mod place;
mod pool;
mod speak;
mod users;

use std::time::Duration;

use gantry_api::Value;
use gantry_api::status::Status;
use rand::Rng as _;

pub(crate) use self::answers::Answers;
use self::error::Error;
pub(crate) use self::place::Place;
use self::pool::Pool;
use self::speak::Connection;
pub(crate) use self::users::Users;
use crate::app::App;

/// Bytes of an answer, as of a request body.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Calls of one question, at most; each waits this much longer for its turn than the one before, and up to a fifth more. As
/// upstream's client of reviews.
const TRIES: u32 = 5;
const FACTOR: f64 = 1.5;
const JITTER: f64 = 0.2;

/// Why there is no answer.
struct Failure {
    status: Status,
    /// It may go better next time.
    passing: bool,
}

/// The client.
#[derive(Default)]
pub(crate) struct Webhooks {
    pool: Pool,
}

impl Webhooks {
    /// Sends `body` to the webhook of a `WebhookClientConfig` (`url` or `service`, and `caBundle`) as one of `users`, and
    /// returns its answer.
    ///
    /// # Errors
    /// 503 when there is no answer within `timeout`, and the code of an answer that is no success; the message says why in
    /// upstream's words, without whose webhook it is.
    pub(crate) async fn call(
        &self,
        app: &App,
        config: &Value,
        users: &Users,
        body: &Value,
        timeout: Duration,
    ) -> Result<Value, Status> {
        let place = Place::of(config).map_err(|error| error.status(""))?.seen_by(users);
        self.call_at(app, &place, body, timeout).await.map_err(|failure| failure.status)
    }

    /// Sends `body` to a place, again where that may help: first after `pause`, then after longer ones. Returns its answer.
    ///
    /// # Errors
    /// As [`Webhooks::call`].
    pub(crate) async fn call_patiently(
        &self,
        app: &App,
        place: &Place,
        body: &Value,
        timeout: Duration,
        mut pause: Duration,
    ) -> Result<Value, Status> {
        let mut tries = 1;
        loop {
            match self.call_at(app, place, body, timeout).await {
                Err(failure) if failure.passing && tries < TRIES => {
                    let more = rand::rng().random_range(0.0..JITTER);
                    tokio::time::sleep(pause.mul_f64(1.0 + more)).await;
                    pause = pause.mul_f64(FACTOR);
                    tries += 1;
                }
                answer => return answer.map_err(|failure| failure.status),
            }
        }
    }

    /// Sends `body` to a place once, and returns its answer.
    async fn call_at(&self, app: &App, place: &Place, body: &Value, timeout: Duration) -> Result<Value, Failure> {
        let bytes = bytes::Bytes::from(body.to_string());
        let asked = self.ask(app, place, &bytes, timeout);
        let answer = tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Error::Deadline));
        let failure =
            |error: Error| Failure { passing: error.is_passing(), status: error.status(&place.shown(timeout)) };
        answer.map_err(failure)
    }

    async fn ask(&self, app: &App, place: &Place, body: &bytes::Bytes, timeout: Duration) -> Result<Value, Error> {
        let path = place.path(timeout);
        while let Some(mut kept) = self.pool.take(&place.key) {
            match kept.send(place, &path, body.clone()).await {
                // The other end has hung up while nobody asked: that says nothing about a new connection. Once anything has been
                // written the webhook may have acted, and a POST is not sent twice, as Go's client does not.
                Err(Error::Unsent(_)) => {}
                answer => return self.done(place, kept, answer),
            }
        }
        let mut connection = Connection::open(app, place).await?;
        let answer = connection.send(place, &path, body.clone()).await;
        self.done(place, connection, answer)
    }

    fn done(&self, place: &Place, connection: Connection, answer: Result<Value, Error>) -> Result<Value, Error> {
        if connection.is_reusable() {
            self.pool.keep(&place.key, connection);
        }
        answer
    }
}
