//! The calls that REST and gRPC share: authorise, limit, and hand over to the part of the pipeline that is meant.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::kinds::{KindInfo, Kinds};
use gantry_api::status::Status;
use gantry_store::cache::Object;

use crate::app::App;
use crate::audit;
use crate::auth::MASTERS;
use crate::computed;
use crate::custom::convert;
use crate::pipeline::options::DeleteOptions;
use crate::pipeline::patch::{Asked, PatchType};
use crate::pipeline::read::{ListQuery, Listed};
use crate::pipeline::selection::Selection;
use crate::pipeline::watch::{WatchQuery, Watcher};
use crate::pipeline::{
    Written, apply, binding, create, delete, delete_collection, eviction, patch, read, review, scale, token, update,
    watch,
};
use crate::rbac::authorizer;
use crate::request::{Caller, Payload, Target, WriteOptions};
use crate::server::limits::Slot;

/// What a GET found.
pub(crate) enum Found {
    Object(Arc<Object>),
    /// A finished answer (Scale).
    Plain(Bytes),
}

/// The right to one call and its place among those in flight, as long as it is held.
#[must_use]
pub(crate) struct Entered(#[expect(dead_code, reason = "held for its end")] Slot);

/// A call of one caller.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) caller: &'a Caller,
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

impl Call<'_> {
    /// Whether the caller may do this.
    ///
    /// # Errors
    /// 401 or 403.
    pub(crate) fn authorize(&self, verb: &str, target: &Target) -> Result<(), Status> {
        let request = authorizer::on(target.kind, verb, &target.namespace, &target.name, target.subresource);
        self.app.authorizer.require(&self.caller.user, &request)
    }

    /// As [`Call::authorize`], for a selection. Whoever may read one object by name may list it by name.
    fn authorize_selection(&self, verb: &str, target: &Target, selection: &Selection) -> Result<(), Status> {
        let mut request = authorizer::on(target.kind, verb, &target.namespace, "", "");
        selection.name().unwrap_or_default().clone_into(&mut request.name);
        selection.node().unwrap_or_default().clone_into(&mut request.node_selector);
        self.app.authorizer.require(&self.caller.user, &request)?;
        served(target, verb)
    }

    /// Whether the caller may do this, and a place to do it in: taken before a body is read, since bodies in flight are what
    /// takes most memory.
    ///
    /// # Errors
    /// 401, 403, 405, and 429 when all places are taken.
    pub(crate) async fn enter(&self, verb: &str, target: &Target) -> Result<Entered, Status> {
        self.authorize(verb, target)?;
        served(target, verb)?;
        self.slot(verb != "get").await.map(Entered)
    }

    async fn slot(&self, write: bool) -> Result<Slot, Status> {
        if self.caller.seated {
            return Ok(None);
        }
        let master = self.caller.user.in_group(MASTERS);
        self.app.limits.enter(write, master).await.inspect_err(|_| self.app.metrics.refused.add(1))
    }

    /// GET of an object, its status or its scale.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn get(&self, target: &Target, resource_version: &str) -> Result<Found, Status> {
        let _slot = self.enter("get", target).await?;
        match target.subresource {
            "" if target.kind.computed() => computed::get(self.app, target).await.map(Found::Object),
            "" | "status" | "approval" | "ephemeralcontainers" | "resize" => {
                let mut found = [read::get(self.app, target, resource_version).await?];
                convert::shown(self.app, target.kind, &mut found).await?;
                let [object] = found;
                Ok(Found::Object(object))
            }
            "scale" => scale::get(self.app, target, resource_version).await.map(|b| Found::Plain(Bytes::from(b))),
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// LIST.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn list(
        &self,
        kind: &'static KindInfo,
        namespace: &str,
        query: &ListQuery,
    ) -> Result<Listed, Status> {
        self.authorize_selection("list", &Target::new(kind, namespace, ""), &query.selection)?;
        let _slot = self.slot(false).await?;
        if kind.computed() {
            return computed::list(self.app, kind, &query.selection).await;
        }
        let mut listed = read::list(self.app, kind, query).await?;
        convert::shown(self.app, kind, &mut listed.items).await?;
        Ok(listed)
    }

    /// WATCH.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn watch(
        &self,
        kind: &'static KindInfo,
        namespace: &str,
        query: WatchQuery,
    ) -> Result<Watcher, Status> {
        // Watches are bounded by the streams of their connections, not by the slots of short requests.
        self.authorize_selection("watch", &Target::new(kind, namespace, ""), &query.selection)?;
        watch::watch(self.app, kind, query).await
    }

    /// POST.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn create(
        &self,
        _entered: &Entered,
        target: &Target,
        payload: &Payload,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let result = self.created(target, payload, options).await;
        audit::annotated(self.app, self.caller, "create", target, result.as_ref().map(drop));
        result
    }

    async fn created(&self, target: &Target, payload: &Payload, options: &WriteOptions) -> Result<Written, Status> {
        if target.kind.namespaced && target.namespace.is_empty() {
            return Err(Status::method_not_allowed());
        }
        match (target.subresource, target.kind.resource) {
            ("binding", _) | ("", "bindings") => binding::bind(self.app, self.caller, target, payload, options).await,
            ("eviction", _) => eviction::evict(self.app, self.caller, target, payload, options).await,
            ("token", _) => token::create(self.app, self.caller, target, payload, options).await,
            ("", _) if target.kind.create_only() => {
                review::create(self.app, self.caller, target, payload, options).await
            }
            ("", _) if target.name.is_empty() => create::create(self.app, self.caller, target, payload, options).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// PUT.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn update(
        &self,
        _entered: &Entered,
        target: &Target,
        payload: &Payload,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let result = match target.subresource {
            "" | "status" | "finalize" | "approval" | "ephemeralcontainers" | "resize" => {
                update::update(self.app, self.caller, target, payload, options).await
            }
            "scale" => scale::write(self.app, self.caller, target, scale::Write::Replace(payload), options).await,
            _ => Err(Status::method_not_allowed()),
        };
        audit::annotated(self.app, self.caller, "update", target, result.as_ref().map(drop));
        result
    }

    /// PATCH.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn patch(
        &self,
        _entered: &Entered,
        target: &Target,
        kind: PatchType,
        body: &Bytes,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        if kind == PatchType::Strategic && target.kind.custom.is_some() {
            return Err(Status::unsupported_media_type(PatchType::accepted(target.kind)));
        }
        let asked = Asked::parse(kind, body)?;
        let (app, caller) = (self.app, self.caller);
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
        audit::annotated(app, caller, "patch", target, result.as_ref().map(drop));
        result
    }

    /// DELETE.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn delete(
        &self,
        _entered: &Entered,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Written, Status> {
        let result = delete::delete(self.app, self.caller, target, options).await;
        audit::annotated(self.app, self.caller, "delete", target, result.as_ref().map(drop));
        result
    }

    /// DELETE of a list.
    ///
    /// # Errors
    /// A Status in upstream's words.
    pub(crate) async fn delete_collection(
        &self,
        _entered: &Entered,
        target: &Target,
        query: &ListQuery,
        options: &DeleteOptions,
    ) -> Result<Listed, Status> {
        if target.kind.namespaced && target.namespace.is_empty() {
            return Err(Status::method_not_allowed());
        }
        let result = delete_collection::delete_collection(self.app, self.caller, target, query, options).await;
        audit::annotated(self.app, self.caller, "deletecollection", target, result.as_ref().map(drop));
        let mut listed = result?;
        convert::shown(self.app, target.kind, &mut listed.items).await?;
        Ok(listed)
    }
}
