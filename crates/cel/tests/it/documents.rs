//! Variables that are JSON documents, by the types that schemas give them.

use gantry_cel::{
    Bindings, Budget, Check, Decision, Environment, EvalError, Host, Library, ObjectType, ResourceCheck, Scope,
    Subject, Type, Value,
};
use serde_json::{Value as Json, json};

use crate::support::outcome_in;

fn schema() -> Json {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": { "type": "integer" },
                    "ratio": { "type": "number" },
                    "port": { "x-kubernetes-int-or-string": true },
                    "started": { "type": "string", "format": "date-time" },
                    "day": { "type": "string", "format": "date" },
                    "timeout": { "type": "string", "format": "duration" },
                    "token": { "type": "string", "format": "byte" },
                    "namespace": { "type": "string" },
                    "dash-ed": { "type": "string" },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                    "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": { "type": "object", "properties": { "name": { "type": "string" }, "port": { "type": "integer" } } },
                    },
                    "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "hidden": { "x-kubernetes-preserve-unknown-fields": true },
                },
            },
        },
    })
}

fn document() -> Json {
    json!({
        "apiVersion": "e.x/v1", "kind": "E", "metadata": { "name": "n" },
        "spec": {
            "replicas": 3, "ratio": 2, "port": "http", "started": "2020-01-01T00:00:00Z", "day": "2020-01-01", "timeout": "90s",
            "token": "YWI=", "namespace": "ns", "dash-ed": "d", "labels": { "a": "b", "x.y/z": "w" }, "tags": ["b", "a"],
            "ports": [{ "name": "a", "port": 1 }, { "name": "b", "port": 2 }], "any": { "q": 1 },
        },
    })
}

fn environment() -> Environment {
    let ty = Type::from_schema(&schema(), "self", true).expect("has a type");
    Environment::new().variable("self", ty.clone()).variable("oldSelf", Type::optional(ty)).variable("any", Type::Dyn)
}

fn check(source: &str, expected: Result<Json, &str>) {
    let (document, old) = (
        document(),
        json!({ "spec": { "tags": ["a", "b"], "ports": [{ "name": "b", "port": 2 }, { "name": "a", "port": 1 }] } }),
    );
    let (document, old) = (Box::leak(Box::new(document)), Box::leak(Box::new(old)));
    let bindings = Bindings::new().json("self", document).optional_json("oldSelf", Some(old)).json("any", document);
    assert_eq!(outcome_in(&environment(), &bindings, source), expected.map_err(str::to_owned), "{source}");
}

#[test]
fn documents_are_read_by_their_schema() {
    for source in [
        "self.spec.replicas + 1 == 4 && self.spec.ratio / 2.0 == 1.0 && self.metadata.name == 'n' && self.kind == 'E'",
        "type(self.spec.port) == string && self.spec.port == 'http'",
        "self.spec.started + self.spec.timeout == timestamp('2020-01-01T00:01:30Z') && self.spec.day == self.spec.started",
        "self.spec.token == b'ab' && self.spec.__namespace__ == 'ns' && self.spec.dash__dash__ed == 'd'",
        "self.spec.labels.a == 'b' && self.spec.labels['x.y/z'] == 'w' && 'a' in self.spec.labels && self.spec.labels.size() == 2",
        "self.spec.labels.all(k, v, k.size() > 0 && v.size() == 1) && self.spec.tags.exists(t, t == 'a')",
        "self.spec.tags == oldSelf.value().spec.tags && self.spec.ports == oldSelf.value().spec.ports",
        "self.spec.tags + ['a', 'c'] == ['b', 'a', 'c'] && (self.spec.ports + oldSelf.value().spec.ports).size() == 2",
        "has(self.spec.replicas) && !has(oldSelf.value().spec.replicas) && !oldSelf.spec.replicas.hasValue() && self.spec.?ratio.hasValue()",
        "any.spec.replicas == 3 && any.spec.ports[1].name == 'b' && has(any.spec.any.q) && any.spec.ratio == 2",
    ] {
        check(source, Ok(json!(true)));
    }
    check("oldSelf.value().spec.replicas", Err("no such key: replicas"));
    check("self.spec", Ok(document()["spec"].clone()));
    check("self.spec.any.q", Err("ERROR: <input>:1:14: undefined field 'q'\n | self.spec.any.q\n | .............^"));
    check("self.spec.hidden", Err("ERROR: <input>:1:10: undefined field 'hidden'\n | self.spec.hidden\n | .........^"));
}

