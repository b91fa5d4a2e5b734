//! Macros: calls that are written out while parsing (`all`, `exists`, `map`, `has`, `cel.bind`).

use std::sync::Arc;

use super::build::Builder;
use super::{Macros, Parsed};
use crate::ast::{ACCUMULATOR, Comprehension, Expr, Item, Kind, Literal};
use crate::library::SORT_BY_KEYS;

pub(super) enum Expanded {
    Yes(Expr),
    /// No macro: the operand and the arguments again.
    No(Expr, Vec<Expr>),
}

/// `has(a.b)`; or the arguments again.
pub(super) fn global(b: &mut Builder, at: u32, name: &str, args: Vec<Expr>) -> Parsed<Result<Expr, Vec<Expr>>> {
    if name != "has" || args.len() != 1 {
        return Ok(Err(args));
    }
    let Some(Expr { at: place, kind, .. }) = args.into_iter().next() else { return Ok(Err(Vec::new())) };
    match kind {
        Kind::Select { operand, field, test: false } => b.node(at, Kind::Select { operand, field, test: true }).map(Ok),
        _ => Err((Some(place), "invalid argument to has() macro".to_owned())),
    }
}

pub(super) fn member(
    b: &mut Builder,
    known: Macros,
    at: u32,
    name: &str,
    operand: Expr,
    args: Vec<Expr>,
) -> Parsed<Expanded> {
    let is_cel = || matches!(&operand.kind, Kind::Ident(name) if &**name == "cel");
    let expand = match (name, args.len()) {
        ("bind", 3) if known.bind && is_cel() => bind_macro,
        ("all" | "exists" | "exists_one" | "existsOne", 2 | 3) => quantifier,
        ("map", 2 | 3) | ("filter", 2) => mapping,
        ("transformList" | "transformMap", 3 | 4) | ("transformMapEntry", 3 | 4) => transform,
        ("optMap" | "optFlatMap", 2) => optional,
        ("sortBy", 2) => sort_by,
        _ => return Ok(Expanded::No(operand, args)),
    };
    expand(b, at, name, operand, args).map(Expanded::Yes)
}

/// The name of a variable of iteration.
fn variable(arg: &Expr) -> Parsed<Arc<str>> {
    match &arg.kind {
        Kind::Ident(name) if &**name == ACCUMULATOR || &**name == "__result__" => {
            Err((Some(arg.at), "iteration variable overwrites accumulator variable".to_owned()))
        }
        Kind::Ident(name) if !name.starts_with('.') => Ok(Arc::clone(name)),
        _ => Err((Some(arg.at), "argument must be a simple name".to_owned())),
    }
}

/// The variables in front of the last `rest` arguments: one, or an index and a value.
fn variables(args: &mut Vec<Expr>, rest: usize) -> Parsed<(Arc<str>, Option<Arc<str>>)> {
    let names = args.len() - rest;
    let first = variable(&args[0])?;
    let second = if names == 2 { Some(variable(&args[1])?) } else { None };
    if second.as_ref() == Some(&first) {
        return Err((Some(args[1].at), "duplicate variable name".to_owned()));
    }
    args.drain(..names);
    Ok((first, second))
}

fn accumulator(b: &mut Builder, at: u32) -> Parsed<Expr> {
    b.ident(at, ACCUMULATOR)
}

/// `range.all(x, p)` and its kin, also with two variables.
fn quantifier(b: &mut Builder, at: u32, name: &str, range: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let (variable, second) = variables(&mut args, 1)?;
    let predicate = args.remove(0);
    let (init, condition, step, result);
    match name {
        "all" | "exists" => {
            let all = name == "all";
            init = b.literal(at, Literal::Bool(all))?;
            let mut going = accumulator(b, at)?;
            if !all {
                going = b.call(at, "!_", None, vec![going])?;
            }
            condition = b.call(at, "@not_strictly_false", None, vec![going])?;
            let so_far = accumulator(b, at)?;
            step = b.call(at, if all { "_&&_" } else { "_||_" }, None, vec![so_far, predicate])?;
            result = accumulator(b, at)?;
        }
        _ => {
            init = b.literal(at, Literal::Int(0))?;
            condition = b.literal(at, Literal::Bool(true))?;
            let (so_far, one) = (accumulator(b, at)?, b.literal(at, Literal::Int(1))?);
            let more = b.call(at, "_+_", None, vec![so_far, one])?;
            let same = accumulator(b, at)?;
            step = b.call(at, "_?_:_", None, vec![predicate, more, same])?;
            let (count, one) = (accumulator(b, at)?, b.literal(at, Literal::Int(1))?);
            result = b.call(at, "_==_", None, vec![count, one])?;
        }
    }
    let accumulator = ACCUMULATOR.into();
    b.fold(at, Comprehension { range, variable, second, accumulator, init, condition, step, result })
}

