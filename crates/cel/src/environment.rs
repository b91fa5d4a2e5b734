//! What an expression may use: variables, types, libraries.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check;
use crate::error::CompileError;
use crate::parse::{self, Macros};
use crate::plan;
use crate::program::Program;
use crate::registry::Overload;
use crate::types::{Field, ObjectType, Type};

/// Libraries that not every expression may use. All others of Kubernetes 1.36 are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// `authorizer` and what follows it; needs a [`crate::Host`].
    Authorizer,
    /// `cel.bind(name, value, expression)`, as device selectors have it.
    Bindings,
    /// The types of mutations: `Object{..}`, `JSONPatch{..}`, and `jsonpatch.escapeKey`.
    Mutation,
}

/// The name of the variable that holds composed variables.
pub const VARIABLES: &str = "variables";

/// Variables and libraries. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    /// Types of composed variables, in their order.
    composed: BTreeMap<String, Field>,
    libraries: Vec<Library>,
}

impl Environment {
    /// No variables, the common libraries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a variable; one of the same name is replaced. Names may have dots (`authorizer.requestResource`).
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, ty: Type) -> Self {
        let name = name.into();
        self.variables.retain(|(n, _)| *n != name);
        self.variables.push((name, ty));
        self
    }

    /// Adds a library.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        if !self.libraries.contains(&library) {
            self.libraries.push(library);
        }
        self
    }

    /// Makes `variables` known, which has no fields until some are composed.
    #[must_use]
    pub fn composing(self) -> Self {
        let object = ObjectType::new("kubernetes.variables", []);
        self.variable(VARIABLES, Type::Object(object))
    }

    /// Makes `variables.<name>` known, with the type that its expression has. Its program is bound with [`crate::Bindings::compose`].
    #[must_use]
    pub fn compose(mut self, name: &str, ty: Type) -> Self {
        self.composed.insert(name.to_owned(), Field { ty, json: name.to_owned() });
        let fields = self.composed.clone();
        let object = ObjectType { name: "kubernetes.variables".into(), fields, open: false };
        self.variable(VARIABLES, Type::Object(Arc::new(object)))
    }

    /// Parses, checks and plans an expression.
    ///
    /// # Errors
    /// All mistakes that the checker finds, or the first one of the syntax, or why no program can be made of what checks.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let macros = Macros { bind: self.libraries.contains(&Library::Bindings) };
        let parse = parse::parse(source, macros).map_err(|fault| CompileError::new(source, vec![fault]))?;
        let checked = check::check(self, &parse).map_err(|issues| CompileError::new(source, issues))?;
        plan::plan(self, parse, checked).map_err(CompileError::unplanned)
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<(usize, &Type)> {
        let place = self.variables.iter().position(|(n, _)| n == name)?;
        Some((place, &self.variables[place].1))
    }

    pub(crate) fn declared(&self) -> &[(String, Type)] {
        &self.variables
    }

    pub(crate) fn knows(&self, overload: &Overload) -> bool {
        overload.library.is_none_or(|l| self.libraries.contains(&l))
    }

    /// A type that the source may name.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        Some(match name {
            "dyn" => Type::Dyn,
            "null_type" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "google.protobuf.Timestamp" => Type::Timestamp,
            "google.protobuf.Duration" => Type::Duration,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "optional_type" => Type::optional(Type::Dyn),
            "type" => Type::Type(None),
            _ => match crate::library::OPAQUE_TYPES.iter().find(|known| **known == name) {
                Some(known) => Type::Opaque(known),
                None => return self.mutation_type(name),
            },
        })
    }

    /// `Object`, `Object.spec` and so on have whatever fields are set; `JSONPatch` has its own.
    fn mutation_type(&self, name: &str) -> Option<Type> {
        if !self.libraries.contains(&Library::Mutation) {
            return None;
        }
        if name == "JSONPatch" {
            let text = || Type::String;
            let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Type::Dyn)];
            return Some(Type::Object(ObjectType::new(name, fields)));
        }
        let rest = name.strip_prefix("Object")?;
        (rest.is_empty() || rest.starts_with('.'))
            .then(|| Type::Object(Arc::new(ObjectType { name: name.into(), fields: BTreeMap::new(), open: true })))
    }
}
