//! From the rules of a schema to programs.

use gantry_api::Value;
use gantry_api::custom::schema::{Additional, MAX_DEPTH, Rule, Schema};
use gantry_cel::{Environment, Program, Type};

use super::{Compiled, Rules};

/// The name by which the types of a schema are told apart.
pub(super) const ROOT: &str = "selfType";

/// The rules of a schema, which is given read and as it was written.
pub(super) fn rules(schema: &Schema, source: &Value) -> Rules {
    node(schema, source, ROOT, 0)
}

/// The rules of a schema that stands somewhere in another, and of what is below it.
pub(super) fn rules_of(schema: &Schema, source: &Value, name: &str) -> Rules {
    node(schema, source, name, 0)
}

/// What stands below a schema as it was written: under `properties`, `additionalProperties` or `items`.
pub(super) fn below<'a>(source: &'a Value, part: &str, name: &str) -> &'a Value {
    let found = source.get(part).and_then(|part| if name.is_empty() { Some(part) } else { part.get(name) });
    found.unwrap_or(&Value::Null)
}

/// The type of what a schema describes; `None` for what expressions cannot reach.
pub(super) fn type_of(source: &Value, name: &str) -> Option<Type> {
    Type::from_schema(source, name, name == ROOT)
}

fn node(schema: &Schema, source: &Value, name: &str, depth: usize) -> Rules {
    let mut found = Rules::default();
    if depth > MAX_DEPTH {
        return found;
    }
    if !schema.rules.is_empty()
        && let Some(ty) = type_of(source, name)
    {
        found.own = schema.rules.iter().map(|rule| compiled(rule, &ty)).collect();
    }
    for (json, property) in &schema.properties {
        let below = node(property, below(source, "properties", json), &format!("{name}.{json}"), depth + 1);
        if !below.is_empty() {
            found.properties.insert(json.clone(), below);
        }
    }
    let part = |schema: &Schema, part: &str, name: String| {
        let below = node(schema, below(source, part, ""), &name, depth + 1);
        (!below.is_empty()).then(|| Box::new(below))
    };
    if let Some(Additional::Schema(additional)) = &schema.additional {
        found.additional = part(additional, "additionalProperties", format!("{name}.@elem"));
    }
    found.items = schema.items.as_ref().and_then(|items| part(items, "items", format!("{name}.@idx")));
    found
}

pub(super) fn environment(rule: &Rule, ty: &Type) -> Environment {
    let old = if rule.optional_old_self == Some(true) { Type::optional(ty.clone()) } else { ty.clone() };
    Environment::new().variable("self", ty.clone()).variable("oldSelf", old)
}

fn compiled(rule: &Rule, ty: &Type) -> Compiled {
    let environment = environment(rule, ty);
    let program = environment.compile(&rule.rule).ok();
    let message = Some(&rule.message_expression).filter(|m| !m.is_empty()).and_then(|m| environment.compile(m).ok());
    let uses = |program: &Option<Program>| program.as_ref().is_some_and(|p| p.uses("oldSelf"));
    Compiled { is_transition: uses(&program), rule: rule.clone(), program, message }
}
