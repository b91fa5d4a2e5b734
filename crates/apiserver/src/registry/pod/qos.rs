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

/// Guaranteed needs limits of both resources in each container, and requests that come to the same; zero is none.
fn of<'a>(all: impl Iterator<Item = &'a Value>) -> &'static str {
    let (mut requests, mut limits, mut limited) = ([None; 2], [None; 2], true);
    for resources in all {
        for (at, name) in ["cpu", "memory"].into_iter().enumerate() {
            let amount = |list: &str| {
                let text = resources.get(list)?.get(name)?.as_str()?;
                text.parse::<Quantity>().ok().filter(|q| q.signum() > 0)
            };
            let sum = |known: Option<Quantity>, more: Option<Quantity>| match (known, more) {
                (Some(known), Some(more)) => Some(known.plus(more)),
                (known, more) => known.or(more),
            };
            requests[at] = sum(requests[at], amount("requests"));
            limits[at] = sum(limits[at], amount("limits"));
            limited &= amount("limits").is_some();
        }
    }
    let any = requests.iter().chain(&limits).any(Option::is_some);
    match (any, limited && requests == limits) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
