//! Webhook configurations, admission policies and their bindings.

use gantry_api::field::Errors;
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, validation, value};

use super::columns::{AGE, NAME, age, cells, column, name, text};
use super::{Column, Row, Strategy};
use crate::expressions::written;

/// The strategy of both kinds of webhook configurations.
pub(super) struct Webhooks;
/// The strategy of a kind of policies.
pub(super) struct Policy {
    /// Where its rules stand, which a column counts.
    rules: &'static str,
    columns: &'static [Column],
}
/// The strategy of both kinds of bindings.
pub(super) struct PolicyBinding;

const PARAM_KIND: Column =
    column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy");

pub(super) const VALIDATING: Policy = Policy {
    rules: "spec.validations",
    columns: &[
        NAME,
        column(
            "Validations",
            "integer",
            "Validations indicates the number of validation rules defined in this configuration",
        ),
        PARAM_KIND,
        AGE,
    ],
};
pub(super) const MUTATING: Policy = Policy {
    rules: "spec.mutations",
    columns: &[
        NAME,
        column(
            "Mutations",
            "integer",
            "Mutation indicates the number of mutations rules defined in this configuration",
        ),
        PARAM_KIND,
        AGE,
    ],
};

fn param_kind(policy: &Value) -> String {
    match value::get(policy, "spec.paramKind").filter(|kind| kind.is_object()) {
        Some(kind) => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")),
        None => "<unset>".to_owned(),
    }
}

fn param_ref(binding: &Value) -> String {
    let Some(param) = value::get(binding, "spec.paramRef").filter(|param| param.is_object()) else {
        return "<unset>".to_owned();
    };
    match text(param, "namespace") {
        "" => text(param, "name").to_owned(),
        namespace => format!("{namespace}/{}", text(param, "name")),
    }
}

impl Strategy for Webhooks {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        let mut errors = validation::create(kind, object);
        errors.extend(written::webhooks(object, None));
        errors
    }

    fn validate_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        let mut errors = validation::update(kind, new, old);
        errors.extend(written::webhooks(new, Some(old)));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column(
                    "Webhooks",
                    "integer",
                    "Webhooks indicates the number of webhooks registered in this configuration",
                ),
                AGE,
            ]
        }
    }

    fn row(&self, configuration: &Value, now: jiff::Timestamp) -> Row {
        let count = value::list_at(configuration, "webhooks").len();
        cells(vec![name(configuration), count.into(), age(configuration, now)])
    }
}

impl Strategy for Policy {
    fn fixes_metadata(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        let mut errors = validation::create(kind, object);
        errors.extend(written::policy(object));
        errors
    }

    fn validate_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        let mut errors = validation::update(kind, new, old);
        errors.extend(written::policy(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn row(&self, policy: &Value, now: jiff::Timestamp) -> Row {
        let count = value::list_at(policy, self.rules).len();
        cells(vec![name(policy), count.into(), param_kind(policy).into(), age(policy, now)])
    }
}

impl Strategy for PolicyBinding {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column(
                    "PolicyName",
                    "string",
                    "PolicyName indicates the policy definition which the policy binding binded to",
                ),
                column("ParamRef", "string", "ParamRef indicates the param resource which sets the configration param"),
                AGE,
            ]
        }
    }

    fn row(&self, binding: &Value, now: jiff::Timestamp) -> Row {
        let policy = text(binding, "spec.policyName");
        cells(vec![name(binding), policy.into(), param_ref(binding).into(), age(binding, now)])
    }
}
