//! Nobody may hand out more than they hold; see `rbac::escalation`.

use async_trait::async_trait;
use gantry_api::Value;
use gantry_api::status::Status;

use super::{Operation, Plugin, Request};
use crate::rbac::escalation::{Check, exempting};

pub(super) struct Escalation;

#[async_trait]
impl Plugin for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if request.operation == Operation::Delete {
            return Ok(());
        }
        let user = &request.caller.user;
        let authorizer = &request.app.authorizer;
        let asked = if request.posted { "" } else { &request.target.name };
        let exempt = match exempting(&request.target.kind, object, asked) {
            Some(needed) => authorizer.decide(request.app, user, &needed).await.is_ok(),
            None => return Ok(()),
        };
        Check { index: &authorizer.index(), user, exempt }.write(&request.target.kind, object, request.old)
    }
}
