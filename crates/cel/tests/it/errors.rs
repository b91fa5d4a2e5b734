//! Mistakes are told in cel-go's words, with their place.

use gantry_cel::{Bindings, Budget, Environment, ObjectType, Type};

fn message(source: &str) -> String {
    let spec = ObjectType::new("spec", [("x", Type::Int), ("names", Type::list(Type::String))]);
    let environment = Environment::new().variable("self", Type::Object(spec)).variable("d", Type::Dyn);
    environment.compile(source).expect_err(source).to_string()
}

#[test]
fn places_are_shown() {
    assert_eq!(
        message("self.x == nope"),
        "ERROR: <input>:1:11: undeclared reference to 'nope' (in container '')\n | self.x == nope\n | ..........^"
    );
    assert_eq!(message("self.y"), "ERROR: <input>:1:5: undefined field 'y'\n | self.y\n | ....^");
    assert_eq!(
        message("true &&\n  1"),
        "ERROR: <input>:1:6: found no matching overload for '_&&_' applied to '(bool, int)'\n | true &&\n | .....^"
    );
    assert_eq!(
        message("'\u{4e16}' + nope"),
        "ERROR: <input>:1:7: undeclared reference to 'nope' (in container '')\n | '\u{4e16}' + nope\n | .\u{ff0e}....^"
    );
}

#[test]
fn programs_are_made_at_once() {
    for source in ["'a'.find('(')", "self.names.exists(n, n.findAll('(', 1).size() > 0)", "'a'.find('(') == nope"] {
        let spec = ObjectType::new("spec", [("names", Type::list(Type::String))]);
        let environment = Environment::new().variable("self", Type::Object(spec));
        let error = environment.compile(source).expect_err(source);
        match source.contains("nope") {
            true => assert_eq!(error.stage(), "compilation"),
            false => assert_eq!(
                (error.stage(), &*error.to_string()),
                ("instantiation", "error parsing regexp: missing closing ): `(`")
            ),
        }
    }
}

#[test]
fn constants_that_cannot_be_converted_make_no_program() {
    let check = |source: &str, expected: &str| {
        let error = Environment::new().compile(source).expect_err(source);
        assert_eq!((error.stage(), &*error.to_string()), ("instantiation", expected), "{source}");
    };
    let no_int = "type conversion error from 'string' to 'int'";
    check("int('x') == 1", no_int);
    check("int(string('x')) == 1", no_int);
    check("true || int('x') == 1", no_int);
    check("[1].all(n, n < int('x'))", no_int);
    check("uint('-1') == 1u", "type conversion error from 'string' to 'uint'");
    check("double('one') == 1.0", "type conversion error from 'string' to 'double'");
    check("bool('yes')", "type conversion error from 'string' to 'bool'");
    check("int(1e99) == 1", "integer overflow");
    check("uint(-1) == 1u", "unsigned integer overflow");
    check("string(b'\\xff') == ''", "invalid UTF-8 in bytes, cannot convert to string");
    // What is wrong about moments is said by the checker.
    let moment = Environment::new().compile("timestamp(9999999999999) == timestamp(0)").expect_err("too late");
    assert_eq!(moment.stage(), "compilation");
    assert!(moment.to_string().starts_with("ERROR: <input>:1:11: invalid timestamp argument"), "{moment}");
    let program = Environment::new().compile("int(string(7u)) + 1 == 8").expect("all of it is a constant");
    assert_eq!(program.evaluate(&Bindings::new(), &mut Budget::one_call()), Ok(gantry_cel::Value::Bool(true)));
}

