//! The parsed expression. Macros are expanded; operators are calls with the names that CEL gives them (`_+_`).

use std::sync::Arc;

/// A node. Ids are dense from 0; a node that a macro repeats keeps its id.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub id: u32,
    /// Where it stands: byte offset in the source.
    pub at: u32,
    /// Height of the tree below, 1 for a leaf.
    pub depth: u16,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(Arc<str>),
    Select { operand: Box<Expr>, field: Arc<str>, test: bool },
    Call { function: Arc<str>, target: Option<Box<Expr>>, args: Vec<Expr> },
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct { name: Arc<str>, fields: Vec<FieldInit> },
    Comprehension(Box<Comprehension>),
}

#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// An element of a list; an optional one (`[?x]`) is left out when it is absent.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct FieldInit {
    pub name: Arc<str>,
    pub at: u32,
    pub value: Expr,
    pub optional: bool,
}

/// A fold over a list or the keys of a map.
#[derive(Debug, Clone)]
pub(crate) struct Comprehension {
    pub range: Expr,
    pub variable: Arc<str>,
    /// With a second variable the first is the index or key, this one the value.
    pub second: Option<Arc<str>>,
    pub accumulator: Arc<str>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// Name of the accumulator of macros; no identifier can be written so.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Comprehension {
    /// Whether it only gives `init` a name: nothing is iterated.
    pub(crate) fn is_bind(&self) -> bool {
        matches!(&self.range.kind, Kind::List(items) if items.is_empty())
            && matches!(self.condition.kind, Kind::Literal(Literal::Bool(false)))
            && &*self.accumulator != ACCUMULATOR
    }
}

impl Expr {
    /// `a.b.c` as one name, if it is only that.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }
}
