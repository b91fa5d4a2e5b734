//! The type checker. What passes has a type for each node and a meaning for each name.

mod aggregate;
mod format;
mod literals;
mod mixtures;
mod unify;

use std::sync::Arc;

use crate::ast::{Comprehension, Expr, Kind, Literal};
use crate::environment::Environment;
use crate::parse::Parse;
use crate::registry::{self, Overload};
use crate::types::Type;
use unify::Variables;

/// What a name stands for.
#[derive(Debug, Clone, Default)]
pub(crate) enum Reference {
    /// Nothing was asked, or a local variable.
    #[default]
    None,
    /// A variable of the environment, by its place there.
    Variable(usize),
    /// A type's name.
    Type(Type),
    /// A function that is called without receiver, though the source looks like a member call (`optional.of`): its whole name.
    Function(Arc<str>),
}

/// The result, by the ids of the nodes.
pub(crate) struct Checked {
    pub types: Vec<Type>,
    pub references: Vec<Reference>,
    /// The overloads that may be meant by a call.
    pub overloads: Vec<Vec<&'static Overload>>,
}

/// Checks an expression; or the mistakes with their places.
pub(crate) fn check(environment: &Environment, parse: &Parse) -> Result<Checked, Vec<(Option<u32>, String)>> {
    let ids = parse.ids as usize;
    let mut checker = Checker {
        environment,
        variables: Variables::default(),
        types: vec![Type::Error; ids],
        references: vec![Reference::None; ids],
        overloads: (0..ids).map(|_| Vec::new()).collect(),
        locals: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(&parse.root);
    let types: Vec<Type> = checker.types.iter().map(|t| checker.variables.resolve(t, true)).collect();
    if checker.issues.is_empty() {
        literals::check(&parse.root, &mut checker.issues);
        mixtures::check(&parse.root, &types, &mut checker.issues);
        format::check(&parse.root, &types, &mut checker.issues);
    }
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    Ok(Checked { types, references: checker.references, overloads: checker.overloads })
}

struct Checker<'e> {
    environment: &'e Environment,
    variables: Variables,
    types: Vec<Type>,
    references: Vec<Reference>,
    overloads: Vec<Vec<&'static Overload>>,
    locals: Vec<(Arc<str>, Type)>,
    issues: Vec<(Option<u32>, String)>,
}

