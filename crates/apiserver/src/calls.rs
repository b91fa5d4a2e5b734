//! The calls that REST and gRPC share: authorise, limit, and hand over to the part of the pipeline that is meant.
//!
//! A call goes through three types, each of which only the one before it makes: [`Call`], [`Permitted`], [`Entered`].

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use gantry_api::kinds::Kinds;
use gantry_api::status::Status;
use gantry_store::cache::Object;

use crate::app::App;
use crate::audit;
use crate::computed;
use crate::custom::convert;
use crate::pipeline::options::DeleteOptions;
use crate::pipeline::patch::{Asked, PatchType};
use crate::pipeline::read::{ListQuery, Listed};
use crate::pipeline::selection::Narrowed;
use crate::pipeline::watch::{WatchQuery, Watcher};
use crate::pipeline::{
    Written, apply, binding, create, delete, delete_collection, eviction, patch, read, review, scale, token, update,
    watch,
};
use crate::rbac::authorizer::{self, Allowed};
use crate::rbac::rule::Attributes;
use crate::request::{Caller, Payload, Target, WriteOptions};
use crate::server::limits::Slot;

/// What a GET found.
pub(crate) enum Found {
    Object(Arc<Object>),
    /// A Scale as JSON.
    Scale(Bytes),
}

/// What is done to a resource, as a type: what was permitted is what can be done.
pub(crate) trait Verb {
    /// Upstream's word for it.
    const NAME: &'static str;
}

macro_rules! verbs {
    ($($verb:ident = $name:literal),* $(,)?) => {$(
        #[doc = concat!("The verb `", $name, "`.")]
        pub(crate) struct $verb;

        impl Verb for $verb {
            const NAME: &'static str = $name;
        }
    )*};
}

verbs!(
    Get = "get",
    List = "list",
    Watch = "watch",
    Create = "create",
    Update = "update",
    Patch = "patch",
    Delete = "delete",
    DeleteCollection = "deletecollection",
);

/// A call of one caller.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) caller: &'a Caller,
}

/// A call that its caller may make.
#[must_use]
pub(crate) struct Permitted<'a, V> {
    call: Call<'a>,
    target: &'a Target,
    allowed: Allowed<'a>,
    verb: PhantomData<V>,
}

/// A permitted call with its place among those in flight.
pub(crate) struct Entered<'a, V> {
    app: &'a Arc<App>,
    caller: &'a Caller,
    target: &'a Target,
    _slot: Slot,
    verb: PhantomData<V>,
}

/// The target that a resource path names.
///
/// # Errors
/// 404 for what is not served.
pub(crate) fn target(
    kinds: &Kinds,
    (group, version, resource): (&str, &str, &str),
    namespace: &str,
    name: &str,
    subresource: &str,
) -> Result<Target, Status> {
    let kind = kinds.by_resource(group, version, resource).ok_or_else(Status::no_such_resource)?;
    if !kind.namespaced && !namespace.is_empty() {
        return Err(Status::no_such_resource());
    }
    if kind.namespaced && namespace.is_empty() && !name.is_empty() {
        return Err(Status::no_such_resource());
    }
    // Names become parts of keys.
    for part in [namespace, name] {
        if part.contains(['/', '\0']) || part == "." || part == ".." {
            return Err(Status::bad_request(format!("{part:?} cannot be the name of an object or namespace")));
        }
    }
    let subresource = match subresource {
        "" => "",
        wanted => kind.subresource(wanted).ok_or_else(Status::no_such_resource)?.name,
    };
    Ok(Target { kind, namespace: namespace.to_owned(), name: name.to_owned(), subresource })
}

fn served(target: &Target, verb: &str) -> Result<(), Status> {
    let verbs = target.sub().map_or(&target.kind.verbs, |sub| &sub.verbs);
    if verbs.contains(&verb) {
        return Ok(());
    }
    let mut refused = Status::method_not_allowed();
    if target.kind.custom.is_some() && verb == "create" {
        // All verbs of custom kinds are there but this one, of a kind that goes.
        refused.message = format!("{verb} not allowed while custom resource definition is terminating");
    }
    Err(refused)
}

/// What a list or watch asks for. Whoever may read one object by name may select it by name.
fn selecting(verb: &str, target: &Target, narrowed: Narrowed) -> Attributes {
    let mut request = authorizer::on(&target.kind, verb, &target.namespace, &target.name, "");
    if target.name.is_empty() {
        request.name = narrowed.name;
    }
    request.fields = narrowed.fields;
    request.labels = narrowed.labels;
    request
}

