//! A compiled expression and the values of its variables.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::ast::{Expr, Kind};
use crate::budget::Budget;
use crate::check::Checked;
use crate::cost::estimate::{self, Estimate};
use crate::error::{EvalError, Scope};
use crate::eval::Evaluator;
use crate::host::{Check, Host};
use crate::plan::Node;
use crate::types::Type;
use crate::value::Value;

/// A compiled expression. May be shared and evaluated many times.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Node,
    /// The variables of the environment, by the places that nodes name.
    pub(crate) declared: Vec<(String, Type)>,
    pub(crate) expr: Expr,
    pub(crate) types: Vec<Type>,
    pub(crate) overloads: Vec<Vec<&'static crate::registry::Overload>>,
    used: Vec<String>,
    result: Type,
}

impl Program {
    pub(crate) fn new(root: Node, declared: Vec<(String, Type)>, expr: Expr, checked: Checked) -> Self {
        let mut used = Vec::new();
        names(&expr, &mut Vec::new(), &mut used);
        let result = checked.types.get(expr.id as usize).cloned().unwrap_or(Type::Dyn);
        Self { root, declared, expr, types: checked.types, overloads: checked.overloads, used, result }
    }

    /// The type of the result, as far as it is known.
    #[must_use]
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// Whether the expression names the variable. For a composed one ask for `variables.<name>`.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.used.iter().any(|used| used == variable)
    }

    /// Evaluates. Values of the result may point into the program and the documents that are bound, so all of them outlive the bindings.
    ///
    /// # Errors
    /// The error that the expression ends in, or [`EvalError::OverBudget`].
    pub fn evaluate<'a>(&'a self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        budget.begin();
        Evaluator::new(self, bindings, budget).run()
    }

    /// The cost that one evaluation has at least and at most, by the bounds on sizes that the types of the variables have.
    #[must_use]
    pub fn estimated_cost(&self) -> Estimate {
        estimate::estimate(self)
    }
}

/// Names that are read from outside, with and without the fields behind them.
fn names<'e>(expr: &'e Expr, locals: &mut Vec<&'e str>, used: &mut Vec<String>) {
    if let Some(name) = expr.qualified_name() {
        let name = name.trim_start_matches('.');
        let first = name.split('.').next().unwrap_or_default();
        if !locals.contains(&first) {
            let parts: Vec<&str> = name.split('.').collect();
            used.extend((1..=parts.len()).map(|n| parts[..n].join(".")));
        }
        return;
    }
    let mut visit = |e: &'e Expr| names(e, locals, used);
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => visit(operand),
        Kind::Call { target, args, .. } => target.iter().map(|t| &**t).chain(args).for_each(visit),
        Kind::List(items) => items.iter().for_each(|i| visit(&i.value)),
        Kind::Map(entries) => entries.iter().for_each(|e| {
            visit(&e.key);
            visit(&e.value);
        }),
        Kind::Struct { fields, .. } => fields.iter().for_each(|f| visit(&f.value)),
        Kind::Comprehension(c) => {
            visit(&c.range);
            visit(&c.init);
            let depth = locals.len();
            locals.extend([&*c.accumulator, &*c.variable]);
            locals.extend(c.second.as_deref());
            for part in [&c.condition, &c.step, &c.result] {
                names(part, locals, used);
            }
            locals.truncate(depth);
        }
    }
}

/// The values of variables. What is not bound is an error only where it is read.
#[derive(Default)]
pub struct Bindings<'a> {
    bound: Vec<(&'a str, Bound<'a>)>,
    composed: BTreeMap<&'a str, &'a Program>,
    /// Results of the composed variables that were asked for.
    worked_out: RefCell<BTreeMap<&'a str, Result<Value<'a>, EvalError>>>,
    host: Option<&'a dyn Host>,
}

enum Bound<'a> {
    /// A document, read by the type that the program declares.
    Json(&'a Json),
    Value(Value<'a>),
}

impl<'a> Bindings<'a> {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a document. Nothing of it is copied.
    #[must_use]
    pub fn json(mut self, name: &'a str, document: &'a Json) -> Self {
        self.bound.push((name, Bound::Json(document)));
        self
    }

    /// Binds a document that may be missing: an `optional` variable (`oldSelf` with `optionalOldSelf`).
    #[must_use]
    pub fn optional_json(self, name: &'a str, document: Option<&'a Json>) -> Self {
        match document {
            Some(document) => self.json(name, document),
            None => self.value(name, Value::Optional(None)),
        }
    }

    /// Binds a value.
    #[must_use]
    pub fn value(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.bound.push((name, Bound::Value(value)));
        self
    }

    /// Binds `variables.<name>` to an expression that is evaluated when it is asked for, once, with these bindings.
    #[must_use]
    pub fn compose(mut self, name: &'a str, program: &'a Program) -> Self {
        self.composed.insert(name, program);
        self
    }

    /// Lets expressions ask the authoriser: `authorizer`, and `authorizer.requestResource` if a request is about a resource.
    #[must_use]
    pub fn host(mut self, host: &'a dyn Host, request: Option<Check>) -> Self {
        self.host = Some(host);
        let whoever = Value::Authorizer(Arc::new(Check::default()));
        let this = self.value("authorizer", whoever);
        match request {
            Some(check) => this.value("authorizer.requestResource", Value::Authorizer(Arc::new(check))),
            None => this,
        }
    }

    pub(crate) fn authoriser(&self) -> Option<&'a dyn Host> {
        self.host
    }

    pub(crate) fn read(&self, name: &str, ty: &'a Type) -> Result<Value<'a>, EvalError> {
        match self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            Some((_, Bound::Json(document))) => Value::from_json(document, ty),
            Some((_, Bound::Value(value))) => Ok(value.clone()),
            None if !self.composed.is_empty() && name == crate::environment::VARIABLES => Ok(Value::Variables),
            None => Err(EvalError::new(format!("no such attribute(s): {name}"))),
        }
    }

    /// The result of a composed variable.
    pub(crate) fn composed(&self, name: &str, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        if let Some(known) = self.worked_out.borrow().get(name) {
            return known.clone();
        }
        let Some((name, program)) = self.composed.get_key_value(name) else {
            return Err(EvalError::new(format!("no such key: {name}")));
        };
        let former = budget.begin();
        // While it is being worked out it is not there: no variable can wait for itself.
        let ring = Err(EvalError::new(format!("the variable {name} needs itself")));
        self.worked_out.borrow_mut().insert(name, ring);
        let result = Evaluator::new(program, self, budget).run().map_err(|error| match error {
            over @ EvalError::OverBudget(Scope::Set) => over,
            error => EvalError::new(format!("composited variable {name:?} fails to evaluate: {error}")),
        });
        self.worked_out.borrow_mut().insert(name, result.clone());
        budget.resume(former);
        result
    }
}
