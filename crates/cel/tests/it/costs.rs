//! Costs: what is used, what is estimated, and what memory is refused. The facts are those of cel-go's tests.

use gantry_cel::{Bindings, Budget, Environment, Estimate, EvalError, Library, Scope, Type};
use serde_json::json;

#[test]
fn costs_are_upstreams() {
    let environment = Environment::new()
        .variable("l", Type::list(Type::Int))
        .variable("s", Type::String)
        .variable("m", Type::map(Type::String, Type::String));
    let (list, text, map) = (json!([1, 2]), json!("a".repeat(500)), json!({ "key": "v" }));
    let check = |source: &str, expected: u64| {
        let program = environment.compile(source).expect(source);
        let bindings = Bindings::new().json("l", &list).json("s", &text).json("m", &map);
        let mut budget = Budget::rule_set();
        program.evaluate(&bindings, &mut budget).expect(source);
        assert_eq!(budget.last_cost(), expected, "{source}");
        let estimate = program.estimated_cost();
        assert!((estimate.min..=estimate.max).contains(&expected), "{source}: {expected} is not in {estimate:?}");
    };
    check("'Hello World!'", 0);
    check("l", 1);
    check("m['key']", 2);
    check("m.key", 2);
    check("[1, 2, 3]", 10);
    check("{'a': 1, 'b': 2}", 30);
    check("[1, 2, 3].all(x, true)", 20);
    check("s.matches('[0-9]')", 103);
    check("'123'.matches('[0-9]')", 2);
    check("true || false", 0);
    check("1 < 2", 1);
    check("1 == 2", 1);
    check("2 in [1, 2, 3]", 13);
    check("true ? 1 : 2", 0);
    check("size('123')", 1);
    check("bytes(s)", 51);
    check("string(1)", 1);
    check("s.contains(s)", 2502);
    check("'abc' + s", 52);
    check("s == s", 52);
    check("sets.contains(l, l)", 1 + 1 + 4 + 1);
    check("l.reverse()", 1 + 2 + 11);
    check("l.slice(0, 1)", 1 + 1 + 11);
    check("lists.range(5)", 5 + 11);
    check("[[1, 2], [3]].flatten()", 3 * 10 + 2 + 11);
    check("l.sort()", 1 + 2 * 4 + 11);
    check("['a', 'b', 'c'].distinct()", 10 + 18 + 11);
    check("l.sortBy(x, -x)", 1 + 40 + 1 + 8 + 11);
    check("l.map(x, x + 1)", 1 + 10 + 2 * (1 + 10 + 1 + 2) + 1);
}

#[test]
fn estimates_follow_the_bounds_of_the_schema() {
    let schema = json!({
        "type": "object",
        "properties": {
            "items": { "type": "array", "maxItems": 100, "items": { "type": "string", "maxLength": 10 } },
            "unbounded": { "type": "array", "items": { "type": "string" } },
            "count": { "type": "integer" },
            "kind": { "type": "string", "enum": ["a", "abc"] },
        },
    });
    let ty = Type::from_schema(&schema, "self", false).expect("has a type");
    let environment = Environment::new().library(Library::Bindings).variable("self", ty);
    let check = |source: &str, min: u64, max: u64| {
        let estimate = environment.compile(source).expect(source).estimated_cost();
        assert_eq!(estimate, Estimate { min, max }, "{source}");
    };
    check("self.count > 0", 3, 3);
    check("has(self.count)", 1, 1);
    check("self.items.size() < 5", 4, 4);
    // For each of a hundred: condition 2, the accumulator 1, the variable 1 and four characters for each of ten.
    check("self.items.all(i, i.startsWith('a'))", 3, 3 + 100 * (2 + 1 + 1 + 1));
    check("self.items.all(i, i == self.kind)", 3, 3 + 100 * (2 + 1 + 1 + 2 + 1));
    check("self.items.all(i, self.items.all(j, i == j))", 3, 3 + 100 * (3 + 3 + 100 * (2 + 1 + 2 + 4)));
    check("true || self.count > 0", 0, 3);
    check("cel.bind(x, self.items, x.size() > 0)", 15, 15);
    let unbounded = environment.compile("self.unbounded.all(i, i.contains('abc'))").expect("compiles").estimated_cost();
    assert!(unbounded.max > gantry_cel::ESTIMATED_RULE_LIMIT, "{unbounded:?}");
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    let environment =
        Environment::new().library(Library::Bindings).variable("s", Type::String).variable("big", Type::String);
    let (text, big) = (json!("a".repeat(1000)), json!("a".repeat(1_000_000)));
    let refused = |source: &str| {
        let program = environment.compile(source).expect("compiles");
        let bindings = Bindings::new().json("s", &text).json("big", &big);
        let outcome = program.evaluate(&bindings, &mut Budget::rule_set());
        assert_eq!(outcome.map(|_| ()), Err(EvalError::OverBudget(Scope::Call)), "{source}");
    };
    let doubled = |start: &str, times: usize| {
        let open: String = (0..times).map(|n| format!("cel.bind(v{}, v{n} + v{n}, ", n + 1)).collect();
        format!("cel.bind(v0, {start}, {open}v{times}{} == v0)", ")".repeat(times))
    };
    // Costs do not count the elements of joined lists; the bound on memory does.
    refused(&doubled("[1, 2]", 40));
    refused(&doubled("s", 40));
    refused("big.replace('', s)");
    refused("big.split('').map(x, big).join()");
    refused("big.split('').all(x, big.split('').all(y, x == y))");
    refused("'%s%s%s'.format([big.replace('a', s), 1, 2])");
}
