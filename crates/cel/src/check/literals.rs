//! Arguments that are written out and can never work: durations, times and regular expressions.

use crate::ast::{Expr, Kind, Literal};
use gantry_api::regexp;

use crate::plan;

/// Adds an issue for each.
pub(super) fn check(expr: &Expr, issues: &mut Vec<(Option<u32>, String)>) {
    if let Kind::Call { function, target, args } = &expr.kind {
        let arg = match (target.is_some(), args.as_slice()) {
            (_, [arg]) | (false, [_, arg]) => Some(arg),
            _ => None,
        };
        if let Some(Expr { kind: Kind::Literal(literal), at, .. }) = arg {
            let fits = match (&**function, literal) {
                ("duration" | "timestamp", literal) => {
                    plan::converted(function, &plan::constant(literal)).is_none_or(|outcome| outcome.is_ok())
                }
                ("matches", Literal::String(text)) => regexp::compile(text).is_ok(),
                _ => true,
            };
            if !fits {
                issues.push((Some(*at), format!("invalid {function} argument")));
            }
        }
    }
    each_child(expr, &mut |child| check(child, issues));
}

/// Calls `visit` with each node directly below.
pub(super) fn each_child(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => visit(operand),
        Kind::Call { target, args, .. } => target.iter().map(|t| &**t).chain(args).for_each(visit),
        Kind::List(items) => items.iter().map(|i| &i.value).for_each(visit),
        Kind::Map(entries) => entries.iter().flat_map(|e| [&e.key, &e.value]).for_each(visit),
        Kind::Struct { fields, .. } => fields.iter().map(|f| &f.value).for_each(visit),
        Kind::Comprehension(c) => [&c.range, &c.init, &c.condition, &c.step, &c.result].into_iter().for_each(visit),
    }
}