#[test]
fn mistakes_have_cel_gos_words() {
    let check = |source: &str, expected: &str| {
        let message = message(source);
        let first = message.lines().next().unwrap_or_default();
        assert_eq!(first, format!("ERROR: <input>:{expected}"), "{source}");
    };
    check("1 + 'a'", "1:3: found no matching overload for '_+_' applied to '(int, string)'");
    check("self.x.matches('a')", "1:15: found no matching overload for 'matches' applied to 'int.(string)'");
    check("nope(1)", "1:5: undeclared reference to 'nope' (in container '')");
    check("self.x.y", "1:7: type 'int' does not support field selection");
    check("quantity('1').value", "1:14: unexpected failed resolution of 'kubernetes.Quantity'");
    check(
        "self.x.all(i, true)",
        "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
    );
    check("[1, 'a']", "1:5: expected type 'int' but found 'string'");
    check("{'a': 1, 'b': 'c'}", "1:15: expected type 'int' but found 'string'");
    check("self.names.all(n, 1)", "1:15: found no matching overload for '_&&_' applied to '(bool, int)'");
    check("has(self)", "1:5: invalid argument to has() macro");
    check("self.names.all(1, true)", "1:16: argument must be a simple name");
    check("namespace == 1", "1:1: reserved identifier: namespace");
    check(
        "1 +",
        "1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
    );
    check("1 1", "1:3: Syntax error: extraneous input '1' expecting <EOF>");
    check("'abc", "1:1: Syntax error: token recognition error at: ''abc'");
    check("1 == 1.0", "1:3: found no matching overload for '_==_' applied to '(int, double)'");
    check("duration('x')", "1:10: invalid duration argument");
    check("timestamp('x')", "1:11: invalid timestamp argument");
    check("'a'.matches('(')", "1:13: invalid matches argument");
    check("cel.bind(x, 1, x)", "1:1: undeclared reference to 'cel' (in container '')");
    check("Object{a: 1}", "1:7: undeclared reference to 'Object' (in container '')");
    check("9223372036854775808", "1:1: invalid int literal");
    check("type(1) == int && nope", "1:19: undeclared reference to 'nope' (in container '')");
}

#[test]
fn deep_and_large_sources_are_refused() {
    let refused = |source: String, expected: &str| {
        let message = message(&source);
        assert!(message.contains(expected), "{message}");
    };
    let deep = "expression recursion limit exceeded: ";
    refused(format!("{}1{}", "(".repeat(300), ")".repeat(300)), deep);
    refused(format!("{}1{}", "[".repeat(100_000 / 2 - 1), "]".repeat(100_000 / 2 - 1)), deep);
    refused(format!("1{}", "+1".repeat(300)), deep);
    refused(format!("d{}", ".a".repeat(300)), deep);
    refused(format!("d{}", "[0]".repeat(300)), deep);
    refused(format!("{}1", "true ? 1 : ".repeat(300)), deep);
    refused(
        format!("'{}'", "a".repeat(100_000)),
        "expression code point size exceeds limit: size: 100002, limit 100000",
    );
    refused("{".repeat(300), deep);
}

#[test]
fn no_nesting_overflows_half_a_threads_stack() {
    // As deep as it may be and deeper, on half the stack of the threads that serve requests.
    let shapes = [
        ("(", ")"),
        ("[", "]"),
        ("{1: ", "}"),
        ("[0].all(x, ", " == 1)"),
        ("[0].map(x, ", ")"),
        ("1 + (", ")"),
        ("1 * 2 + (", ")"),
        ("true || (false && (", "))"),
        ("true ? (", ") : 1"),
        ("-(", ")"),
        ("dyn(", ")"),
        ("d.f(", ")"),
        ("d[", "]"),
        ("optional.of(", ")"),
        ("optional.of(1).optMap(x, ", ")"),
        ("[?", "]"),
        ("'a'.replace('b', ", ")"),
    ];
    let work = move || {
        for (open, close) in shapes {
            for depth in [10, 30, 45, 60, 80, 95, 120, 165, 245, 300, 5000] {
                let source = format!("{}d{} != d", open.repeat(depth), close.repeat(depth));
                let environment = Environment::new().variable("d", Type::Dyn);
                let Ok(program) = environment.compile(&source) else { continue };
                let document = serde_json::json!(1);
                let bindings = gantry_cel::Bindings::new().json("d", &document);
                let _ = program.evaluate(&bindings, &mut gantry_cel::Budget::rule_set());
                let _ = program.estimated_cost();
            }
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).expect("starts").join().expect("ends");
    for depth in [95, 101, 249] {
        assert!(Environment::new().compile(&format!("{}1{} == 1", "(".repeat(depth), ")".repeat(depth))).is_ok());
    }
    let lists = format!("{}1{} == dyn(1)", "[".repeat(245), "]".repeat(245));
    assert!(Environment::new().compile(&lists).is_ok());
    let deeper = Environment::new().compile(&format!("{}1{}", "(".repeat(250), ")".repeat(250)));
    assert!(deeper.is_err_and(|e| e.to_string().ends_with("expression recursion limit exceeded: 250")));
    assert!(Environment::new().compile(&format!("1{} > 0", "+1".repeat(240))).is_ok());
    assert!(Environment::new().compile(&format!("true{}", " && true".repeat(5000))).is_ok());
}
