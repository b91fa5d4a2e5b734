//! From the checked expression to what is evaluated: names are places, operators have nodes of their own, constant regular expressions are compiled,
//! constants are convertible.

use std::sync::Arc;

use regex::Regex;

use crate::ast::{Comprehension, Entry, Expr, FieldInit, Item, Kind, Literal};
use crate::budget::Budget;
use crate::check::{Checked, Reference};
use crate::cost::actual::Rule;
use crate::environment::Environment;
use crate::error::EvalError;
use crate::eval::{Context, Outcome};
use crate::parse::Parse;
use crate::program::Program;
use crate::registry::{self, Code};
use crate::types::{ObjectType, Type};
use crate::value::{Text, Value};

/// A step of the evaluation.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value<'static>),
    /// A variable of the environment, by its place.
    Variable(usize),
    /// A variable of a macro, by its place among those that are in force.
    Local(usize),
    Select {
        operand: Box<Node>,
        field: Arc<str>,
    },
    Has {
        operand: Box<Node>,
        field: Arc<str>,
    },
    OptionalSelect {
        operand: Box<Node>,
        field: Arc<str>,
    },
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    NotStrictlyFalse(Box<Node>),
    Call(Box<Call>),
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct {
        ty: Arc<ObjectType>,
        fields: Vec<(Arc<str>, Node, bool)>,
    },
    Fold(Box<Fold>),
    Bind(Box<[Node; 2]>),
    /// `accumulator + [element]` in a fold: the list is taken and put back, not copied.
    Append {
        list: usize,
        element: Box<Node>,
    },
    /// As [`Self::Append`] for `cel.@mapInsert`: a key and a value, or a map of them.
    Insert {
        map: usize,
        entry: Box<[Node]>,
    },
}

#[derive(Debug)]
pub(crate) struct Call {
    pub codes: &'static [Code],
    pub args: Vec<Node>,
    pub rule: Rule,
    pub regex: Option<Regex>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub range: Node,
    pub two: bool,
    pub init: Node,
    /// `None` when it goes through all elements.
    pub condition: Option<Node>,
    pub step: Node,
    pub result: Node,
}

/// The functions whose result is known where their argument is, as cel-go has them.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

