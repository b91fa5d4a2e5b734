//! Policies and bindings, read and compiled.

use gantry_api::{Value, value};
use gantry_cel::Type;

use super::super::matching::Criteria;
use crate::expressions::{Conditions, Expression, Uses, Wants, environment};

/// A policy.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    /// `apiVersion` and kind of its parameters.
    pub(super) params: Option<(String, String)>,
    /// What goes wrong is let pass.
    pub(super) ignores_failure: bool,
    pub(super) conditions: Conditions,
    pub(super) variables: Vec<(String, Expression)>,
    pub(super) rules: Vec<Rule>,
    /// Audit annotations: key and value.
    pub(super) annotations: Vec<(String, Expression)>,
    pub(super) changes: Vec<Change>,
    /// It wants to be asked again when the object changes after it.
    pub(super) repeats: bool,
}

/// What must hold.
pub(super) struct Rule {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    /// The reason of a refusal, `Invalid` where none is given.
    pub(super) reason: String,
}

/// What is changed.
pub(super) enum Change {
    Patch(Expression),
    Configuration(Expression),
}

/// A binding.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) criteria: Option<Criteria>,
    pub(super) params: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`.
    pub(super) actions: Vec<String>,
}

/// Which objects are a policy's parameters.
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Value>,
    /// A request is refused where there are none.
    pub(super) required: bool,
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    value::str_at(object, path).unwrap_or_default()
}

/// Reads a policy of either sort.
pub(super) fn policy(object: &Value) -> Definition {
    let spec = value::get(object, "spec").unwrap_or(&Value::Null);
    let list = |key: &str| value::list_at(spec, key);
    let params = value::get(spec, "paramKind").filter(|kind| kind.is_object());
    let uses = Uses { params: params.is_some(), authorizer: true, changes: value::get(spec, "mutations").is_some() };
    let plain = environment(Uses { changes: false, ..uses }, &Type::Dyn, &Type::Dyn);
    let mut all = environment(uses, &Type::Dyn, &Type::Dyn).composing();
    // Messages may not ask the authoriser.
    let mut unasked = environment(Uses { authorizer: false, ..uses }, &Type::Dyn, &Type::Dyn).composing();
    let mut variables = Vec::new();
    for variable in list("variables") {
        let (name, source) = (text(variable, "name"), text(variable, "expression"));
        let expression = Expression::new(&all, source, Wants::Anything);
        let ty = expression.variable_type();
        all = all.compose(name, ty.clone());
        unasked = unasked.compose(name, ty);
        variables.push((name.to_owned(), expression));
    }
    let compile = |source: &str, wants: Wants| Expression::new(&all, source, wants);
    let rule = |rule: &Value| Rule {
        expression: compile(text(rule, "expression"), Wants::Bool),
        message: text(rule, "message").trim().to_owned(),
        message_expression: Some(text(rule, "messageExpression"))
            .filter(|source| !source.trim().is_empty())
            .map(|source| Expression::new(&unasked, source, Wants::Text)),
        reason: Some(text(rule, "reason")).filter(|r| !r.is_empty()).unwrap_or("Invalid").to_owned(),
    };
    let annotation = |annotation: &Value| {
        let source = text(annotation, "valueExpression").trim();
        (text(annotation, "key").to_owned(), compile(source, Wants::TextOrNull))
    };
    let change = |change: &Value| match text(change, "patchType") {
        "JSONPatch" => Change::Patch(compile(text(change, "jsonPatch.expression"), Wants::Patch)),
        _ => Change::Configuration(compile(text(change, "applyConfiguration.expression"), Wants::Configuration)),
    };
    Definition {
        name: text(object, "metadata.name").to_owned(),
        criteria: Criteria::of_policy(value::get(spec, "matchConstraints").unwrap_or(&Value::Null)),
        params: params.map(|kind| (text(kind, "apiVersion").to_owned(), text(kind, "kind").to_owned())),
        ignores_failure: text(spec, "failurePolicy") == "Ignore",
        conditions: Conditions::new(&plain, list("matchConditions")),
        rules: list("validations").iter().map(rule).collect(),
        annotations: list("auditAnnotations").iter().map(annotation).collect(),
        changes: list("mutations").iter().map(change).collect(),
        repeats: text(spec, "reinvocationPolicy") == "IfNeeded",
        variables,
    }
}

/// Reads a binding of either sort.
pub(super) fn binding(object: &Value) -> Binding {
    let spec = value::get(object, "spec").unwrap_or(&Value::Null);
    let some = |key: &str| value::get(spec, key).filter(|v| v.is_object());
    let params = |found: &Value| ParamRef {
        name: text(found, "name").to_owned(),
        namespace: text(found, "namespace").to_owned(),
        selector: value::get(found, "selector").filter(|s| s.is_object()).cloned(),
        required: text(found, "parameterNotFoundAction") == "Deny",
    };
    let actions = value::list_at(spec, "validationActions").iter().filter_map(Value::as_str);
    Binding {
        name: text(object, "metadata.name").to_owned(),
        policy: text(spec, "policyName").to_owned(),
        criteria: some("matchResources").map(Criteria::of_policy),
        params: some("paramRef").map(params),
        actions: actions.map(str::to_owned).collect(),
    }
}
