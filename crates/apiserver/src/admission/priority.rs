//! A pod's priority is that of its class; a client may not choose the number.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use gantry_store::encoded::Encoded;

use super::{Operation, Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

pub(super) struct Priority;

/// What a class gives.
struct Class {
    name: String,
    value: i64,
    preemption: String,
}

impl Class {
    fn of(object: &Value) -> Self {
        let at = |path| value::str_at(object, path).unwrap_or_default().to_owned();
        let preemption = at("preemptionPolicy");
        Self {
            name: at("metadata.name"),
            value: value::i64_at(object, "value").unwrap_or(0),
            preemption: if preemption.is_empty() { "PreemptLowerPriority".to_owned() } else { preemption },
        }
    }
}

fn is_default(class: &Encoded) -> bool {
    class.scalar_at(&["globalDefault"]).is_some_and(|value| value == "true")
}

async fn class(request: &Request<'_>, name: &str) -> Result<Class, Status> {
    let kind = kinds::by_resource("scheduling.k8s.io", "v1", "priorityclasses").ok_or_else(Status::no_such_resource)?;
    if name.is_empty() {
        let snapshot = request.app.view(kind).snapshot();
        // Read for every pod, and mostly none of them is the default.
        let defaults = snapshot.list(None, None).filter(|o| is_default(o.encoded()));
        let defaults = defaults.filter_map(|o| serde_json::from_slice::<Value>(o.json()).ok());
        let default = defaults.min_by_key(|c| value::i64_at(c, "value"));
        let none = Class { name: String::new(), value: 0, preemption: "PreemptLowerPriority".to_owned() };
        return Ok(default.map_or(none, |c| Class::of(&c)));
    }
    let found = current::load(request.app, &Target::new(kind, "", name)).await?;
    found
        .map(|c| Class::of(&c.value))
        .ok_or_else(|| request.forbidden(&format!("no PriorityClass with name {name} was found")))
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if !request.creates("Pod") {
            return Ok(());
        }
        let name = value::str_at(object, "spec.priorityClassName").unwrap_or_default().to_owned();
        let class = class(request, &name).await?;
        apply(request, &class, object)
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !kind.is("scheduling.k8s.io", "PriorityClass") || !writes || !value::bool_at(object, "globalDefault") {
            return Ok(());
        }
        let snapshot = request.app.view(kind).snapshot();
        let classes = snapshot.list(None, None).filter(|o| *o.meta().name != *request.target.name);
        let other = classes
            .filter_map(|o| serde_json::from_slice::<Value>(o.json()).ok())
            .find(|c| value::bool_at(c, "globalDefault"));
        match other {
            Some(other) => Err(request.forbidden(&format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                value::str_at(&other, "metadata.name").unwrap_or_default()
            ))),
            None => Ok(()),
        }
    }
}

fn apply(request: &Request<'_>, class: &Class, pod: &mut Value) -> Result<(), Status> {
    if value::i64_at(pod, "spec.priority").is_some_and(|given| given != class.value) {
        return Err(request.forbidden(
            "the integer value of priority must not be provided in pod spec; priority admission controller computed",
        ));
    }
    let given = value::str_at(pod, "spec.preemptionPolicy").unwrap_or_default();
    if !given.is_empty() && given != class.preemption {
        return Err(request.forbidden("the string value of PreemptionPolicy must not be provided in pod spec; priority admission controller computed"));
    }
    if !class.name.is_empty() {
        value::set(pod, "spec.priorityClassName", class.name.as_str());
    }
    value::set(pod, "spec.priority", class.value);
    value::set(pod, "spec.preemptionPolicy", class.preemption.as_str());
    Ok(())
}