/// What a conversion makes of a constant; `None` for other functions.
pub(crate) fn converted(function: &str, value: &Value<'static>) -> Option<Outcome<'static>> {
    let function = registry::function(function).filter(|_| CONVERSIONS.contains(&function))?;
    let mut budget = Budget::one_call();
    let mut context = Context { budget: &mut budget, host: None, regex: None };
    let mut outcomes = function.codes.iter().map(|code| code(&mut context, std::slice::from_ref(value)));
    Some(outcomes.find(|outcome| *outcome != Err(EvalError::NoSuchOverload)).unwrap_or(Err(EvalError::NoSuchOverload)))
}

/// The program; or why there can be none though all types fit.
pub(crate) fn plan(environment: &Environment, parse: Parse, checked: Checked) -> Result<Program, String> {
    let mut planner = Planner { checked: &checked, locals: Vec::new(), broken: None };
    let root = planner.node(&parse.root);
    match planner.broken {
        Some(why) => Err(why),
        None => Ok(Program::new(root, environment.declared().to_vec(), parse.root, checked)),
    }
}

struct Planner<'c> {
    checked: &'c Checked,
    locals: Vec<Arc<str>>,
    /// What the first constant is that can never be used: a regular expression that is none, or what cannot be converted.
    broken: Option<String>,
}

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Node {
        match &self.checked.references[expr.id as usize] {
            Reference::Variable(place) => return Node::Variable(*place),
            Reference::Type(ty) => return Node::Constant(Value::Type(ty.runtime_name().into())),
            Reference::Function(name) => {
                let Kind::Call { args, .. } = &expr.kind else { return Node::Constant(Value::Null) };
                return self.call(name, args.iter());
            }
            Reference::None => {}
        }
        match &expr.kind {
            Kind::Literal(literal) => Node::Constant(constant(literal)),
            Kind::Ident(name) => Node::Local(self.local(name)),
            Kind::Select { operand, field, test } => {
                let operand = Box::new(self.node(operand));
                let field = Arc::clone(field);
                if *test { Node::Has { operand, field } } else { Node::Select { operand, field } }
            }
            Kind::Call { function, target, args } => self.operator(function, target.as_deref(), args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { fields, .. } => self.message(expr.id, fields),
            Kind::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn local(&self, name: &str) -> usize {
        // The checker has found it; the first place is only where no name could be.
        self.locals.iter().rposition(|local| &**local == name).unwrap_or(0)
    }

    fn boxed<const N: usize>(&mut self, exprs: [&Expr; N]) -> Box<[Node; N]> {
        Box::new(exprs.map(|e| self.node(e)))
    }

    fn operator(&mut self, function: &str, target: Option<&Expr>, args: &[Expr]) -> Node {
        match (function, args) {
            ("_&&_", [a, b]) => Node::And(self.boxed([a, b])),
            ("_||_", [a, b]) => Node::Or(self.boxed([a, b])),
            ("_?_:_", [a, b, c]) => Node::Conditional(self.boxed([a, b, c])),
            ("@not_strictly_false", [a]) => Node::NotStrictlyFalse(Box::new(self.node(a))),
            ("_?._", [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }]) => {
                Node::OptionalSelect { operand: Box::new(self.node(operand)), field: Arc::clone(field) }
            }
            _ => self.call(function.trim_start_matches('.'), target.into_iter().chain(args)),
        }
    }

    fn call<'e>(&mut self, function: &str, args: impl Iterator<Item = &'e Expr>) -> Node {
        let args: Vec<&Expr> = args.collect();
        let pattern = match (function, args.as_slice()) {
            ("matches" | "find" | "findAll", [_, Expr { kind: Kind::Literal(Literal::String(p)), .. }, ..]) => Some(p),
            _ => None,
        };
        let codes = registry::function(function).map_or(&[][..], |f| &f.codes);
        if let Some(why) = self.unconvertible(function, &args) {
            self.broken.get_or_insert(why);
        }
        let args = args.into_iter().map(|a| self.node(a)).collect();
        let regex = match pattern.map(|p| gantry_api::regexp::compile(p)).transpose() {
            Ok(regex) => regex,
            Err(why) => {
                self.broken.get_or_insert(why);
                None
            }
        };
        Node::Call(Box::new(Call { codes, args, rule: Rule::of(function), regex }))
    }

    /// Why a conversion of a constant must fail, if it must.
    fn unconvertible(&self, function: &str, args: &[&Expr]) -> Option<String> {
        let [arg] = args else { return None };
        converted(function, &self.known(arg)?)?.err().map(|error| error.to_string())
    }

    /// The value of an expression that is a constant, or conversions of one.
    fn known(&self, expr: &Expr) -> Option<Value<'static>> {
        match (&self.checked.references[expr.id as usize], &expr.kind) {
            (Reference::None, Kind::Literal(literal)) => Some(constant(literal)),
            (Reference::None, Kind::Call { function, target: None, args }) => {
                let [arg] = args.as_slice() else { return None };
                converted(function.trim_start_matches('.'), &self.known(arg)?)?.ok()
            }
            _ => None,
        }
    }

    fn list(&mut self, items: &[Item]) -> Node {
        Node::List(items.iter().map(|i| (self.node(&i.value), i.optional)).collect())
    }

    fn map(&mut self, entries: &[Entry]) -> Node {
        Node::Map(entries.iter().map(|e| (self.node(&e.key), self.node(&e.value), e.optional)).collect())
    }

    fn message(&mut self, id: u32, fields: &[FieldInit]) -> Node {
        let Type::Object(ty) = &self.checked.types[id as usize] else { return Node::Constant(Value::Null) };
        let fields = fields.iter().map(|f| (Arc::clone(&f.name), self.node(&f.value), f.optional)).collect();
        Node::Struct { ty: Arc::clone(ty), fields }
    }

    fn comprehension(&mut self, c: &Comprehension) -> Node {
        let range = self.node(&c.range);
        let init = self.node(&c.init);
        let depth = self.locals.len();
        self.locals.push(Arc::clone(&c.accumulator));
        if c.is_bind() {
            let result = self.node(&c.result);
            self.locals.truncate(depth);
            return Node::Bind(Box::new([init, result]));
        }
        self.locals.push(Arc::clone(&c.variable));
        self.locals.extend(c.second.clone());
        let condition = match &c.condition.kind {
            Kind::Literal(Literal::Bool(true)) => None,
            _ => Some(self.node(&c.condition)),
        };
        let step = self.step(depth, c);
        self.locals.truncate(depth + 1);
        let result = self.node(&c.result);
        self.locals.truncate(depth);
        Node::Fold(Box::new(Fold { range, two: c.second.is_some(), init, condition, step, result }))
    }

    /// The step of a fold, with what adds to the accumulator told apart.
    fn step(&mut self, accumulator: usize, c: &Comprehension) -> Node {
        match &c.step.kind {
            Kind::Call { function, args, .. }
                if &**function == "_?_:_" && &*c.accumulator == crate::ast::ACCUMULATOR =>
            {
                let [condition, add, same] = args.as_slice() else { return self.node(&c.step) };
                match self.addition(accumulator, add) {
                    Some(add) => Node::Conditional(Box::new([self.node(condition), add, self.node(same)])),
                    None => self.node(&c.step),
                }
            }
            _ => self.addition(accumulator, &c.step).unwrap_or_else(|| self.node(&c.step)),
        }
    }

    fn addition(&mut self, accumulator: usize, expr: &Expr) -> Option<Node> {
        let Kind::Call { function, args, target: None } = &expr.kind else { return None };
        let (first, rest) = args.split_first()?;
        if !matches!(&first.kind, Kind::Ident(name) if &**name == crate::ast::ACCUMULATOR) {
            return None;
        }
        match (&**function, rest) {
            ("_+_", [Expr { kind: Kind::List(items), .. }]) => match items.as_slice() {
                [Item { value, optional: false }] => {
                    Some(Node::Append { list: accumulator, element: Box::new(self.node(value)) })
                }
                _ => None,
            },
            ("cel.@mapInsert", entry) => {
                Some(Node::Insert { map: accumulator, entry: entry.iter().map(|e| self.node(e)).collect() })
            }
            _ => None,
        }
    }
}

pub(crate) fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Uint(n) => Value::Uint(*n),
        Literal::Double(n) => Value::Double(*n),
        Literal::String(text) => Value::String(Text::Owned(Arc::clone(text))),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}
