//! The port-forward as such, apart from its connections: a session without data, by which the API server says that there is
//! nothing to forward to any more.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context, Error, Result, anyhow};
use gantry_api::status::Status;
use gantry_client::{
    Client,
    session::{Event, Input, Output},
};
use gantry_common::{backoff::Backoff, error_chain};
use gantry_proto::v1::open_session::Kind;
use tokio::time::{Instant, timeout_at};

use super::relay::Target;
use crate::output;

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// An open port-forward.
pub(super) struct Hold {
    client: Client,
    target: Target,
    /// How long an API server is looked for.
    patience: Duration,
    session: (Input, Output),
}

/// Why it is not open.
enum Lost {
    /// No other API server would have it.
    ForGood(Error),
    /// Another one may.
    Server(Error),
}

fn refused(status: &Status) -> Lost {
    let why = anyhow!(status.message.clone());
    match status.code {
        400 | 404 => Lost::ForGood(why.context("lost connection to pod")),
        401 | 403 => Lost::ForGood(why),
        _ => Lost::Server(why),
    }
}

impl From<gantry_client::Error> for Lost {
    fn from(error: gantry_client::Error) -> Self {
        match error.status() {
            Some(status) => refused(status),
            None => Self::Server(error.into()),
        }
    }
}

fn request(target: &Target) -> Kind {
    Kind::PortForward(target.request())
}

impl Hold {
    /// Opens it.
    ///
    /// # Errors
    /// Why the API server refuses.
    pub(super) async fn open(client: Client, target: Target, patience: Duration) -> Result<Self> {
        let session = client.open_session(request(&target)).await?;
        Ok(Self { client, target, patience, session })
    }

    /// Keeps it open: where an API server goes, with the next one that is found.
    ///
    /// # Errors
    /// When there is nothing to forward to any more.
    pub(super) async fn keep(mut self) -> Result<Infallible> {
        loop {
            match self.lost().await {
                Lost::ForGood(why) => return Err(why),
                Lost::Server(why) => self.session = self.again(why).await?,
            }
        }
    }

    async fn lost(&mut self) -> Lost {
        loop {
            match self.session.1.next().await {
                Ok(Event::Done(status)) => return refused(&status),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Looks for an API server.
    async fn again(&self, mut why: Error) -> Result<(Input, Output)> {
        let until = Instant::now() + self.patience;
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        if !self.patience.is_zero() {
            output::note(&format!("lost connection to the API server, looking for one: {}", error_chain(why.as_ref())));
        }
        while let Ok(()) = timeout_at(until, tokio::time::sleep(backoff.next())).await {
            match timeout_at(until, self.client.open_session(request(&self.target))).await {
                Ok(Ok(session)) => {
                    output::note("connected to an API server again");
                    return Ok(session);
                }
                Ok(Err(error)) => match error.into() {
                    Lost::ForGood(why) => return Err(why),
                    Lost::Server(other) => why = other,
                },
                Err(_) => break,
            }
        }
        Err(why).context("lost connection to the API server")
    }
}
