//! What a proxied request holds as long as it lasts: a place among all sessions, a right that is looked at again,
//! and the record for the audit.

use std::borrow::Cow;
use std::sync::Arc;

use gantry_api::status::Status;
use http::Method;
use tokio::time::Instant;

use crate::app::App;
use crate::audit::ObjectRef;
use crate::auth::credential::Credential;
use crate::rbac::authorizer;
use crate::rbac::rule::Attributes;
use crate::request::Target;
use crate::rest::handler::Incoming;
use crate::server::limits::Slot;
use crate::sessions::bounds::{Holder, Place};
use crate::sessions::over::Over;
use crate::sessions::record::Record;
use crate::sessions::right::Right;

/// Held by a proxied request. What becomes of the request is audited when this goes.
pub(super) struct Guard {
    right: Right,
    record: Record,
    /// The connection to the backend, through a node.
    over: Option<Over>,
    /// When it has to be over, where it does not last.
    until: Option<Instant>,
    _held: Held,
}

/// What makes room for a request.
enum Held {
    /// One that lasts: its place is among all sessions.
    Place { _place: Place },
    /// Any other: one of the requests in flight.
    Slot { _slot: Slot },
}

impl Guard {
    /// Checks the right to a `/proxy` and takes a place for the request.
    ///
    /// # Errors
    /// 401 and 403, 429 when there is no place.
    pub(super) async fn take(
        app: &Arc<App>,
        request: &Incoming,
        target: &Target,
        verb: &'static str,
    ) -> Result<Self, Status> {
        // Upstream's roles name resources with scheme and port: `https:dashboard:`.
        let needed = authorizer::on(&target.kind, verb, &target.namespace, &target.name, "proxy");
        let object = ObjectRef {
            resource: Cow::Borrowed(target.kind.resource),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            uid: String::new(),
            api_version: Cow::Borrowed("v1"),
            subresource: Cow::Borrowed(target.subresource),
        };
        Self::open(app, request, needed, (verb, object), None).await
    }

    /// Checks the right to a request about `object` and makes room for it: a place among all sessions where it lasts, else one
    /// among the requests in flight `until` it must be over.
    ///
    /// # Errors
    /// As [`Guard::take`].
    pub(super) async fn open(
        app: &Arc<App>,
        request: &Incoming,
        needed: Attributes,
        (verb, object): (&'static str, ObjectRef),
        until: Option<Instant>,
    ) -> Result<Self, Status> {
        let credential = Credential::of(request.origin.as_ref(), &request.headers);
        let mut record = Record::proxied(app, &request.caller, request.uri.clone(), verb, object);
        let granted = async {
            let right = Right::new(app, credential, vec![needed]).await?;
            let user = &request.caller.user;
            let held = match until {
                None => Held::Place { _place: app.places.take_for(Holder::of(user))? },
                Some(_) => {
                    let writes = !matches!(request.method, Method::GET | Method::HEAD);
                    Held::Slot { _slot: app.place(&request.caller, writes).await? }
                }
            };
            Ok((right, held))
        };
        match granted.await {
            Ok((right, held)) => {
                record.open();
                Ok(Self { right, record, over: None, until, _held: held })
            }
            Err(status) => {
                record.finish(&status);
                Err(status)
            }
        }
    }

    /// What the backend answered, or why there is no answer.
    pub(super) fn answered(&mut self, code: u16) {
        let status = if code < 400 { "Success" } else { "Failure" };
        self.record.finish(&Status { status: status.to_owned(), ..Status::failure(code, "", "") });
    }

    /// From now on it also ends with the connection to the backend, whether or not the client takes what has come.
    pub(super) fn follow(&mut self, over: Option<Over>) {
        self.over = over;
    }

    /// Waits until the request may not go on, and says why: its right or its time has ended, the server stops, or the node has
    /// ended the connection.
    pub(super) async fn ends(&self) -> Status {
        let over = async {
            match &self.over {
                Some(over) => over.wait().await,
                None => std::future::pending().await,
            }
        };
        let late = async {
            match self.until {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = self.right.ends() => status,
            status = over => status,
            () = late => Status::timeout("request did not complete within the allotted timeout", 0),
        }
    }
}
