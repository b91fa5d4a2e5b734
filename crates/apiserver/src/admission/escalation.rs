//! Nobody may hand out more than they hold; see `rbac::escalation`.

use async_trait::async_trait;
use gantry_api::Value;
use gantry_api::status::Status;

use super::{Operation, Plugin, Request};
use crate::rbac::escalation::Check;

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
        let index = authorizer.index();
        let allowed = |attributes: &_| authorizer.decide(user, attributes).is_ok();
        let asked = if request.posted { "" } else { &request.target.name };
        Check { index: &index, user, allowed: &allowed, asked }.write(&request.target.kind, object, request.old)
    }
}
