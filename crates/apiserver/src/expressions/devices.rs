//! Selectors of devices (CEL): what they may say of a device, and what is wrong with them.

use gantry_api::field::{Error, Errors, Path};
use gantry_api::{Value, value};
use gantry_cel::{Environment, Library, ObjectType, Type};

use super::{failure, refused};

/// What a selector may cost at most.
const MAX_COST: u64 = 1_000_000;
/// Bounds of what drivers say of a device, in characters and entries.
const DOMAIN_LEN: u64 = 63;
const ID_LEN: u64 = 32;
const DRIVER_LEN: u64 = 63;
const VALUE_LEN: u64 = 64;
const ENTRIES: u64 = 32;
/// The longest expression; longer ones are refused for that alone.
const EXPRESSION_BYTES: usize = 10 * 1024;

/// Values by domain and name.
fn by_domain(of: Type) -> Type {
    let text = |len| Type::String.at_most(len);
    let by_id = Type::map(text(ID_LEN), of).at_most(ENTRIES);
    Type::map(text(DOMAIN_LEN), by_id).at_most(ENTRIES)
}

fn environment() -> Environment {
    let device = ObjectType::new(
        "kubernetes.DRADevice",
        [
            ("driver", Type::String.at_most(DRIVER_LEN)),
            ("attributes", by_domain(Type::Dyn.at_most(VALUE_LEN))),
            ("capacity", by_domain(Type::Opaque("kubernetes.Quantity"))),
            ("allowMultipleAllocations", Type::Bool),
        ],
    );
    Environment::new().library(Library::Bindings).variable("device", Type::Object(device))
}

/// The most requests, and selectors of one; and the most alternatives of a request. Longer lists are refused, and not looked into.
const ITEMS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;

/// A list, unless it is too long.
fn list<'a>(object: &'a Value, path: &str, max: usize) -> &'a [Value] {
    let list = value::list_at(object, path);
    if list.len() > max { &[] } else { list }
}

/// The errors of the selectors of a device class, a claim or a template of claims. Those that were there before are not
/// looked at again.
pub(crate) fn errors(object: &Value, old: Option<&Value>) -> Errors {
    let environment = environment();
    let mut errors = Errors::new();
    let before: Vec<&str> = old.into_iter().flat_map(|old| expressions(old)).map(|(_, source)| source).collect();
    for (at, source) in expressions(object) {
        // What is empty or too long is told without this.
        if source.is_empty() || source.len() > EXPRESSION_BYTES || before.contains(&source) {
            continue;
        }
        errors.extend(check(&environment, &at, source));
    }
    errors
}

fn check(environment: &Environment, at: &Path, source: &str) -> Option<Error> {
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(error) => return Some(refused(at, source, &failure(&error))),
    };
    let ty = program.result_type();
    if !matches!(ty.plain(), Type::Bool | Type::Dyn) {
        return Some(Error::invalid(at, source, &format!("must evaluate to bool or the unknown type, not {ty}")));
    }
    (program.estimated_cost().max > MAX_COST).then(|| Error::forbidden(at, "too complex, exceeds cost limit"))
}

/// All expressions with their places.
fn expressions(object: &Value) -> Vec<(Path, &str)> {
    let mut found = Vec::new();
    let root = Path::new("spec");
    selectors(&mut found, &root, value::get(object, "spec"));
    let nested = value::get(object, "spec.spec").filter(|spec| spec.is_object());
    let (at, spec) = match nested {
        Some(nested) => (root.child("spec"), Some(nested)),
        None => (root, value::get(object, "spec")),
    };
    let at = at.child("devices").child("requests");
    let requests = spec.map_or(&[][..], |spec| list(spec, "devices.requests", ITEMS_MAX));
    for (index, request) in requests.iter().enumerate() {
        let at = at.index(index);
        selectors(&mut found, &at.child("exactly"), request.get("exactly"));
        for (index, alternative) in list(request, "firstAvailable", ALTERNATIVES_MAX).iter().enumerate() {
            selectors(&mut found, &at.child("firstAvailable").index(index), Some(alternative));
        }
    }
    found
}

fn selectors<'a>(found: &mut Vec<(Path, &'a str)>, at: &Path, holder: Option<&'a Value>) {
    let selectors = holder.map_or(&[][..], |holder| list(holder, "selectors", ITEMS_MAX));
    for (index, selector) in selectors.iter().enumerate() {
        if let Some(source) = value::str_at(selector, "cel.expression") {
            found.push((at.child("selectors").index(index).child("cel").child("expression"), source));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(source: &str) -> Vec<String> {
        let class = json!({"spec": {"selectors": [{"cel": {"expression": source}}]}});
        errors(&class, None).iter().map(|error| error.to_string().replace('\n', "|")).collect()
    }

    #[test]
    fn selectors_are_compiled() {
        let right = [
            "device.driver == 'gpu.example.com'",
            "device.attributes['gpu.example.com'].model == 'a100' && device.allowMultipleAllocations",
            "device.attributes['gpu.example.com'].driverVersion.isGreaterThan(semver('1.2.3'))",
            "device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('10Gi'))",
            "cel.bind(dra, device.attributes['gpu.example.com'], dra.one && dra.two)",
            "device.attributes['gpu.example.com'].healthy",
        ];
        for source in right {
            assert_eq!(found(source), Vec::<String>::new(), "{source}");
        }
        let check = |source: &str, expected: &str| {
            let errors = found(source);
            assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?}");
        };
        let at = "spec.selectors[0].cel.expression";
        check(
            "device.",
            &format!("{at}: Invalid value: \"device.\": compilation failed: ERROR: <input>:1:8: Syntax error"),
        );
        check(
            "device.nothing",
            &format!(
                "{at}: Invalid value: \"device.nothing\": compilation failed: ERROR: <input>:1:7: undefined field 'nothing'"
            ),
        );
        check(
            "device.driver",
            &format!("{at}: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"),
        );
        let costly = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, \
                      a + b + c + d != 'x'))))";
        check(costly, &format!("{at}: Forbidden: too complex, exceeds cost limit"));
    }

    #[test]
    fn selectors_stand_in_many_places() {
        let cel = |source: &str| json!([{"cel": {"expression": source}}]);
        let spec = json!({"devices": {"requests": [{"exactly": {"selectors": cel("1")}},
            {"firstAvailable": [{"selectors": cel("true")}, {"selectors": cel("2")}]}]}});
        let places = |object: Value| -> Vec<String> {
            errors(&object, None)
                .iter()
                .map(|e| e.to_string().split(": ").next().unwrap_or_default().to_owned())
                .collect()
        };
        let requests = ["requests[0].exactly", "requests[1].firstAvailable[1]"];
        let expected =
            |prefix: &str| requests.map(|r| format!("{prefix}.devices.{r}.selectors[0].cel.expression")).to_vec();
        assert_eq!(places(json!({"spec": spec})), expected("spec"));
        assert_eq!(places(json!({"spec": {"spec": spec}})), expected("spec.spec"));
        let class = json!({"spec": {"selectors": cel("1")}});
        assert!(errors(&class, Some(&class)).is_empty(), "what was there stays");
    }
}
