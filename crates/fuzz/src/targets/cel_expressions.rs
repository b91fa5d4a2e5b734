//! Text into the compiler of CEL, and what compiles into the evaluation: no panic, no use beyond the budget, the same outcome twice.

use gantry_cel::{Bindings, Budget, Environment, Library, Type};
use serde_json::json;

const PER_CALL: u64 = 20_000;

pub(crate) fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let environment = Environment::new()
        .library(Library::Bindings)
        .library(Library::Mutation)
        .variable("x", Type::Int)
        .variable("l", Type::list(Type::String))
        .variable("o", Type::Dyn);
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(error) => {
            // What only a plan shows, such as a pattern that is none, has no place in the text.
            let placed = !error.issues().is_empty() && error.to_string().starts_with("ERROR: <input>:");
            assert_eq!(placed, error.stage() == "compilation", "{error}");
            return;
        }
    };
    let estimate = program.estimated_cost();
    assert!(estimate.min <= estimate.max, "{source:?}: {estimate:?}");
    let (x, l, o) = (json!(7), json!(["a", "b"]), json!({ "a": [1, "b", { "c": null }], "b": 1.5 }));
    let bindings = Bindings::new().json("x", &x).json("l", &l).json("o", &o);
    let evaluate = || {
        let mut budget = Budget::new(10 * PER_CALL, PER_CALL);
        let outcome = program.evaluate(&bindings, &mut budget);
        if outcome.is_ok() {
            assert!(budget.last_cost() <= PER_CALL, "{source:?} used {}", budget.last_cost());
        }
        outcome
    };
    let (first, second) = (evaluate(), evaluate());
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "{source:?}");
    if let Ok(value) = first {
        let _ = value.to_json();
    }
}
