//! The Common Expression Language as Kubernetes 1.36 uses it: rules of custom resources, admission policies, match conditions, device selectors.
//!
//! An [`Environment`] says which variables and libraries there are; it compiles a source into a [`Program`], or says in cel-go's words what does not
//! parse or type-check. A program is evaluated with [`Bindings`], within a [`Budget`]. Sources are not trusted: everything is bounded, in the source
//! (size, depth), in time (costs as upstream counts them) and in memory. Documents stay JSON: a value points into them, and only the fields that an
//! expression touches are read.
//!
//! ```
//! use gantry_cel::{Bindings, Budget, Environment, Type, ObjectType};
//! let spec = ObjectType::new("spec", [("replicas", Type::Int), ("maxReplicas", Type::Int)]);
//! let rule = Environment::new().variable("self", Type::Object(spec)).compile("self.replicas <= self.maxReplicas")?;
//! let object = serde_json::json!({ "replicas": 3, "maxReplicas": 5 });
//! let holds = rule.evaluate(&Bindings::new().json("self", &object), &mut Budget::rule_set())?;
//! assert_eq!(holds.as_bool(), Some(true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod budget;
mod check;
mod cost;
mod environment;
mod error;
pub mod escape;
mod eval;
mod host;
mod library;
mod limits;
mod parse;
mod plan;
mod program;
mod registry;
mod schema;
mod types;
mod value;

pub use budget::Budget;
pub use cost::estimate::Estimate;
pub use environment::{Environment, Library, VARIABLES};
pub use error::{CompileError, EvalError, Issue, Scope};
pub use host::{AUTHORIZER, Check, Decision, Host, RESOURCE_CHECK, ResourceCheck, Subject};
pub use limits::{ESTIMATED_DEFINITION_LIMIT, ESTIMATED_RULE_LIMIT, PER_CALL_LIMIT, RULE_SET_LIMIT};
pub use program::{Bindings, Program};
pub use types::{Annotated, Field, ListKind, ObjectType, Type};
pub use value::{Key, List, Map, Moment, Object, Struct, Text, Value};
