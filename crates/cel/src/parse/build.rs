//! Nodes with ids, and the bounds on them.

use super::{Fault, Parsed};
use crate::ast::{Comprehension, Expr, Kind, Literal};
use crate::limits::{MAX_DEPTH, MAX_NODES};

#[derive(Default)]
pub(super) struct Builder {
    next: u32,
}

pub(super) fn too_deep(limit: u16) -> String {
    format!("expression recursion limit exceeded: {limit}")
}

impl Builder {
    pub(super) fn ids(&self) -> u32 {
        self.next
    }

    pub(super) fn node(&mut self, at: u32, kind: Kind) -> Parsed<Expr> {
        let depth = 1 + deepest(&kind);
        if depth > MAX_DEPTH {
            return Err((None, too_deep(MAX_DEPTH)));
        }
        if self.next >= MAX_NODES {
            return Err((Some(at), format!("expression has more than {MAX_NODES} nodes")));
        }
        let id = self.next;
        self.next += 1;
        Ok(Expr { id, at, depth, kind })
    }

    pub(super) fn call(&mut self, at: u32, function: &str, target: Option<Expr>, args: Vec<Expr>) -> Parsed<Expr> {
        self.node(at, Kind::Call { function: function.into(), target: target.map(Box::new), args })
    }

    pub(super) fn ident(&mut self, at: u32, name: &str) -> Parsed<Expr> {
        self.node(at, Kind::Ident(name.into()))
    }

    pub(super) fn literal(&mut self, at: u32, literal: Literal) -> Parsed<Expr> {
        self.node(at, Kind::Literal(literal))
    }

    pub(super) fn fold(&mut self, at: u32, comprehension: Comprehension) -> Result<Expr, Fault> {
        self.node(at, Kind::Comprehension(Box::new(comprehension)))
    }

    /// A tree of calls over the operands, the middle operator on top.
    pub(super) fn balance(&mut self, function: &str, mut operands: Vec<Expr>, places: &[u32]) -> Parsed<Expr> {
        let middle = places.len() / 2;
        let Some(at) = places.get(middle) else {
            return operands.pop().ok_or_else(|| (None, "an operand is missing".to_owned()));
        };
        let right = operands.split_off(middle + 1);
        let left = self.balance(function, operands, &places[..middle])?;
        let right = self.balance(function, right, &places[middle + 1..])?;
        self.call(*at, function, None, vec![left, right])
    }
}

fn deepest(kind: &Kind) -> u16 {
    let of = |exprs: &mut dyn Iterator<Item = &Expr>| exprs.map(|e| e.depth).max().unwrap_or(0);
    match kind {
        Kind::Literal(_) | Kind::Ident(_) => 0,
        Kind::Select { operand, .. } => operand.depth,
        Kind::Call { target, args, .. } => of(&mut target.iter().map(|t| &**t).chain(args)),
        Kind::List(items) => of(&mut items.iter().map(|i| &i.value)),
        Kind::Map(entries) => of(&mut entries.iter().flat_map(|e| [&e.key, &e.value])),
        Kind::Struct { fields, .. } => of(&mut fields.iter().map(|f| &f.value)),
        Kind::Comprehension(c) => of(&mut [&c.range, &c.init, &c.condition, &c.step, &c.result].into_iter()),
    }
}
