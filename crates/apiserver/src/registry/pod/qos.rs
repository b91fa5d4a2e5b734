//! The quality-of-service class of a pod, from its requests and limits of cpu and memory.

use gantry_api::quantity::Quantity;
use gantry_api::{Value, value};

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn class(pod: &Value) -> &'static str {
    if let Some(resources) = value::get(pod, "spec.resources").filter(|r| r.as_object().is_some_and(|o| !o.is_empty()))
    {
        return of(std::iter::once(resources));
    }
    let containers = value::list_at(pod, "spec.initContainers").iter().chain(value::list_at(pod, "spec.containers"));
    static NONE: Value = Value::Null;
    of(containers.map(|c| c.get("resources").unwrap_or(&NONE)))
}

/// Guaranteed needs limits of both resources in each container, equal to the requests.
fn of<'a>(all: impl Iterator<Item = &'a Value>) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for resources in all {
        for name in ["cpu", "memory"] {
            let amount = |list: &str| {
                let text = resources.get(list)?.get(name)?.as_str()?;
                text.parse::<Quantity>().ok().filter(|q| q.milli() > 0)
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