impl Checker<'_> {
    fn issue(&mut self, at: u32, message: String) {
        self.issues.push((Some(at), message));
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.issue(at, format!("undeclared reference to '{}' (in container '')", name.trim_start_matches('.')));
        Type::Error
    }

    /// The type of a node that was checked, with what is known of its variables by now.
    fn type_of(&self, expr: &Expr) -> Type {
        self.variables.resolve(&self.types[expr.id as usize], false)
    }

    fn check(&mut self, expr: &Expr) {
        let ty = match &expr.kind {
            Kind::Literal(literal) => type_of_literal(literal),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.message(expr.at, name, fields),
            Kind::Comprehension(comprehension) => self.comprehension(comprehension),
        };
        self.types[expr.id as usize] = ty;
    }

    /// A name that is a local variable, one of the environment, or a type.
    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        let plain = name.strip_prefix('.');
        if plain.is_none()
            && let Some((_, ty)) = self.locals.iter().rev().find(|(local, _)| &**local == name)
        {
            return Some((ty.clone(), Reference::None));
        }
        let name = plain.unwrap_or(name);
        if let Some((place, ty)) = self.environment.lookup(name) {
            return Some((ty.plain().clone(), Reference::Variable(place)));
        }
        let ty = self.environment.type_named(name)?;
        Some((Type::Type(Some(Arc::new(ty.clone()))), Reference::Type(ty)))
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Type {
        match self.lookup(name) {
            Some((ty, reference)) => {
                self.references[expr.id as usize] = reference;
                ty
            }
            None => self.undeclared(expr.at, name),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> Type {
        // The whole may be one name with dots, unless it starts with a local variable.
        if !test
            && let Some(name) = expr.qualified_name()
            && !self.starts_with_local(&name)
            && let Some((ty, reference)) = self.lookup(&name)
        {
            self.references[expr.id as usize] = reference;
            return ty;
        }
        self.check(operand);
        let target = self.type_of(operand);
        let ty = self.field_type(expr.at, &target, field);
        if test { Type::Bool } else { ty }
    }

    fn starts_with_local(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        self.locals.iter().any(|(local, _)| &**local == first)
    }

    fn field_type(&mut self, at: u32, target: &Type, field: &str) -> Type {
        match target.plain() {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.ty.plain().clone(),
                None if object.open => Type::Dyn,
                None => {
                    self.issue(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Optional(of) => match self.field_type(at, &of.clone(), field) {
                already @ Type::Optional(_) => already,
                ty => Type::optional(ty),
            },
            // What is not known is decided when it is evaluated.
            Type::Dyn | Type::Error | Type::Param(_) => Type::Dyn,
            // To cel-go these are objects that nobody has described.
            Type::Opaque(name) if name.starts_with("kubernetes.") => {
                self.issue(at, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
            other => {
                self.issue(at, format!("type '{other}' does not support field selection"));
                Type::Error
            }
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        if function == "_?._" {
            return self.optional_select(expr, args);
        }
        for arg in args {
            self.check(arg);
        }
        let Some(target) = target else {
            return self.resolve(expr, function.trim_start_matches('.'), None, args);
        };
        // `optional.of(x)` looks like a member call, but it is the name of a function.
        if let Some(name) = target.qualified_name().filter(|n| !self.starts_with_local(n)) {
            let whole = format!("{}.{function}", name.trim_start_matches('.'));
            if registry::function(&whole).is_some_and(|f| f.overloads.iter().any(|o| self.environment.knows(o))) {
                self.references[expr.id as usize] = Reference::Function(whole.as_str().into());
                return self.resolve(expr, &whole, None, args);
            }
        }
        self.check(target);
        self.resolve(expr, function, Some(target), args)
    }

    fn resolve(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        let environment = self.environment;
        let known = registry::function(function).map(|f| f.overloads.iter().filter(|o| environment.knows(o)));
        let Some(candidates) = known.map(Iterator::collect::<Vec<_>>).filter(|c| !c.is_empty()) else {
            return self.undeclared(expr.at, function);
        };
        let given: Vec<Type> = target.into_iter().chain(args).map(|a| self.type_of(a)).collect();
        let mut result: Option<Type> = None;
        for overload in candidates.into_iter().filter(|o| o.member == target.is_some()) {
            let (params, ty) = self.instantiate(overload);
            if !self.variables.assignable_all(&given, &params) {
                continue;
            }
            self.overloads[expr.id as usize].push(overload);
            let ty = self.variables.resolve(&ty, false);
            result = Some(match result {
                Some(former) if former == ty => former,
                Some(_) => Type::Dyn,
                None => ty,
            });
        }
        result.unwrap_or_else(|| {
            self.no_match(expr.at, function, &given, target.is_some());
            Type::Error
        })
    }

    fn no_match(&mut self, at: u32, function: &str, given: &[Type], member: bool) {
        let list = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        let signature = match given.split_first() {
            Some((receiver, rest)) if member => format!("{receiver}.({})", list(rest)),
            _ => format!("({})", list(given)),
        };
        self.issue(at, format!("found no matching overload for '{function}' applied to '{signature}'"));
    }

    /// The types of an overload with fresh variables in place of its letters.
    fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        let mut letters: Vec<(u32, Type)> = Vec::new();
        let params = overload.params.iter().map(|t| self.fresh(t, &mut letters)).collect();
        let result = self.fresh(&overload.result, &mut letters);
        (params, result)
    }

    fn fresh(&mut self, ty: &Type, letters: &mut Vec<(u32, Type)>) -> Type {
        match ty {
            Type::Param(letter) => {
                if let Some((_, variable)) = letters.iter().find(|(l, _)| l == letter) {
                    return variable.clone();
                }
                let variable = self.variables.fresh();
                letters.push((*letter, variable.clone()));
                variable
            }
            Type::List(a) => Type::list(self.fresh(a, letters)),
            Type::Optional(a) => Type::optional(self.fresh(a, letters)),
            Type::Map(k, v) => Type::map(self.fresh(k, letters), self.fresh(v, letters)),
            Type::Type(Some(a)) => Type::Type(Some(self.fresh(a, letters).into())),
            other => other.clone(),
        }
    }

    /// `a.?b`: the field if there is one.
    fn optional_select(&mut self, expr: &Expr, args: &[Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        self.check(operand);
        self.check(field);
        let Kind::Literal(Literal::String(name)) = &field.kind else { return Type::Error };
        let target = self.type_of(operand);
        match self.field_type(expr.at, &target, name) {
            already @ Type::Optional(_) if matches!(target, Type::Optional(_)) => already,
            ty => Type::optional(ty),
        }
    }

    fn comprehension(&mut self, c: &Comprehension) -> Type {
        self.check(&c.range);
        self.check(&c.init);
        let (range, accumulator) = (self.type_of(&c.range), self.type_of(&c.init));
        let (first, second) = match range.plain() {
            Type::List(element) => (Type::Int, (**element).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error => (Type::Dyn, Type::Dyn),
            Type::Param(_) => {
                // Whatever it will be, the variables are not bound to it.
                self.variables.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(c.range.at, message);
                (Type::Error, Type::Error)
            }
        };
        let depth = self.locals.len();
        self.locals.push((Arc::clone(&c.accumulator), accumulator.clone()));
        match &c.second {
            Some(name) => {
                self.locals.push((Arc::clone(&c.variable), first));
                self.locals.push((Arc::clone(name), second));
            }
            None => {
                let single = if matches!(range.plain(), Type::List(_)) { second } else { first };
                self.locals.push((Arc::clone(&c.variable), single));
            }
        }
        self.check(&c.condition);
        self.expect(&c.condition, &Type::Bool);
        self.check(&c.step);
        self.expect(&c.step, &accumulator);
        self.locals.truncate(depth + 1);
        self.check(&c.result);
        self.locals.truncate(depth);
        self.type_of(&c.result)
    }

    fn expect(&mut self, expr: &Expr, wanted: &Type) {
        let given = self.type_of(expr);
        if !self.variables.assignable(wanted, &given) {
            let wanted = self.variables.resolve(wanted, false);
            self.issue(expr.at, format!("expected type '{wanted}' but found '{given}'"));
        }
    }
}

fn type_of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