#[test]
fn data_of_another_type_is_an_error() {
    let environment = Environment::new().variable("n", Type::Int).variable("t", Type::Timestamp);
    let (text, number) = (json!("x"), json!(1));
    for (source, expected) in [
        ("n == 1", "invalid data, expected int but found a string"),
        ("t == timestamp(0)", "invalid data, expected google.protobuf.Timestamp but found a number"),
    ] {
        let program = environment.compile(source).expect("compiles");
        let bindings = Bindings::new().json("n", &text).json("t", &number);
        let error = program.evaluate(&bindings, &mut Budget::rule_set()).expect_err(source);
        assert_eq!(error.to_string(), expected);
    }
    let program = environment.compile("n == 1").expect("compiles");
    let error = program.evaluate(&Bindings::new(), &mut Budget::rule_set()).expect_err("unbound");
    assert_eq!(error.to_string(), "no such attribute(s): n");
}

#[test]
fn programs_say_what_they_use_and_give() {
    let program =
        environment().compile("[self.spec.replicas].all(self, self > 0) || has(oldSelf.spec)").expect("compiles");
    assert!(program.uses("self.spec.replicas") && program.uses("oldSelf") && !program.uses("any"));
    assert_eq!(program.result_type(), &Type::Bool);
    let only_local = environment().compile("[1].all(self, self > 0)").expect("compiles");
    assert!(!only_local.uses("self"));
}

#[test]
fn composed_variables_are_worked_out_once_and_only_when_asked_for() {
    let base = Environment::new().variable("object", Type::Dyn);
    let size = base.compile("object.items.size()").expect("compiles");
    let broken = base.compile("object.nothing").expect("compiles");
    let environment = base.compose("size", size.result_type().clone()).compose("broken", broken.result_type().clone());
    let program = environment.compile("variables.size + variables.size").expect("compiles");
    let failing = environment.compile("variables.broken == 1").expect("compiles");
    assert!(program.uses("variables.size") && !program.uses("variables.broken"));
    assert!(environment.compile("variables.other").is_err());
    let object = json!({ "items": [1, 2] });
    let bindings = Bindings::new().json("object", &object).compose("size", &size).compose("broken", &broken);
    let mut budget = Budget::rule_set();
    let value = program.evaluate(&bindings, &mut budget).expect("evaluates");
    assert_eq!(value, Value::Int(4));
    // Twice two accesses and a sum; the variable itself once.
    assert_eq!(Budget::rule_set().remaining() - budget.remaining(), 5 + 3);
    let error = failing.evaluate(&bindings, &mut budget).expect_err("fails");
    assert_eq!(error.to_string(), "composited variable \"broken\" fails to evaluate: no such key: nothing");
}

struct Everything;

impl Host for Everything {
    fn check(&self, check: &Check) -> Decision {
        let allowed = matches!(&check.subject, Subject::Resource(r) if r.resource == "pods" && r.namespace == "x" && r.subresource.is_empty())
            || check.service_account.as_ref().is_some_and(|(_, name)| name == "admin");
        Decision { allowed, reason: check.verb.clone(), error: (check.verb == "fail").then(|| "broken".to_owned()) }
    }
}

#[test]
fn the_authoriser_is_asked() {
    let environment = Environment::new()
        .library(Library::Authorizer)
        .variable("authorizer", Type::Opaque(gantry_cel::AUTHORIZER))
        .variable("authorizer.requestResource", Type::Opaque(gantry_cel::RESOURCE_CHECK));
    let request = ResourceCheck { resource: "pods".into(), namespace: "x".into(), ..ResourceCheck::default() };
    let bindings = Bindings::new().host(&Everything, Some(Check::resource(request)));
    let check = |source: &str, expected: Result<Json, &str>| {
        assert_eq!(outcome_in(&environment, &bindings, source), expected.map_err(str::to_owned), "{source}");
    };
    check("authorizer.group('').resource('pods').namespace('x').check('get').allowed()", Ok(json!(true)));
    check("authorizer.group('').resource('pods').namespace('y').check('get').allowed()", Ok(json!(false)));
    check("authorizer.requestResource.check('get').allowed()", Ok(json!(true)));
    check("authorizer.requestResource.subresource('log').check('get').allowed()", Ok(json!(false)));
    check("authorizer.path('/healthz').check('list').reason()", Ok(json!("list")));
    check("authorizer.path('/healthz').check('fail').errored()", Ok(json!(true)));
    check("authorizer.path('/healthz').check('fail').error()", Ok(json!("broken")));
    check("authorizer.serviceAccount('default', 'admin').path('/x').check('get').allowed()", Ok(json!(true)));
    check("authorizer.path('')", Err("path must not be empty"));
    check(
        "authorizer.serviceAccount('default', 'A B').path('/x').check('get').allowed()",
        Err("Invalid service account name"),
    );
    check(
        "[1, 2, 3].all(x, authorizer.path('/x').check('get').allowed() || true)",
        Err("operation cancelled: actual cost limit exceeded"),
    );
    assert!(
        Environment::new()
            .variable("authorizer", Type::Opaque(gantry_cel::AUTHORIZER))
            .compile("authorizer.path('/')")
            .is_err()
    );
}