impl<'a> Call<'a> {
    /// What the caller may do.
    ///
    /// # Errors
    /// 401 or 403.
    pub(crate) async fn authorize(&self, verb: &'static str, target: &Target) -> Result<Allowed<'a>, Status> {
        let request = authorizer::on(&target.kind, verb, &target.namespace, &target.name, target.subresource);
        self.allow(verb, target, request).await
    }

    /// Asks for the right, and writes down where there is none.
    async fn allow(&self, verb: &'static str, target: &Target, request: Attributes) -> Result<Allowed<'a>, Status> {
        let allowed = self.app.authorizer.allow(self.app, &self.caller.user, request).await;
        allowed.inspect_err(|status| audit::refused(self.app, self.caller, verb, target, status))
    }

    /// Whether the caller may do this: asked before a body or an option is read, or anything is said about them.
    ///
    /// # Errors
    /// 401 or 403, and 405 to those who may.
    pub(crate) async fn permit<V: Verb>(self, target: &'a Target) -> Result<Permitted<'a, V>, Status> {
        let allowed = self.authorize(V::NAME, target).await?;
        served(target, V::NAME)?;
        Ok(Permitted { call: self, target, allowed, verb: PhantomData })
    }

    /// [`Call::permit`] and [`Permitted::enter`], where there is nothing to be said between them.
    ///
    /// # Errors
    /// Those of both.
    pub(crate) async fn enter<V: Verb>(self, target: &'a Target) -> Result<Entered<'a, V>, Status> {
        self.permit(target).await?.enter().await
    }

    /// As [`Call::permit`], for the objects that `target` and `narrowed` select. Selectors that cannot be read are refused later,
    /// to those who may.
    ///
    /// # Errors
    /// As [`Call::permit`].
    pub(crate) async fn permit_selection<V: Verb>(
        self,
        target: &'a Target,
        narrowed: Narrowed,
    ) -> Result<Permitted<'a, V>, Status> {
        let allowed = self.allow(V::NAME, target, selecting(V::NAME, target, narrowed)).await?;
        served(target, V::NAME)?;
        Ok(Permitted { call: self, target, allowed, verb: PhantomData })
    }

    /// A place among the requests in flight, unless there is one already.
    async fn place(&self, allowed: &Allowed<'_>) -> Result<Slot, Status> {
        let write = !matches!(allowed.verb(), "get" | "list");
        if self.caller.seated { Ok(Slot::default()) } else { self.app.place(self.caller, write).await }
    }
}

impl<'a, V: Verb> Permitted<'a, V> {
    /// A place to do it in: taken before a body is read, since bodies in flight are what takes most memory.
    ///
    /// # Errors
    /// 429 when all places are taken.
    pub(crate) async fn enter(self) -> Result<Entered<'a, V>, Status> {
        let slot = self.call.place(&self.allowed).await?;
        let Call { app, caller } = self.call;
        Ok(Entered { app, caller, target: self.target, _slot: slot, verb: PhantomData })
    }
}

impl Permitted<'_, Watch> {
    /// WATCH. Watches are bounded by the streams of their connections, not by the slots of short requests.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn watch(self, query: WatchQuery) -> Result<Watcher, Status> {
        watch::watch(self.call.app, &self.target.kind, query).await
    }
}

impl<V: Verb> Entered<'_, V> {
    fn audit(&self, result: Result<(), &Status>) {
        audit::wrote(self.app, self.caller, V::NAME, self.target, result);
    }
}

impl Entered<'_, Get> {
    /// GET of an object, its status or its scale.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn get(self, resource_version: &str) -> Result<Found, Status> {
        let target = self.target;
        match target.subresource {
            "" if target.kind.computed() => computed::get(self.app, target).await.map(Found::Object),
            "" | "status" | "approval" | "ephemeralcontainers" | "resize" => {
                let mut found = [read::get(self.app, target, resource_version).await?];
                convert::shown(self.app, &target.kind, &mut found).await?;
                let [object] = found;
                Ok(Found::Object(object))
            }
            "scale" => scale::get(self.app, target, resource_version).await.map(|b| Found::Scale(Bytes::from(b))),
            _ => Err(Status::method_not_allowed()),
        }
    }
}

impl Entered<'_, List> {
    /// LIST.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn list(self, query: &ListQuery) -> Result<Listed, Status> {
        let (app, kind) = (self.app, &self.target.kind);
        if kind.computed() {
            return computed::list(app, kind, &query.selection).await;
        }
        let mut listed = read::list(app, kind, query).await?;
        convert::shown(app, kind, &mut listed.items).await?;
        Ok(listed)
    }
}

