//! What an evaluation may cost at most, by the bounds on sizes in the types. A custom resource's rule that may cost too much is refused when it is written.

use std::collections::HashMap;
use std::sync::Arc;

pub use super::paths::Estimate;
use super::paths::{Entries, Step, UNKNOWN, declared_size, fixed_size, step};
use super::{LIST_BASE, MAP_BASE, STRUCT_BASE};
use crate::ast::{Comprehension, Expr, Kind, Literal};
use crate::program::Program;
use crate::types::Type;

mod calls;

/// Estimates a program.
pub(crate) fn estimate(program: &Program) -> Estimate {
    let mut estimator = Estimator {
        program,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(&program.expr)
}

/// What is known of a local variable.
#[derive(Clone)]
struct Local {
    name: Arc<str>,
    path: Option<Type>,
    size: Option<Estimate>,
    entries: Option<Entries>,
}

struct Estimator<'p> {
    program: &'p Program,
    /// The declared types of nodes that are reached from a variable by fields and indices.
    paths: HashMap<u32, Type>,
    sizes: HashMap<u32, Estimate>,
    entries: HashMap<u32, Entries>,
    locals: Vec<Local>,
}

const ONE: Estimate = Estimate::exactly(1);
const NOTHING: Estimate = Estimate::exactly(0);

