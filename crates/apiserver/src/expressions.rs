//! The expressions of admission (CEL): match conditions, rules and changes of policies. What they may use, what they must
//! give, and how their failures are told, all as upstream has it.

pub(crate) mod devices;
pub(crate) mod input;
pub(crate) mod types;
pub(crate) mod written;

use gantry_api::field::{Error, Path};
use gantry_cel::{Bindings, Budget, CompileError, Environment, EvalError, Library, Program, Scope, Type, Value};

/// The cost of all match conditions of one webhook or policy.
pub(crate) const CONDITIONS_COST: u64 = 2_500_000;

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Bool,
    Text,
    TextOrNull,
    Anything,
    /// A list of `JSONPatch{..}`.
    Patch,
    /// `Object{..}`.
    Configuration,
}

impl Wants {
    /// What is wrong with a type, if it is another.
    fn refusal(self, ty: &Type) -> Option<String> {
        let is_object = |ty: &Type, name: &str| matches!(ty.plain(), Type::Object(object) if object.name == name);
        let (fits, wanted) = match self {
            Self::Bool => (matches!(ty.plain(), Type::Bool), "bool"),
            Self::Text => (matches!(ty.plain(), Type::String), "string"),
            Self::TextOrNull => (matches!(ty.plain(), Type::String | Type::Null), "one of [string null_type]"),
            Self::Anything => (true, ""),
            Self::Patch => {
                let fits = matches!(ty.plain(), Type::List(of) if is_object(of, "JSONPatch"));
                (fits, "list(JSONPatch)")
            }
            Self::Configuration => (is_object(ty, "Object"), "Object"),
        };
        (!fits).then(|| format!("must evaluate to {wanted} but got {}", ty.declared_name()))
    }
}

/// What expressions of one place may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uses {
    /// `params`.
    pub(crate) params: bool,
    /// `authorizer`.
    pub(crate) authorizer: bool,
    /// `Object{..}` and `JSONPatch{..}`.
    pub(crate) changes: bool,
}

/// The variables and libraries; `object` is the type of `object` and `oldObject`, `params` that of `params`.
pub(crate) fn environment(uses: Uses, object: &Type, params: &Type) -> Environment {
    let mut environment = Environment::new()
        .variable("object", object.clone())
        .variable("oldObject", object.clone())
        .variable("request", types::request())
        .variable("namespaceObject", types::namespace());
    if uses.params {
        environment = environment.variable("params", params.clone());
    }
    if uses.authorizer {
        environment = environment
            .library(Library::Authorizer)
            .variable("authorizer", Type::Opaque(gantry_cel::AUTHORIZER))
            .variable("authorizer.requestResource", Type::Opaque(gantry_cel::RESOURCE_CHECK));
    }
    if uses.changes { environment.library(Library::Mutation) } else { environment }
}

/// One expression, or why it is none.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) source: String,
    program: Result<Program, String>,
}

/// Why an expression gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It went wrong.
    Failed(String),
    /// All expressions together have used up what they may.
    OutOfBudget,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::OutOfBudget => f.write_str(
                "validation failed due to running out of cost budget, no further validation rules will be run",
            ),
        }
    }
}

/// Why a source is no program, as upstream says it.
pub(crate) fn failure(error: &CompileError) -> String {
    let of = if error.stage() == "instantiation" { "program " } else { "" };
    format!("{of}{} failed: {error}", error.stage())
}

/// The error of a field whose source is no program. What compiles and makes no program is upstream's own fault to it.
fn refused(at: &Path, source: &str, why: &str) -> Error {
    if why.starts_with("program instantiation failed") {
        return Error::internal(at, why);
    }
    Error::invalid(at, source, why)
}

impl Expression {
    /// Compiles a source.
    pub(crate) fn new(environment: &Environment, source: &str, wants: Wants) -> Self {
        let compiled = environment.compile(source).map_err(|error| failure(&error));
        let program = compiled.and_then(|program| match wants.refusal(program.result_type()) {
            Some(refusal) => Err(refusal),
            None => Ok(program),
        });
        Self { source: source.to_owned(), program }
    }

