//! What expressions are evaluated on: one request.

use gantry_api::Value;
use gantry_api::selector::{FieldSelector, LabelSelector};
use gantry_cel::{Bindings, Check, Decision, Host, ResourceCheck, Subject};

use super::Expression;
use crate::admission::Request;
use crate::app::App;
use crate::auth::User;
use crate::rbac::authorizer::Refusal;
use crate::rbac::rule::{Attributes, Required};

static NULL: Value = Value::Null;

/// The authoriser, as the request's user sees it.
pub(crate) struct Rights<'a> {
    app: &'a App,
    user: &'a User,
}

impl<'a> Rights<'a> {
    pub(crate) fn of(request: &'a Request<'_>) -> Self {
        Self { app: request.app, user: &request.caller.user }
    }
}

/// What a selector requires; one that cannot be read narrows nothing.
fn required<S>(selector: Result<S, String>, read: impl FnOnce(&S) -> Vec<Required>) -> Vec<Required> {
    selector.map(|selector| read(&selector)).unwrap_or_default()
}

impl Host for Rights<'_> {
    fn check(&self, check: &Check) -> Decision {
        let verb = check.verb.clone();
        let attributes = match &check.subject {
            Subject::Nothing | Subject::Group(_) => return Decision::default(),
            Subject::Path(path) => Attributes { verb, path: Some(path.clone()), ..Attributes::default() },
            Subject::Resource(resource) => Attributes {
                verb,
                group: resource.group.clone(),
                version: "*".to_owned(),
                resource: resource.resource.clone(),
                subresource: resource.subresource.clone(),
                namespace: resource.namespace.clone(),
                name: resource.name.clone(),
                fields: required(FieldSelector::parse(&resource.field_selector), Required::of_fields),
                labels: required(LabelSelector::parse(&resource.label_selector), Required::of_labels),
                ..Attributes::default()
            },
        };
        let account;
        let user = match &check.service_account {
            Some((namespace, name)) => {
                account = User::service_account(namespace, name, "");
                &account
            }
            None => self.user,
        };
        match self.app.authorizer.decide_here(self.app, user, &attributes) {
            Ok(reason) => Decision { allowed: true, reason, ..Decision::default() },
            Err(Refusal { reason, error, .. }) => {
                Decision { reason, error: Some(error).filter(|error| !error.is_empty()), ..Decision::default() }
            }
        }
    }
}

/// The documents of one request, in the form that is asked for.
pub(crate) struct Input {
    pub(crate) object: Option<Value>,
    pub(crate) old: Option<Value>,
    pub(crate) request: Value,
    pub(crate) namespace: Option<Value>,
}

impl Input {
    /// What expressions read. `rights`: none where they may not ask the authoriser. `variables`: those of the policy, by
    /// name.
    pub(crate) fn bindings<'a>(
        &'a self,
        rights: Option<&'a Rights<'_>>,
        asked: &Request<'_>,
        params: Option<&'a Value>,
        variables: &'a [(String, Expression)],
    ) -> Bindings<'a> {
        let bindings = Bindings::new()
            .json("object", self.object.as_ref().unwrap_or(&NULL))
            .json("oldObject", self.old.as_ref().unwrap_or(&NULL))
            .json("request", &self.request)
            .json("namespaceObject", self.namespace.as_ref().unwrap_or(&NULL))
            .json("params", params.unwrap_or(&NULL));
        let bindings = match rights {
            Some(rights) => bindings.host(rights, Some(resource(asked))),
            None => bindings,
        };
        variables.iter().fold(bindings, |bindings, (name, expression)| match expression.program() {
            Some(program) => bindings.compose(name, program),
            None => bindings,
        })
    }
}

/// The resource of the request, as `authorizer.requestResource` asks about it.
fn resource(asked: &Request<'_>) -> Check {
    let target = asked.target;
    Check::resource(ResourceCheck {
        group: target.kind.group.to_owned(),
        resource: target.kind.resource.to_owned(),
        subresource: target.subresource.to_owned(),
        namespace: asked.namespace().to_owned(),
        name: if asked.nameless { String::new() } else { target.name.clone() },
        ..ResourceCheck::default()
    })
}
