//! What holds for all input.

use gantry_cel::{Bindings, Budget, Environment, Library, Type, Value, escape};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Pieces that sources are made of, so that made-up ones often parse.
const PIECES: &[&str] = &[
    "1",
    "-1",
    "2u",
    "1.5",
    "'a'",
    "b'a'",
    "null",
    "true",
    "x",
    "l",
    "m",
    "o",
    ".a",
    ".all(i, ",
    ".map(i, i",
    ".exists(i, i == ",
    ".filter(i, ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "in",
    "&&",
    "||",
    "!",
    ".?a",
    "[?0]",
    "has(",
    "size(",
    "string(",
    "optional.of(",
    ".orValue(",
    "timestamp(0)",
    "duration('1s')",
    ".getHours()",
    "quantity('1')",
    ".add(",
    "type(",
    "int(",
    "dyn(",
    ".matches('a+')",
    ".split('')",
    ".join()",
    ".format([",
    "])",
    ".transformMap(k, v, ",
    "cel.bind(b, ",
    "b",
    ".sum()",
    ".isSorted()",
    "ip('::1')",
    ".replace('', ",
];

fn evaluated(source: &str) -> Option<Json> {
    let environment = Environment::new()
        .library(Library::Bindings)
        .variable("x", Type::Int)
        .variable("l", Type::list(Type::Int))
        .variable("m", Type::map(Type::String, Type::Dyn))
        .variable("o", Type::Dyn);
    let program = environment.compile(source).ok()?;
    let _ = program.estimated_cost();
    let (x, l, m, o) = (json!(7), json!([1, 2, 3]), json!({ "a": 1 }), json!({ "a": [1, "b", { "c": null }] }));
    let bindings = Bindings::new().json("x", &x).json("l", &l).json("m", &m).json("o", &o);
    let mut budget = Budget::new(100_000, 10_000);
    let outcome = program.evaluate(&bindings, &mut budget);
    let again = program.evaluate(&bindings, &mut Budget::new(100_000, 10_000));
    assert_eq!(format!("{outcome:?}"), format!("{again:?}"), "{source}");
    outcome.ok()?.to_json().ok()
}

/// An expression over whole numbers and what it comes to, `None` when it overflows or divides by zero.
fn arithmetic() -> impl Strategy<Value = (String, Option<i64>)> {
    let leaf = prop_oneof![any::<i64>(), -3i64..=3].prop_map(|n| (format!("({n})"), Some(n)));
    leaf.prop_recursive(5, 40, 2, |inner| {
        (inner.clone(), inner, 0..5usize).prop_map(|((a, x), (b, y), operator)| {
            type Operation = fn(i64, i64) -> Option<i64>;
            const OPERATIONS: [(&str, Operation); 5] = [
                ("+", i64::checked_add),
                ("-", i64::checked_sub),
                ("*", i64::checked_mul),
                ("/", i64::checked_div),
                ("%", i64::checked_rem),
            ];
            let (sign, operation) = OPERATIONS[operator];
            (format!("({a} {sign} {b})"), x.zip(y).and_then(|(x, y)| operation(x, y)))
        })
    })
}

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e9..1e9f64).prop_map(|n| Json::from(n + 0.5)),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-z_.-]{1,6}", inner, 0..4).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_source_makes_it_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..16)) {
        evaluated(&pieces.concat());
        evaluated(&pieces.join(" "));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}") {
        evaluated(&text);
        evaluated(&format!("'{text}'"));
    }

    #[test]
    fn whole_numbers_are_exact((source, expected) in arithmetic()) {
        prop_assert_eq!(evaluated(&source), expected.map(Json::from), "{}", source);
    }

    #[test]
    fn escaped_names_come_back(name in "[a-zA-Z_./-][a-zA-Z0-9_./-]{0,12}") {
        if let Some(escaped) = escape::escape(&name) {
            prop_assert!(escaped.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            prop_assert_eq!(escape::unescape(&escaped), Some(name));
        }
    }

    #[test]
    fn documents_come_back(document in document()) {
        let program = Environment::new().variable("d", Type::Dyn).compile("[d][0]").expect("compiles");
        let same = Environment::new().variable("d", Type::Dyn).compile("d == d").expect("compiles");
        let bindings = Bindings::new().json("d", &document);
        let value = program.evaluate(&bindings, &mut Budget::rule_set()).expect("evaluates");
        prop_assert_eq!(value.to_json(), Ok(document.clone()));
        prop_assert_eq!(same.evaluate(&bindings, &mut Budget::rule_set()), Ok(Value::Bool(true)));
    }
}
