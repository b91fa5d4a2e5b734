//! Short ways to evaluate.

use gantry_cel::{Bindings, Budget, Environment, EvalError};
use serde_json::Value as Json;

/// The result as JSON, or the error as text.
pub(crate) fn outcome(source: &str) -> Result<Json, String> {
    outcome_in(&Environment::new().library(gantry_cel::Library::Bindings), &Bindings::new(), source)
}

pub(crate) fn outcome_in<'a>(environment: &Environment, bindings: &Bindings<'a>, source: &str) -> Result<Json, String> {
    // Programs must outlive the bindings here; a test may leak.
    let program = Box::leak(Box::new(environment.compile(source).map_err(|e| e.to_string())?));
    let value = program.evaluate(bindings, &mut Budget::rule_set()).map_err(|e: EvalError| e.to_string())?;
    value.to_json().map_err(|e| e.to_string())
}

/// Each is true.
pub(crate) fn all_true(sources: &[&str]) {
    for source in sources {
        assert_eq!(outcome(source), Ok(Json::Bool(true)), "{source}");
    }
}

/// Each ends in that error when it is evaluated.
pub(crate) fn all_fail(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(outcome(source), Err((*expected).to_owned()), "{source}");
    }
}
