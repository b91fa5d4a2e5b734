//! Which container of a pod is meant.

use gantry_api::status::Status;
use gantry_api::{Value, value};

/// Upstream says it differently for logs and for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    Log,
    Exec,
}

fn names<'p>(pod: &'p Value, list: &str) -> Vec<&'p str> {
    value::list_at(pod, list).iter().filter_map(|c| value::str_at(c, "name")).collect()
}

/// The container that is meant: the wanted one, or the only one. A pod's default is for clients to know, as upstream has it.
///
/// # Errors
/// 400 in upstream's words for one that is not there, and where there is a choice.
pub(crate) fn choose(pod: &Value, wanted: &str, words: Words) -> Result<String, Status> {
    let name = value::str_at(pod, "metadata.name").unwrap_or_default();
    let main = names(pod, "spec.containers");
    let inits = names(pod, "spec.initContainers");
    if !wanted.is_empty() {
        let all = [main, inits, names(pod, "spec.ephemeralContainers")].concat();
        if all.contains(&wanted) {
            return Ok(wanted.to_owned());
        }
        let mut message = format!("container {wanted} is not valid for pod {name}");
        if words == Words::Exec {
            message.push_str(&format!(" out of: {}", all.join(", ")));
        }
        return Err(Status::bad_request(message));
    }
    if let [only] = main.as_slice() {
        return Ok((*only).to_owned());
    }
    let all = [inits, main, names(pod, "spec.ephemeralContainers")].concat().join(" ");
    Err(Status::bad_request(format!("a container name must be specified for pod {name}, choose one of: [{all}]")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_is_found_or_asked_for() {
        let pod = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
            let annotations = json!({"kubectl.kubernetes.io/default-container": "b"});
            json!({"metadata": {"name": "p", "annotations": annotations},
                "spec": {"containers": list, "initContainers": [{"name": "i"}]}})
        };
        let check_with = |words: Words, pod: &Value, wanted: &str, expected: Result<&str, &str>| {
            let got = choose(pod, wanted, words).map_err(|s| s.message);
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        };
        let check = |pod: &Value, wanted: &str, expected| check_with(Words::Log, pod, wanted, expected);
        check(&pod(&["a"]), "", Ok("a"));
        check(&pod(&["a", "b"]), "b", Ok("b"));
        check(&pod(&["a"]), "i", Ok("i"));
        check(&pod(&["a"]), "x", Err("container x is not valid for pod p"));
        let words = "container x is not valid for pod p out of: a, b, i";
        check_with(Words::Exec, &pod(&["a", "b"]), "x", Err(words));
        check(&pod(&["a", "b"]), "", Err("a container name must be specified for pod p, choose one of: [i a b]"));
    }
}