impl Entered<'_, Create> {
    /// POST.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn create(self, payload: &Payload, options: &WriteOptions) -> Result<Written, Status> {
        let result = self.created(payload, options).await;
        self.audit(result.as_ref().map(drop));
        result
    }

    async fn created(&self, payload: &Payload, options: &WriteOptions) -> Result<Written, Status> {
        let Self { app, caller, target, .. } = *self;
        if target.kind.namespaced && target.namespace.is_empty() {
            return Err(Status::method_not_allowed());
        }
        match (target.subresource, target.kind.resource) {
            ("binding", _) | ("", "bindings") => binding::bind(app, caller, target, payload, options).await,
            ("eviction", _) => eviction::evict(app, caller, target, payload, options).await,
            ("token", _) => token::create(app, caller, target, payload, options).await,
            ("", _) if target.kind.create_only() => review::create(app, caller, target, payload, options).await,
            ("", _) if target.name.is_empty() => create::create(app, caller, target, payload, options).await,
            _ => Err(Status::method_not_allowed()),
        }
    }
}

impl Entered<'_, Update> {
    /// PUT.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn update(self, payload: &Payload, options: &WriteOptions) -> Result<Written, Status> {
        let Self { app, caller, target, .. } = self;
        let result = match target.subresource {
            "" | "status" | "finalize" | "approval" | "ephemeralcontainers" | "resize" => {
                update::update(app, caller, target, payload, options).await
            }
            "scale" => scale::write(app, caller, target, scale::Write::Replace(payload), options).await,
            _ => Err(Status::method_not_allowed()),
        };
        self.audit(result.as_ref().map(drop));
        result
    }
}

impl Entered<'_, Patch> {
    /// PATCH.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn patch(self, kind: PatchType, body: &Bytes, options: &WriteOptions) -> Result<Written, Status> {
        let Self { app, caller, target, .. } = self;
        if kind == PatchType::Strategic && target.kind.custom.is_some() {
            return Err(Status::unsupported_media_type(PatchType::accepted(&target.kind)));
        }
        let asked = Asked::parse(kind, body)?;
        let options = &WriteOptions { patches: true, ..options.clone() };
        let result = match (target.subresource, &asked) {
            ("" | "status" | "approval" | "ephemeralcontainers" | "resize", Asked::Patch(patch)) => {
                patch::patch(app, caller, target, patch, options).await
            }
            ("" | "status" | "approval" | "ephemeralcontainers" | "resize", Asked::Apply(config)) => {
                apply::apply(app, caller, target, config, options).await
            }
            ("scale", Asked::Patch(patch)) => {
                scale::write(app, caller, target, scale::Write::Patch(patch), options).await
            }
            ("scale", Asked::Apply(config)) => {
                scale::write(app, caller, target, scale::Write::Apply(config), &apply::options(options)?).await
            }
            _ => Err(Status::method_not_allowed()),
        };
        self.audit(result.as_ref().map(drop));
        result
    }
}

impl Entered<'_, Delete> {
    /// DELETE.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn delete(self, options: &DeleteOptions) -> Result<Written, Status> {
        let result = delete::delete(self.app, self.caller, self.target, options).await;
        self.audit(result.as_ref().map(drop));
        result
    }
}

impl Entered<'_, DeleteCollection> {
    /// DELETE of a list.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn delete_collection(self, query: &ListQuery, options: &DeleteOptions) -> Result<Listed, Status> {
        let Self { app, caller, target, .. } = self;
        if target.kind.namespaced && target.namespace.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let result = delete_collection::delete_collection(app, caller, target, query, options).await;
        self.audit(result.as_ref().map(drop));
        let mut listed = result?;
        convert::shown(app, &target.kind, &mut listed.items).await?;
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;

    use super::*;

    #[test]
    fn a_selection_is_allowed_by_what_it_names() {
        let check = |resource: &str, (namespace, name): (&str, &str), fields: Option<&str>, expected: [&str; 3]| {
            let kind = kinds::by_resource("", "v1", resource).expect("served");
            let target = Target::new(kind, namespace, name);
            let narrowed = fields.map(|fields| Narrowed::of("", fields, true)).unwrap_or_default();
            let asked = selecting("watch", &target, narrowed);
            let node = asked.fields.iter().find(|required| required.key == "spec.nodeName");
            let node = node.map(|required| required.values.concat()).unwrap_or_default();
            assert_eq!([&*asked.namespace, &*asked.name, &*node], expected, "{resource} {fields:?}");
        };
        check("pods", ("a", ""), Some(""), ["a", "", ""]);
        check("pods", ("a", ""), Some("metadata.name=p"), ["a", "p", ""]);
        check("pods", ("", ""), Some("spec.nodeName=n"), ["", "", "n"]);
        check("namespaces", ("", ""), Some("metadata.name=a"), ["", "a", ""]);
        // What a path names that says `watch`.
        check("pods", ("a", "p"), None, ["a", "p", ""]);
        check("namespaces", ("", "a"), None, ["a", "a", ""]);
        check("nodes", ("", "n"), None, ["", "n", ""]);
    }
}
