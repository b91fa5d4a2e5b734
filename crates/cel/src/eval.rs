//! The evaluation: a walk over the plan. Its depth is that of the source, which the parser bounds; its cost is counted.

mod aggregate;
mod fold;

use crate::budget::Budget;
use crate::cost::actual;
use crate::error::EvalError;
use crate::host::Host;
use crate::plan::{Call, Node};
use crate::program::{Bindings, Program};
use crate::value::{Key, Value};

/// The outcome of a step.
pub(crate) type Outcome<'a> = Result<Value<'a>, EvalError>;

/// What the code of a function may use beside its arguments.
pub(crate) struct Context<'e, 'a> {
    pub budget: &'e mut Budget,
    pub host: Option<&'a dyn Host>,
    /// The regular expression of this call, compiled ahead.
    pub regex: Option<&'a regex::Regex>,
}

pub(crate) struct Evaluator<'e, 'a> {
    program: &'a Program,
    bindings: &'e Bindings<'a>,
    context: Context<'e, 'a>,
    /// The variables of macros that are in force; one may be an error until somebody reads it.
    locals: Vec<Outcome<'a>>,
}

impl<'e, 'a> Evaluator<'e, 'a> {
    pub(crate) fn new(program: &'a Program, bindings: &'e Bindings<'a>, budget: &'e mut Budget) -> Self {
        let context = Context { budget, host: bindings.authoriser(), regex: None };
        Self { program, bindings, context, locals: Vec::new() }
    }

    pub(crate) fn run(mut self) -> Outcome<'a> {
        let program = self.program;
        self.eval(&program.root)
    }

    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Variable(place) => self.variable(*place),
            Node::Local(place) => {
                self.context.budget.spend(1)?;
                self.locals.get(*place).cloned().unwrap_or(Ok(Value::Null))
            }
            Node::Select { operand, field } => self.select(operand, field),
            Node::Has { operand, field } => self.has(operand, field),
            Node::OptionalSelect { operand, field } => self.optional_select(operand, field),
            Node::And(both) => self.logic(both, false),
            Node::Or(both) => self.logic(both, true),
            Node::Conditional(parts) => match self.eval(&parts[0])? {
                Value::Bool(true) => self.eval(&parts[1]),
                Value::Bool(false) => self.eval(&parts[2]),
                _ => Err(EvalError::NoSuchOverload),
            },
            Node::NotStrictlyFalse(inner) => self.not_strictly_false(inner),
            Node::Call(call) => self.call(call),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Struct { ty, fields } => self.message(ty, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Bind(both) => {
                let bound = absorb(self.eval(&both[0]))?;
                self.locals.push(bound);
                let result = self.eval(&both[1]);
                self.locals.pop();
                result
            }
            Node::Append { list, element } => self.append(*list, element),
            Node::Insert { map, entry } => self.insert(*map, entry),
        }
    }

    #[inline(never)]
    fn variable(&mut self, place: usize) -> Outcome<'a> {
        self.context.budget.spend(1)?;
        let (name, ty) = &self.program.declared[place];
        self.bindings.read(name, ty)
    }

    #[inline(never)]
    fn select(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        self.context.budget.spend(1)?;
        match self.field(&operand, field)? {
            Some(value) => Ok(value),
            None => Err(EvalError::new(format!("no such key: {field}"))),
        }
    }

    /// The field, or `None` when it is not set; `null` and other values without fields have none set. That of an absent optional is
    /// absent too.
    fn field(&mut self, operand: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
        match operand {
            Value::Object(object) => object.get(field).transpose(),
            Value::Map(map) => map.get_text(field).transpose(),
            Value::Variables => self.bindings.composed(field, self.context.budget).map(Some),
            Value::Optional(None) => Ok(Some(Value::Optional(None))),
            Value::Optional(Some(held)) => {
                let inner = self.field(held, field)?;
                Ok(Some(Value::Optional(inner.map(Into::into))))
            }
            Value::List(_) => Err(EvalError::new("unsupported index type 'string' in list")),
            _ => Ok(None),
        }
    }

    #[inline(never)]
    fn has(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        Ok(Value::Bool(match self.field(&operand, field)? {
            Some(Value::Optional(held)) if matches!(operand, Value::Optional(_)) => held.is_some(),
            found => found.is_some(),
        }))
    }

    #[inline(never)]
    fn optional_select(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        self.context.budget.spend(1)?;
        let found = self.field(&operand, field)?;
        Ok(match (operand, found) {
            (Value::Optional(_), Some(already)) => already,
            (_, found) => Value::Optional(found.map(Into::into)),
        })
    }

    /// `&&` (decided by `false`) and `||` (decided by `true`): the deciding side makes errors of the other one vanish.
    #[inline(never)]
    fn logic(&mut self, both: &'a [Node; 2], decisive: bool) -> Outcome<'a> {
        let left = absorb(self.eval(&both[0]))?;
        if matches!(left, Ok(Value::Bool(b)) if b == decisive) {
            return left;
        }
        let right = absorb(self.eval(&both[1]))?;
        match (left, right) {
            (_, Ok(Value::Bool(b))) if b == decisive => Ok(Value::Bool(decisive)),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decisive)),
            (Err(error), _) | (Ok(Value::Bool(_)), Err(error)) => Err(error),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    #[inline(never)]
    fn not_strictly_false(&mut self, inner: &'a Node) -> Outcome<'a> {
        let value = absorb(self.eval(inner))?;
        self.context.budget.spend(1)?;
        Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
    }

    #[inline(never)]
    fn call(&mut self, call: &'a Call) -> Outcome<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        self.apply(call, &args)
    }

    #[inline(never)]
    fn apply(&mut self, call: &'a Call, args: &[Value<'a>]) -> Outcome<'a> {
        // What is known from the arguments is paid before the work is done.
        let ahead = actual::ahead(call.rule, args, self.context.budget)?;
        self.context.budget.spend(ahead)?;
        self.context.regex = call.regex.as_ref();
        let mut result = Err(EvalError::NoSuchOverload);
        for code in call.codes {
            result = code(&mut self.context, args);
            if result != Err(EvalError::NoSuchOverload) {
                break;
            }
        }
        let value = result?;
        self.context.budget.spend(actual::behind(call.rule, &value))?;
        Ok(value)
    }

    fn key(value: &Value<'a>) -> Result<Key, EvalError> {
        Key::of(value).ok_or_else(|| EvalError::new(format!("unsupported key type: {}", value.type_name())))
    }
}

/// Lets pass what ends the evaluation; an error within the language becomes a value to look at.
fn absorb(outcome: Outcome<'_>) -> Result<Outcome<'_>, EvalError> {
    match outcome {
        Err(over @ EvalError::OverBudget(_)) => Err(over),
        other => Ok(other),
    }
}
