//! Calls of `format` whose pattern and arguments are written out: each clause has an argument that it can show.

use super::literals::each_child;
use crate::ast::{Expr, Kind, Literal};
use crate::library::format::{Part, parts, refusal};
use crate::types::Type;

/// Adds an issue for the first mistake of each call.
pub(super) fn check(expr: &Expr, types: &[Type], issues: &mut Vec<(Option<u32>, String)>) {
    if let Kind::Call { function, target: Some(target), args } = &expr.kind
        && &**function == "format"
        && let Kind::Literal(Literal::String(pattern)) = &target.kind
        && let [Expr { kind: Kind::List(items), .. }] = args.as_slice()
    {
        let mut asked = 0;
        let mut mistake = None;
        for part in parts(pattern, items.len()) {
            mistake = match part {
                Ok(Part::Text(_)) => None,
                Ok(Part::Clause { letter, argument, .. }) => {
                    asked = argument + 1;
                    misfit(letter, &items[argument].value, types)
                        .map(|bad| (bad.at, refusal(letter, types[bad.id as usize].runtime_name())))
                }
                Err(error) => Some((expr.at, error.to_string())),
            };
            if mistake.is_some() {
                break;
            }
        }
        if mistake.is_none() && items.len() > asked {
            let given = items.len();
            let text = format!("too many arguments supplied to string.format (expected {asked}, got {given})");
            mistake = Some((expr.at, text));
        }
        issues.extend(mistake.map(|(at, text)| (Some(at), text)));
    }
    each_child(expr, &mut |child| check(child, types, issues));
}

/// What a clause cannot show of an argument; lists and maps that are written out are looked into.
fn misfit<'e>(letter: char, expr: &'e Expr, types: &[Type]) -> Option<&'e Expr> {
    let ty = types[expr.id as usize].plain();
    let fits = ty.is_dyn()
        || match letter {
            'd' | 'o' => matches!(ty, Type::Int | Type::Uint),
            'f' | 'e' => matches!(ty, Type::Double | Type::String),
            'b' => matches!(ty, Type::Int | Type::Uint | Type::Bool),
            'x' | 'X' => matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes),
            _ => !matches!(ty, Type::Object(_) | Type::Optional(_) | Type::Opaque(_)),
        };
    if !fits {
        return Some(expr);
    }
    let mut children = Vec::new();
    if letter == 's' {
        match &expr.kind {
            Kind::List(items) => children.extend(items.iter().map(|i| &i.value)),
            Kind::Map(entries) => children.extend(entries.iter().flat_map(|e| [&e.key, &e.value])),
            _ => {}
        }
    }
    children.into_iter().find_map(|child| misfit(letter, child, types))
}