/// `range.map(x, e)`, `range.map(x, p, e)`, `range.filter(x, p)`.
fn mapping(b: &mut Builder, at: u32, name: &str, range: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let (variable_at, variable) = (args[0].at, variable(&args[0])?);
    args.remove(0);
    if name == "filter" {
        args.push(b.ident(variable_at, &variable)?);
    }
    let fold = Fold { range, variable, second: None };
    fold.collect(b, at, args, Kind::List(Vec::new()), |b, so_far, element| {
        let list = b.node(at, Kind::List(vec![Item { value: element, optional: false }]))?;
        b.call(at, "_+_", None, vec![so_far, list])
    })
}

/// `range.transformList(i, v, e)`, `transformMap`, `transformMapEntry`, each also with a filter before the last argument.
fn transform(b: &mut Builder, at: u32, name: &str, range: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let rest = args.len() - 2;
    let (variable, second) = variables(&mut args, rest)?;
    let key = Arc::clone(&variable);
    let fold = Fold { range, variable, second };
    match name {
        "transformList" => fold.collect(b, at, args, Kind::List(Vec::new()), |b, so_far, element| {
            let list = b.node(at, Kind::List(vec![Item { value: element, optional: false }]))?;
            b.call(at, "_+_", None, vec![so_far, list])
        }),
        "transformMap" => fold.collect(b, at, args, Kind::Map(Vec::new()), |b, so_far, value| {
            let key = b.ident(at, &key)?;
            b.call(at, "cel.@mapInsert", None, vec![so_far, key, value])
        }),
        _ => fold.collect(b, at, args, Kind::Map(Vec::new()), |b, so_far, entry| {
            b.call(at, "cel.@mapInsert", None, vec![so_far, entry])
        }),
    }
}

struct Fold {
    range: Expr,
    variable: Arc<str>,
    second: Option<Arc<str>>,
}

impl Fold {
    /// A fold that adds something for each element; `args` are an element and perhaps a filter before it.
    fn collect(
        self,
        b: &mut Builder,
        at: u32,
        mut args: Vec<Expr>,
        empty: Kind,
        add: impl FnOnce(&mut Builder, Expr, Expr) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let Some(element) = args.pop() else { return Err((Some(at), "an argument is missing".to_owned())) };
        let init = b.node(at, empty)?;
        let condition = b.literal(at, Literal::Bool(true))?;
        let so_far = accumulator(b, at)?;
        let mut step = add(b, so_far, element)?;
        if let Some(filter) = args.pop() {
            let same = accumulator(b, at)?;
            step = b.call(at, "_?_:_", None, vec![filter, step, same])?;
        }
        let result = accumulator(b, at)?;
        let Self { range, variable, second } = self;
        let accumulator = ACCUMULATOR.into();
        b.fold(at, Comprehension { range, variable, second, accumulator, init, condition, step, result })
    }
}

fn bind_macro(b: &mut Builder, at: u32, _: &str, _cel: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let name = variable(&args[0])?;
    let result = args.remove(2);
    let init = args.remove(1);
    bind(b, at, name, init, result)
}

fn bind(b: &mut Builder, at: u32, name: Arc<str>, init: Expr, result: Expr) -> Parsed<Expr> {
    let range = b.node(at, Kind::List(Vec::new()))?;
    let condition = b.literal(at, Literal::Bool(false))?;
    let step = b.ident(at, &name)?;
    let unused = "#unused".into();
    b.fold(
        at,
        Comprehension { range, variable: unused, second: None, accumulator: name, init, condition, step, result },
    )
}

/// `target.optMap(x, e)`: `e` of the value if there is one. The target is bound to a name first, so that nested ones do not multiply it.
fn optional(b: &mut Builder, at: u32, name: &str, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    const TARGET: &str = "@target";
    let variable = variable(&args[0])?;
    let mapped = args.remove(1);
    let (asked, opened) = (b.ident(at, TARGET)?, b.ident(at, TARGET)?);
    let has = b.call(at, "hasValue", Some(asked), Vec::new())?;
    let value = b.call(at, "value", Some(opened), Vec::new())?;
    let mut bound = bind(b, at, variable, value, mapped)?;
    if name == "optMap" {
        bound = b.call(at, "optional.of", None, vec![bound])?;
    }
    let none = b.call(at, "optional.none", None, Vec::new())?;
    let choice = b.call(at, "_?_:_", None, vec![has, bound, none])?;
    bind(b, at, TARGET.into(), target, choice)
}

/// `list.sortBy(x, key)`: the list in the order of the keys. It is bound to a name first, as above.
fn sort_by(b: &mut Builder, at: u32, _: &str, list: Expr, args: Vec<Expr>) -> Parsed<Expr> {
    const INPUT: &str = "@__sortBy_input__";
    if matches!(list.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }) {
        let why = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        return Err((Some(list.at), why.to_owned()));
    }
    let (range, sorted) = (b.ident(at, INPUT)?, b.ident(at, INPUT)?);
    let keys = mapping(b, at, "map", range, args)?;
    let result = b.call(at, SORT_BY_KEYS, Some(sorted), vec![keys])?;
    bind(b, at, INPUT.into(), list, result)
}