    /// What is wrong with the source.
    pub(crate) fn error(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// The type of the variable that is made by it. Objects and what only functions look into are of any type then, as
    /// upstream describes variables by simple types alone.
    pub(crate) fn variable_type(&self) -> Type {
        self.program.as_ref().map_or(Type::Dyn, |program| simple(program.result_type()))
    }

    /// The program, where the source is right.
    pub(crate) fn program(&self) -> Option<&Program> {
        self.program.as_ref().ok()
    }

    /// Evaluates.
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) fn evaluate<'a>(&'a self, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
        let program = self.program.as_ref().map_err(|why| Failure::Failed(format!("compilation error: {why}")))?;
        program.evaluate(bindings, budget).map_err(|error| match error {
            EvalError::OverBudget(Scope::Set) => Failure::OutOfBudget,
            error => Failure::Failed(format!("expression '{}' resulted in error: {error}", self.source)),
        })
    }
}

/// A type without what is known of objects.
pub(crate) fn simple(ty: &Type) -> Type {
    match ty.plain() {
        Type::List(of) => Type::list(simple(of)),
        Type::Map(key, value) => Type::map(simple(key), simple(value)),
        Type::Object(_) | Type::Optional(_) | Type::Type(_) | Type::Opaque(_) | Type::Param(_) | Type::Error => {
            Type::Dyn
        }
        plain => plain.clone(),
    }
}

/// The conditions under which a webhook or policy is meant at all.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Vec<Expression>);

impl Conditions {
    /// Reads `matchConditions`.
    pub(crate) fn new(environment: &Environment, conditions: &[gantry_api::Value]) -> Self {
        let source = |c: &gantry_api::Value| gantry_api::value::str_at(c, "expression").unwrap_or_default().to_owned();
        Self(conditions.iter().map(|c| Expression::new(environment, source(c).trim(), Wants::Bool)).collect())
    }

    /// What is wrong with each.
    pub(crate) fn errors(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Expression::error)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not decides, whatever became of the others, unless all together cost too much.
    ///
    /// # Errors
    /// What went wrong with those that gave no answer.
    pub(crate) fn hold<'a>(&'a self, bindings: &Bindings<'a>) -> Result<bool, String> {
        let mut budget = Budget::new(CONDITIONS_COST, gantry_cel::PER_CALL_LIMIT);
        let mut failures: Vec<String> = Vec::new();
        let mut holds = true;
        for condition in &self.0 {
            match condition.evaluate(bindings, &mut budget) {
                Ok(value) => holds &= value.as_bool() == Some(true),
                Err(Failure::OutOfBudget) => return Err(Failure::OutOfBudget.to_string()),
                // What goes wrong twice in the same way is told once.
                Err(Failure::Failed(why)) if failures.contains(&why) => {}
                Err(Failure::Failed(why)) => failures.push(why),
            }
        }
        match failures.as_slice() {
            _ if !holds => Ok(false),
            [] => Ok(true),
            [only] => Err(only.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(source: &str, wants: Wants) -> Expression {
        let uses = Uses { params: false, authorizer: true, changes: true };
        Expression::new(&environment(uses, &Type::Dyn, &Type::Dyn), source, wants)
    }

    #[test]
    fn expressions_give_what_is_wanted() {
        let check = |source: &str, wants: Wants, expected: Option<&str>| {
            let expected = expected.map(|why| format!("must evaluate to {why}"));
            assert_eq!(compile(source, wants).error(), expected.as_deref(), "{source}");
        };
        check("object.spec.replicas > 1", Wants::Bool, None);
        check("object.spec.ready", Wants::Bool, Some("bool but got dyn"));
        check("'a' + request.name", Wants::Text, None);
        check("1", Wants::Text, Some("string but got int"));
        check("null", Wants::TextOrNull, None);
        check("1", Wants::TextOrNull, Some("one of [string null_type] but got int"));
        check("[]", Wants::Patch, Some("list(JSONPatch) but got list(dyn)"));
        check("object.a ? [JSONPatch{op: 'add', path: '/a', value: 1}] : []", Wants::Patch, None);
        check("[JSONPatch{op: 'add', path: '/a', value: 1}]", Wants::Patch, None);
        check("[1]", Wants::Patch, Some("list(JSONPatch) but got list(int)"));
        check("Object{spec: Object.spec{replicas: 3}}", Wants::Configuration, None);
        check("{}", Wants::Configuration, Some("Object but got map(dyn, dyn)"));
        check("timestamp('2026-01-01T00:00:00Z')", Wants::Bool, Some("bool but got google.protobuf.Timestamp"));
        check("authorizer.requestResource.check('get').allowed()", Wants::Bool, None);
        let unknown = compile("params.a == 1", Wants::Bool);
        let why = unknown.error().expect("unknown");
        assert!(why.starts_with("compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'"), "{why}");
    }
}
