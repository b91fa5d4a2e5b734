//! Expressions of objects that are being written: what is wrong with them is told before they are stored.

use gantry_api::field::{Errors, Path};
use gantry_api::{Value, value};
use gantry_cel::{Environment, Type};

use super::{Expression, Uses, Wants, environment, refused};

/// The errors of a webhook configuration's expressions; those that were there before are not looked at again.
pub(crate) fn webhooks(object: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    let uses = Uses { params: false, authorizer: true, changes: false };
    let environment = environment(uses, &Type::Dyn, &Type::Dyn);
    let before = old.map_or(&[][..], |old| value::list_at(old, "webhooks"));
    for (index, hook) in value::list_at(object, "webhooks").iter().enumerate() {
        let found = value::list_at(hook, "matchConditions");
        let same = before.get(index).is_some_and(|old| value::list_at(old, "matchConditions") == found);
        if !same {
            conditions(&mut errors, &environment, &Path::new("webhooks").index(index).child("matchConditions"), found);
        }
    }
    errors
}

fn conditions(errors: &mut Errors, environment: &Environment, at: &Path, conditions: &[Value]) {
    for (index, condition) in conditions.iter().enumerate() {
        let source = value::str_at(condition, "expression").unwrap_or_default();
        check(errors, environment, &at.index(index).child("expression"), source.trim(), Wants::Bool);
    }
}

/// Compiles what is there; an empty expression has been told of already.
fn check(errors: &mut Errors, environment: &Environment, at: &Path, source: &str, wants: Wants) -> Option<Expression> {
    if source.trim().is_empty() {
        return None;
    }
    let expression = Expression::new(environment, source, wants);
    if let Some(why) = expression.error() {
        errors.push(refused(at, source, why));
    }
    Some(expression)
}

/// The errors of a policy's expressions.
pub(crate) fn policy(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = value::get(object, "spec").unwrap_or(&Value::Null);
    let root = Path::new("spec");
    let list = |key: &str| value::list_at(spec, key);
    let params = value::get(spec, "paramKind").is_some_and(Value::is_object);
    let changes = value::get(spec, "mutations").is_some();
    let uses = Uses { params, authorizer: true, changes };
    let plain = environment(Uses { changes: false, ..uses }, &Type::Dyn, &Type::Dyn);
    conditions(&mut errors, &plain, &root.child("matchConditions"), list("matchConditions"));
    let mut all = environment(uses, &Type::Dyn, &Type::Dyn).composing();
    let mut unasked = environment(Uses { authorizer: false, ..uses }, &Type::Dyn, &Type::Dyn).composing();
    for (index, variable) in list("variables").iter().enumerate() {
        let text = |key: &str| value::str_at(variable, key).unwrap_or_default();
        let at = root.child("variables").index(index).child("expression");
        if let Some(expression) = check(&mut errors, &all, &at, text("expression"), Wants::Anything) {
            let ty = expression.variable_type();
            all = all.compose(text("name"), ty.clone());
            unasked = unasked.compose(text("name"), ty);
        }
    }
    let mut each = |key: &str, fields: &[(&str, Wants, bool)]| {
        for (index, item) in list(key).iter().enumerate() {
            for (field, wants, authorizer) in fields {
                let at = field.split('.').fold(root.child(key).index(index), |at, name| at.child(name));
                let source = value::str_at(item, field).unwrap_or_default();
                check(&mut errors, if *authorizer { &all } else { &unasked }, &at, source, *wants);
            }
        }
    };
    each("validations", &[("expression", Wants::Bool, true), ("messageExpression", Wants::Text, false)]);
    each("auditAnnotations", &[("valueExpression", Wants::TextOrNull, true)]);
    each(
        "mutations",
        &[("jsonPatch.expression", Wants::Patch, true), ("applyConfiguration.expression", Wants::Configuration, true)],
    );
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: Errors) -> Vec<String> {
        errors.iter().map(|e| e.to_string().replace('\n', "|")).collect()
    }

    #[test]
    fn policies_are_compiled_when_they_are_written() {
        let right = json!({"spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConditions": [{"name": "a", "expression": "params.data.x == 'y'"}],
            "variables": [{"name": "n", "expression": "object.spec.replicas + 1"}, {"name": "m", "expression": "string(variables.n)"}],
            "validations": [{"expression": "variables.n < 3", "messageExpression": "'no: ' + variables.m"}],
            "auditAnnotations": [{"key": "k", "valueExpression": "variables.m"}],
        }});
        assert_eq!(texts(policy(&right)), Vec::<String>::new());
        let wrong = json!({"spec": {
            "matchConditions": [{"name": "a", "expression": "1"}],
            "variables": [{"name": "n", "expression": "nothing"}],
            "validations": [
                {"expression": "object.x", "messageExpression": "authorizer.path('/x').check('get').reason()"},
                {"expression": "object.x.find('(') == ''"},
            ],
            "mutations": [{"jsonPatch": {"expression": "1"}}],
        }});
        let errors = texts(policy(&wrong));
        let expected = [
            "spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
            "spec.variables[0].expression: Invalid value: \"nothing\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing'",
            "spec.validations[0].expression: Invalid value: \"object.x\": must evaluate to bool but got dyn",
            "spec.validations[0].messageExpression: Invalid value: \"authorizer.path('/x').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer'",
            "spec.validations[1].expression: Internal error: program instantiation failed: error parsing regexp: missing closing ): `(`",
            "spec.mutations[0].jsonPatch.expression: Invalid value: \"1\": must evaluate to list(JSONPatch) but got int",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn conditions_that_were_there_are_not_compiled_again() {
        let of =
            |expression: &str| json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": expression}]}]});
        assert_eq!(webhooks(&of("1"), None).len(), 1);
        assert_eq!(webhooks(&of("1"), Some(&of("1"))).len(), 0);
        assert_eq!(webhooks(&of("params == 1"), None).len(), 1, "webhooks have no parameters");
    }
}
