//! Lists and maps that are written out have elements of one type, as Kubernetes wants it; only what is formatted may be mixed.

use super::literals::each_child;
use crate::ast::{Expr, Kind};
use crate::types::Type;

/// Adds an issue for the first element of another type than those before it.
pub(super) fn check(expr: &Expr, types: &[Type], issues: &mut Vec<(Option<u32>, String)>) {
    match &expr.kind {
        Kind::Call { function, target: Some(_), .. } if &**function == "format" => return,
        Kind::List(items) => one_type(&mut items.iter().map(|i| (&i.value, i.optional)), types, issues),
        Kind::Map(entries) => {
            one_type(&mut entries.iter().map(|e| (&e.key, false)), types, issues);
            one_type(&mut entries.iter().map(|e| (&e.value, e.optional)), types, issues);
        }
        _ => {}
    }
    each_child(expr, &mut |child| check(child, types, issues));
}

fn one_type(
    elements: &mut dyn Iterator<Item = (&Expr, bool)>,
    types: &[Type],
    issues: &mut Vec<(Option<u32>, String)>,
) {
    let mut first: Option<&Type> = None;
    for (element, optional) in elements {
        let ty = match types[element.id as usize].plain() {
            Type::Optional(of) if optional => of,
            ty => ty,
        };
        match first {
            Some(first) if first != ty => {
                return issues.push((Some(element.at), format!("expected type '{first}' but found '{ty}'")));
            }
            _ => first = first.or(Some(ty)),
        }
    }
}