#[test]
fn mutations_make_objects() {
    let environment = Environment::new().library(Library::Mutation).variable("object", Type::Dyn);
    let object = json!({ "a": 2 });
    let bindings = Bindings::new().json("object", &object);
    assert_eq!(
        outcome_in(
            &environment,
            &bindings,
            "Object{spec: Object.spec{replicas: object.a + 1, ?gone: optional.none()}}"
        ),
        Ok(json!({ "spec": { "replicas": 3 } }))
    );
    assert_eq!(
        outcome_in(
            &environment,
            &bindings,
            "[JSONPatch{op: 'add', path: '/x/' + jsonpatch.escapeKey('a/b~c'), value: {'k': 1}}]"
        ),
        Ok(json!([{ "op": "add", "path": "/x/a~1b~0c", "value": { "k": 1 } }]))
    );
    let error = environment.compile("JSONPatch{op: 1}").expect_err("is of another type").to_string();
    assert!(error.contains("expected type of field 'op' is 'string' but provided type is 'int'"), "{error}");
    assert!(environment.compile("JSONPatch{nope: 1}").is_err());
}

#[test]
fn types_of_one_name_are_one_type() {
    let object = ObjectType::new("o", [("a", Type::Int)]);
    let other = ObjectType::new("p", [("a", Type::Int)]);
    let environment = Environment::new().variable("x", Type::Object(object)).variable("y", Type::Object(other));
    assert!(environment.compile("x == x").is_ok());
    assert!(environment.compile("x == y").is_err());
    assert!(environment.compile("x == null").is_ok());
}

#[test]
fn nobody_absorbs_a_budget_that_is_used_up() {
    let list = json!(vec![1; 3000]);
    let environment = Environment::new().variable("l", Type::list(Type::Int));
    let source = "true || l.all(x, l.all(y, l.all(z, x + y + z > 0)))";
    let decided = environment.compile(source).expect("compiles");
    let program = environment.compile(&source.replace("true ||", "!")).expect("compiles");
    let bindings = Bindings::new().json("l", &list);
    assert_eq!(decided.evaluate(&bindings, &mut Budget::rule_set()), Ok(Value::Bool(true)));
    let mut budget = Budget::rule_set();
    assert_eq!(program.evaluate(&bindings, &mut budget), Err(EvalError::OverBudget(Scope::Call)));
    let mut small = Budget::new(10, 1000);
    assert_eq!(program.evaluate(&bindings, &mut small), Err(EvalError::OverBudget(Scope::Set)));
    assert_eq!(small.remaining(), 0);
}

#[test]
fn types_of_mutations_are_named_after_their_places() {
    let environment = Environment::new().library(Library::Mutation);
    let check = |source: &str, expected: Option<(&str, &str)>| {
        let program = environment.compile(source).expect(source);
        let value = program.evaluate(&Bindings::new(), &mut Budget::rule_set()).expect(source);
        let expected = expected.map(|(name, wanted)| {
            format!(
                "type mismatch: unexpected type name {name:?}, expected {wanted:?}, which matches field name path from root Object type"
            )
        });
        assert_eq!(value.type_mismatch(), expected, "{source}");
    };
    check("Object{spec: Object.spec{replicas: 1, list: [Object.spec.list{a: {'b': Object.spec.list.a{}}}]}}", None);
    check("Object{spec: Object.specx{replicas: 1}}", Some(("Object.specx", "Object.spec")));
    check("Object{spec: Object.spec{list: [Object.list{}]}}", Some(("Object.list", "Object.spec.list")));
    check("[JSONPatch{op: 'add', path: '/spec/list/-', value: Object.spec.list{a: Object.spec.list.a{}}}]", None);
    check(
        "[JSONPatch{op: 'add', path: '/spec/list/-', value: Object.spec.list{a: Object.spec.list.b{}}}]",
        Some(("Object.spec.list.b", "Object.spec.list.a")),
    );
}
