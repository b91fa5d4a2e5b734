//! Costs: what is used, what is estimated, and what memory is refused. The facts are those of cel-go's tests.

use gantry_cel::{Bindings, Budget, Check, Decision, Environment, Estimate, EvalError, Host, Library, Scope, Type};
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

/// By the tests of Kubernetes' own cost estimator: at least, at most, and what is used.
#[test]
fn libraries_cost_what_upstream_counts() {
    let environment = Environment::new()
        .library(Library::Authorizer)
        .library(Library::Mutation)
        .variable("authorizer", Type::Opaque(gantry_cel::AUTHORIZER));
    let check = |source: &str, min: u64, max: u64, used: u64| {
        let program = environment.compile(source).expect(source);
        assert_eq!(program.estimated_cost(), Estimate { min, max }, "{source}");
        let mut budget = Budget::rule_set();
        program.evaluate(&Bindings::new().host(&Nobody, None), &mut budget).expect(source);
        assert_eq!(budget.last_cost(), used, "{source}");
    };
    check("[1, 2, 3, 4, 5].sum()", 15, 15, 15);
    check("'01234567890123456789012345678901234567890123456789'.indexOf('123')", 5, 5, 5);
    check("url('https:://kubernetes.io/').getQuery()", 4, 4, 4);
    check("url('https:://kubernetes.io/') == url('https:://kubernetes.io/')", 7, 9, 7);
    check("url('https:://kubernetes.io/') == url('http://x.b')", 5, 5, 5);
    check("ip('192.168.0.1').family()", 3, 3, 3);
    check("ip('2001:db8:3333:4444:5555:6666:7777:8888') == ip('192.168.0.1')", 7, 7, 7);
    check("ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')", 8, 8, 8);
    check("cidr('2001:db8::/32').ip()", 3, 3, 3);
    check("cidr('2001:db8::/32') == cidr('2001:db8::/32')", 5, 5, 5);
    check("cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))", 7, 11, 7);
    check("cidr('2001:db8::/32').containsCIDR('2001:db8::/126')", 7, 11, 7);
    check("cidr('2001:db8::/32').containsIP('2001:db8:3333:4444:5555:6666:7777:8888')", 7, 10, 7);
    check("jsonpatch.escapeKey('abc/def~ abc/def~')", 2, 2, 2);
    check("'abc 123 def 123'.split(' ', 1).size() > 0", 5, 5, 5);
    let selector = "spec.nodeName=example-node-name.fully.qualified.domain.name.example.com";
    check(&format!("authorizer.group('').resource('pods').fieldSelector('{selector}')"), 1821, 1821, 1821);
    check(&format!("authorizer.group('').resource('pods').labelSelector('{selector}')"), 1821, 1821, 1821);
    check("authorizer.path('/healthz').check('get').allowed()", 350_003, 350_003, 350_003);
    check("quantity('200M') == quantity('200M')", 3, 3, 3);
    check("quantity('50k').add(20).sub(quantity('100k')).asInteger() > 0", 6, 6, 6);
    check("format.named('dns1123Subdomain').value().validate('my-name')", 34, 34, 17);
    check("format.named('dns1123Label').value() == format.named('dns1123Label').value()", 5, 11, 5);
    check("semver('1234.56789012345.67890123456789')", 4, 4, 4);
    check("semver('1.0.0') == semver('1.0.0')", 3, 3, 3);
    check("{'a': 1, 'b': 2}.transformMapEntry(k, v, v < 5, {k: v + 1})", 67, 135, 135);
}

/// Nobody may do anything.
struct Nobody;

impl Host for Nobody {
    fn check(&self, _: &Check) -> Decision {
        Decision::default()
    }
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
    // Reading a text costs its length, whatever becomes of it; comparing does not.
    check("self.items.all(i, quantity(i) == quantity('1'))", 3, 3 + 100 * (2 + 1 + 1 + 4 + 1 + 1));
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