impl Estimator<'_> {
    fn local(&self, expr: &Expr) -> Option<&Local> {
        match &expr.kind {
            Kind::Ident(name) => self.locals.iter().rev().find(|l| l.name == *name),
            _ => None,
        }
    }

    fn path(&self, expr: &Expr) -> Option<Type> {
        match self.local(expr) {
            Some(local) => local.path.clone(),
            None => self.paths.get(&expr.id).cloned(),
        }
    }

    fn set_path(&mut self, expr: &Expr, path: Option<Type>) {
        if let Some(path) = path {
            self.paths.insert(expr.id, path);
        }
    }

    fn type_of(&self, expr: &Expr) -> &Type {
        &self.program.types[expr.id as usize]
    }

    fn size(&self, expr: &Expr) -> Option<Estimate> {
        let known = self.sizes.get(&expr.id).copied().or_else(|| written_size(expr));
        known
            .or_else(|| self.path(expr).and_then(|ty| declared_size(&ty)))
            .or_else(|| fixed_size(self.type_of(expr)))
            .or_else(|| self.local(expr).and_then(|l| l.size))
    }

    fn size_or_unknown(&self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Estimate>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn entries(&self, expr: &Expr) -> Option<Entries> {
        self.entries.get(&expr.id).copied().or_else(|| self.local(expr).and_then(|l| l.entries))
    }

    fn cost(&mut self, expr: &Expr) -> Estimate {
        match &expr.kind {
            Kind::Literal(_) => NOTHING,
            Kind::Ident(name) => {
                let path = match self.local(expr) {
                    Some(local) => local.path.clone(),
                    None => self.declared(name),
                };
                self.set_path(expr, path);
                ONE
            }
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(items) => {
                let mut sum = Estimate::exactly(LIST_BASE);
                let mut value: Option<Estimate> = None;
                for item in items {
                    sum = sum.plus(self.cost(&item.value));
                    let size = self.size_or_unknown(&item.value);
                    value = Some(value.map_or(size, |v| v.union(size)));
                }
                self.entries.insert(expr.id, Entries { list: true, key: ONE, value: value.unwrap_or(NOTHING) });
                sum
            }
            Kind::Map(entries) => {
                let mut sum = Estimate::exactly(MAP_BASE);
                let (mut key, mut value): (Option<Estimate>, Option<Estimate>) = (None, None);
                for entry in entries {
                    sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    let (k, v) = (self.size_or_unknown(&entry.key), self.size_or_unknown(&entry.value));
                    key = Some(key.map_or(k, |s| s.union(k)));
                    value = Some(value.map_or(v, |s| s.union(v)));
                }
                let (key, value) = (key.unwrap_or(NOTHING), value.unwrap_or(NOTHING));
                self.entries.insert(expr.id, Entries { list: false, key, value });
                sum
            }
            Kind::Struct { fields, .. } => {
                let costs = fields.iter().map(|f| self.cost(&f.value));
                costs.fold(Estimate::exactly(STRUCT_BASE), Estimate::plus)
            }
            Kind::Comprehension(c) if c.is_bind() => self.bind(expr, c),
            Kind::Comprehension(c) => self.fold(expr, c),
        }
    }

    fn declared(&self, name: &str) -> Option<Type> {
        let name = name.trim_start_matches('.');
        self.program.declared.iter().find(|(n, _)| n == name).map(|(_, ty)| ty.clone())
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> Estimate {
        // A variable whose name has dots is one access.
        if let Some(ty) = expr.qualified_name().and_then(|name| self.declared(&name)) {
            self.set_path(expr, Some(ty));
            return ONE;
        }
        let sum = self.cost(operand);
        if test {
            return sum;
        }
        let selects = matches!(self.type_of(operand).plain(), Type::Map(..) | Type::Object(_) | Type::Param(_));
        let path = self.path(operand).and_then(|ty| {
            let in_map = matches!(ty.plain(), Type::Map(..));
            step(&ty, &if in_map { Step::Value } else { Step::Field(field) })
        });
        self.set_path(expr, path);
        if selects { sum.plus(ONE) } else { sum }
    }

    fn bind(&mut self, expr: &Expr, c: &Comprehension) -> Estimate {
        let sum = self.cost(&c.range).plus(self.cost(&c.init));
        self.push_whole(&c.accumulator, &c.init);
        let sum = sum.plus(self.cost(&c.result));
        self.locals.pop();
        let (size, entries) = (self.size(&c.result), self.entries(&c.result));
        self.set_size(expr, size);
        self.entries.extend(entries.map(|e| (expr.id, e)));
        sum
    }

    fn push_whole(&mut self, name: &Arc<str>, value: &Expr) {
        let (path, size, entries) = (self.path(value), self.size(value), self.entries(value));
        self.locals.push(Local { name: Arc::clone(name), path, size, entries });
    }

    /// A variable that stands for the keys or the values of a range.
    fn push_part(&mut self, name: &Arc<str>, range: &Expr, values: bool) {
        let entries = self.entries(range);
        let size = entries.map(|e| if values { e.value } else { e.key });
        let path = self.path(range).and_then(|ty| step(&ty, &if values { Step::Value } else { Step::Key }));
        self.locals.push(Local { name: Arc::clone(name), path, size, entries: None });
    }

    fn fold(&mut self, expr: &Expr, c: &Comprehension) -> Estimate {
        let mut sum = self.cost(&c.range).plus(self.cost(&c.init));
        let depth = self.locals.len();
        self.push_whole(&c.accumulator, &c.init);
        let list = match self.entries(&c.range) {
            Some(entries) => entries.list,
            None => matches!(self.type_of(&c.range).plain(), Type::List(_)),
        };
        match &c.second {
            Some(second) => {
                self.push_part(&c.variable, &c.range, false);
                self.push_part(second, &c.range, true);
            }
            None => self.push_part(&c.variable, &c.range, list),
        }
        let turn = self.cost(&c.condition).plus(self.cost(&c.step));
        self.locals.truncate(depth + 1);
        sum = sum.plus(self.cost(&c.result));
        self.locals.truncate(depth);
        let count = self.size_or_unknown(&c.range);
        match &c.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&c.init);
                self.set_size(expr, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.set_size(expr, Some(count));
                let entries = self.entries(&c.step);
                self.entries.extend(entries.map(|e| (expr.id, e)));
            }
            _ => {}
        }
        sum.plus(count.product(turn))
    }
}

/// The size of what is written out.
fn written_size(expr: &Expr) -> Option<Estimate> {
    Some(Estimate::exactly(match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count() as u64,
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List(items) => items.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    }))
}
