//! The objects that a binding gives a policy as parameters.

use gantry_api::kinds::{self, KindInfo};
use gantry_api::selector::LabelSelector;
use gantry_api::{Object, Value, convert, value};

use super::definition::{Binding, Definition, ParamRef};
use crate::admission::Request;
use crate::custom::convert as versions;
use crate::pipeline::current::{self, Current};
use crate::request::Target;

/// The parameters; one that is nothing where policy or binding want none.
///
/// # Errors
/// In upstream's words.
pub(super) async fn of(
    request: &Request<'_>,
    policy: &Definition,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let (Some((api_version, kind)), Some(wanted)) = (&policy.params, &binding.params) else {
        return Ok(vec![None]);
    };
    let served = request.app.kinds.kinds().by_api_version(api_version, kind).filter(|kind| kind.stored());
    let Some(served) = served else {
        let (group, version) = kinds::split_api_version(api_version);
        return Err(format!("paramKind kind `{group}/{version}, Kind={kind}` not known"));
    };
    let namespace = namespace(request, &served, wanted)?;
    let found = match &wanted.selector {
        None => named(request, &served, namespace, &wanted.name).await?.into_iter().collect(),
        Some(selector) => selected(request, &served, namespace, selector).await?,
    };
    if found.is_empty() && wanted.required {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.into_iter().map(Some).collect())
}

fn namespace<'a>(request: &'a Request<'_>, kind: &KindInfo, wanted: &'a ParamRef) -> Result<&'a str, String> {
    match (kind.namespaced, wanted.namespace.as_str()) {
        (false, "") => Ok(""),
        (false, _) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, "") if request.namespace().is_empty() => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned())
        }
        (true, "") => Ok(request.namespace()),
        (true, namespace) => Ok(namespace),
    }
}

fn shown(kind: &KindInfo, current: Current) -> Value {
    let mut object = current.value;
    value::set(&mut object, "metadata.resourceVersion", current.revision.to_string());
    convert::from_hub(kind, &mut object);
    object
}

async fn named(request: &Request<'_>, kind: &KindInfo, namespace: &str, name: &str) -> Result<Option<Value>, String> {
    let found = current::load(request.app, &Target::new(kind, namespace, name)).await;
    Ok(found.map_err(|status| status.message)?.map(|current| shown(kind, current)))
}

async fn selected(
    request: &Request<'_>,
    kind: &KindInfo,
    namespace: &str,
    selector: &Value,
) -> Result<Vec<Value>, String> {
    let selector = LabelSelector::from_value(selector)?;
    let snapshot = request.app.view(kind).snapshot();
    let empty = Object::new();
    let mut found = Vec::new();
    for object in snapshot.list(kind.namespaced.then_some(namespace), None) {
        let current = Current::from_object(object).map_err(|status| status.message)?;
        if selector.matches(&value::map_at(&current.value, "metadata.labels").unwrap_or(&empty)) {
            found.push(shown(kind, current));
        }
    }
    // Custom objects are cached in the version in which they are stored.
    let mut objects: Vec<&mut Value> = found.iter_mut().collect();
    versions::convert(request.app, kind, &mut objects).await.map_err(|status| status.message)?;
    Ok(found)
}
