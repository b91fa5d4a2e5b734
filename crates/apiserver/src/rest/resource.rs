//! Requests about resources: verbs, options and bodies to calls, results to answers.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{encode, field};
use http::{HeaderValue, Method, header};

use super::answer::{self, Style};
use super::handler::{self, Incoming, Unread, read_body};
use super::proxy;
use super::query::Query;
use super::{log, negotiate, stream, watch};
use crate::app::App;
use crate::calls::{self, Call, Create, Delete, DeleteCollection, Found, Get, List, Patch, Update};
use crate::metrics::requests::{Labels, Sizing, Verb};
use crate::pipeline::options::{self, DeleteOptions};
use crate::pipeline::patch::PatchType;
use crate::pipeline::read::{self, ListQuery, Listed};
use crate::pipeline::selection::{Narrowed, Selection};
use crate::pipeline::{Outcome, Written};
use crate::request::{FieldValidation, Format, Payload, Target, WriteOptions, manager_errors};
use crate::route::ResourcePath;
use crate::server::Response;
use crate::view::{Include, ListMeta, Shape, View};

/// Lists are sent in pieces of about this size, made as the client takes them.
const CHUNK_BYTES: usize = 128 * 1024;

/// Answers a request about a resource.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: &Incoming,
    body: &mut Unread,
    path: ResourcePath,
    labels: &mut Labels,
) -> Result<Response, Status> {
    let kinds = app.kinds.kinds();
    let of_version = |kind: &KindInfo| kind.group == path.group && kind.version == path.version;
    if !kinds.all().any(|kind| of_version(kind) && (kind.custom.is_none() || kind.resource == path.resource)) {
        handler::require(app, request, &path).await?;
        return Ok(answer::text(404, "404 page not found\n"));
    }
    if path.subresource != "proxy" && !path.rest.trim_matches('/').is_empty() {
        handler::require(app, request, &path).await?;
        return Err(Status::no_such_resource());
    }
    let resource = (path.group.as_str(), path.version.as_str(), path.resource.as_str());
    let is_custom = kinds.by_resource(resource.0, resource.1, resource.2).is_some_and(|kind| kind.custom.is_some());
    let target = match calls::target(&kinds, resource, &path.namespace, &path.name, &path.subresource) {
        Err(status) if status.code == 404 => {
            handler::require(app, request, &path).await?;
            if !is_custom {
                return Err(status);
            }
            // No router of upstream's knows the paths of custom kinds.
            return if path.subresource.is_empty() {
                Ok(answer::text(404, "404 page not found\n"))
            } else {
                Err(Status::not_found(&path.group, &path.resource, &path.name))
            };
        }
        found => found?,
    };
    labels.about(&target);
    if path.watch && (request.method != Method::GET || !target.subresource.is_empty()) {
        // Upstream takes it for a watch whatever the method is, and has no route for it.
        call(app, request).authorize("watch", &target).await?;
        let is_known = target.subresource.is_empty();
        return Err(if is_known { Status::method_not_allowed() } else { Status::no_such_resource() });
    }
    if stream::serves(&target) {
        labels.verb = Verb::Connect;
        return stream::start(app, request, body.is_empty(), &target).await;
    }
    if target.subresource == "proxy" {
        labels.verb = Verb::Connect;
        return proxy::handle(app, request, body.take()?, &target, &path.rest).await;
    }
    let mut response = dispatch(app, request, body, &target, path.watch, labels).await?;
    if let Some(deprecation) = &target.kind.deprecation {
        answer::warn(&mut response, &[deprecation.to_string()]);
    }
    Ok(response)
}

async fn dispatch(
    app: &Arc<App>,
    request: &Incoming,
    body: &mut Unread,
    target: &Target,
    by_path: bool,
    labels: &mut Labels,
) -> Result<Response, Status> {
    // An object is read whatever `watch` says: upstream watches lists, and single objects under `/watch/` alone.
    let is_watch = by_path || (target.name.is_empty() && request.query.flag("watch"));
    match (request.method.clone(), target.name.is_empty()) {
        // Upstream authorises it as the GET that it stands for, but no route of its knows it but those of custom kinds.
        (Method::HEAD, unnamed) if target.kind.custom.is_none() => {
            let verb = if is_watch { "watch" } else { "list" };
            let allowed = call(app, request).authorize(if unnamed { verb } else { "get" }, target).await;
            Err(allowed.err().unwrap_or_else(Status::method_not_allowed))
        }
        (Method::GET, _) if target.subresource == "log" => {
            labels.verb = Verb::Connect;
            log::get(app, request, target).await
        }
        (Method::GET, _) if is_watch => {
            labels.verb = Verb::Watch;
            watch::start(app, request, target, by_path, labels).await
        }
        (Method::GET | Method::HEAD, false) => get(app, request, target).await,
        (Method::GET | Method::HEAD, true) => {
            labels.verb = Verb::List;
            list(app, request, target, labels).await
        }
        (Method::POST, _) => create(app, request, body, target).await,
        (Method::PUT, false) => update(app, request, body, target).await,
        (Method::PATCH, false) => {
            if request.header(header::CONTENT_TYPE).starts_with("application/apply-patch") {
                labels.verb = Verb::Apply;
            }
            patch(app, request, body, target).await
        }
        (Method::DELETE, unnamed) => {
            if unnamed {
                return delete_collection(app, request, body, target).await;
            }
            delete(app, request, body, target).await
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// The form that the client asked for: what is shown, and how it is written.
///
/// # Errors
/// 406, and 400 for an unknown `includeObject`.
fn shape(app: &App, request: &Incoming, target: &Target) -> Result<(Shape, Style), Status> {
    // What is no object of a kind: upstream has no columns for them. A Scale has its own.
    let is_rowless = matches!(target.subresource, "token" | "binding" | "eviction") || target.kind.create_only();
    shape_of(app, request, target, !is_rowless)
}

/// As [`shape`]; `rows`: whether there are tables.
///
/// # Errors
/// As [`shape`].
pub(super) fn shape_of(app: &App, request: &Incoming, target: &Target, rows: bool) -> Result<(Shape, Style), Status> {
    let accept = request.header(header::ACCEPT);
    let include = match request.query.get("includeObject") {
        "" | "Metadata" => Include::Metadata,
        "None" => Include::None,
        "Object" => Include::Object,
        other => {
            return Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            )));
        }
    };
    let chosen = if rows { negotiate::chosen(accept)? } else { negotiate::chosen_without_rows(accept)? };
    let (view, style) = (chosen.view, request.style.in_format(chosen.format));
    // Fields of custom kinds have no numbers; those of what is made of every kind have.
    if style.protobuf && target.kind.custom.is_some() && view == View::Full && target.subresource != "scale" {
        return Err(negotiate::refused_of_custom());
    }
    Ok((Shape { view, include, now: app.clock.now() }, style))
}

async fn get(app: &Arc<App>, request: &Incoming, target: &Target) -> Result<Response, Status> {
    let permitted = call(app, request).permit::<Get>(target).await?;
    let (shape, style) = shape(app, request, target)?;
    let found = permitted.enter().await?.get(request.query.get("resourceVersion")).await?;
    check_metadata(request, shape, target, false)?;
    let bytes = match found {
        Found::Object(object) => shape.one(&target.kind, object.encoded(), object.rv()),
        Found::Scale(bytes) => shape.plain(bytes),
    };
    Ok(answer::json(200, bytes, style))
}

/// Whether what was found can be shown as the metadata that the client asked for: that of one object, or of a list.
fn check_metadata(request: &Incoming, shape: Shape, target: &Target, is_list: bool) -> Result<(), Status> {
    match shape.view {
        View::Metadata(_) => {
            negotiate::check_metadata(request.header(header::ACCEPT), is_list, &go_type(target, is_list))
        }
        View::Full | View::Table(_) => Ok(()),
    }
}

/// Upstream's Go type of the object, or of a list of the kind, as its refusals name it.
fn go_type(target: &Target, is_list: bool) -> String {
    let (kind, list) = (&target.kind, if is_list { "List" } else { "" });
    match (target.subresource, kind.custom.is_some()) {
        ("scale", true) => return "*v1.Scale".to_owned(),
        ("scale", false) => return "*autoscaling.Scale".to_owned(),
        ("token", _) => return "*authentication.TokenRequest".to_owned(),
        (_, true) => return format!("*unstructured.Unstructured{list}"),
        _ => {}
    }
    // The internal types, whose packages have the names of the groups but for these.
    let package = match kind.group {
        "" | "events.k8s.io" => "core",
        "internal.apiserver.k8s.io" => "apiserverinternal",
        group => group.split('.').next().unwrap_or(group),
    };
    format!("*{package}.{}{list}", kind.kind)
}

/// What a list or watch narrows itself to, as far as it can be read.
pub(super) fn narrowed(query: &Query) -> Narrowed {
    let readable = ["limit", "timeoutSeconds"].iter().all(|name| query.number(name).is_ok());
    Narrowed::of(query.get("labelSelector"), query.get("fieldSelector"), readable)
}

/// What a list request asks for.
///
/// # Errors
/// 400 for selectors and numbers that cannot be read, 422 for `sendInitialEvents`.
pub(crate) fn list_query(query: &Query, target: &Target) -> Result<ListQuery, Status> {
    // It bounds watches, but has to be a number in lists too.
    query.number("timeoutSeconds")?;
    let (labels, fields) = (query.get("labelSelector"), query.get("fieldSelector"));
    let found = ListQuery {
        selection: Selection::parse(&target.kind, &target.namespace, labels, fields)?,
        limit: usize::try_from(query.number("limit")?.unwrap_or(0)).unwrap_or(0),
        continue_token: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        resource_version_match: query.get("resourceVersionMatch").to_owned(),
    };
    read::check_parameters(&found, query.has("sendInitialEvents"))?;
    Ok(found)
}

async fn list(app: &Arc<App>, request: &Incoming, target: &Target, labels: &Labels) -> Result<Response, Status> {
    let permitted = call(app, request).permit_selection::<List>(target, narrowed(&request.query)).await?;
    let query = list_query(&request.query, target)?;
    let (shape, style) = shape(app, request, target)?;
    let mut listed = permitted.enter().await?.list(&query).await?;
    check_metadata(request, shape, target, true)?;
    let warnings = std::mem::take(&mut listed.warnings);
    let sizing = || app.metrics.requests.sizing(labels);
    let mut response = listed_answer(target, (shape, style), listed, sizing).await;
    answer::warn(&mut response, &warnings);
    Ok(response)
}

/// `sizing` counts the bytes of a list that is made while it is sent.
async fn listed_answer(
    target: &Target,
    (shape, style): (Shape, Style),
    listed: Listed,
    sizing: impl FnOnce() -> Option<Sizing>,
) -> Response {
    if style.protobuf {
        return protobuf_list(&target.kind, (shape, style), listed, sizing).await;
    }
    let kind = target.kind.clone();
    let meta =
        ListMeta { revision: listed.revision, continue_token: listed.continue_token, remaining: listed.remaining };
    let mut head = Some(shape.list_head(&kind, &meta));
    let mut items = listed.items.into_iter().enumerate();
    let mut ended = false;
    let next_chunk = move || {
        if ended {
            return None;
        }
        let mut chunk = head.take().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8));
        while chunk.len() < CHUNK_BYTES {
            let Some((at, object)) = items.next() else {
                chunk.extend_from_slice(b"]}");
                ended = true;
                break;
            };
            if at > 0 {
                chunk.push(b',');
            }
            shape.item(&kind, object.encoded(), object.rv(), &mut chunk);
        }
        Some(Bytes::from(chunk))
    };
    let mut chunks = std::iter::from_fn(next_chunk).peekable();
    if style.pretty || style.yaml {
        let whole: Vec<u8> = chunks.flatten().collect();
        return answer::json(200, Bytes::from(whole), style);
    }
    let first = chunks.next().unwrap_or_default();
    if chunks.peek().is_none() {
        return answer::json(200, first, style);
    }
    let chunks = std::iter::once(first).chain(chunks);
    answer::chunked("application/json", chunks, style.gzip, counting(sizing()))
}

/// Counts the bytes that are sent.
fn counting(mut sizing: Option<Sizing>) -> impl FnMut(usize) + Send + 'static {
    move |bytes| {
        if let Some(sizing) = &mut sizing {
            sizing.add(bytes);
        }
    }
}

/// A list in protobuf. The length of the whole stands at its beginning, so all of it is written before it is sent, one object after
/// the other; others have their turn in between.
async fn protobuf_list(
    kind: &KindInfo,
    (shape, style): (Shape, Style),
    listed: Listed,
    sizing: impl FnOnce() -> Option<Sizing>,
) -> Response {
    const ITEMS_IN_A_ROW: usize = 64;
    let meta =
        ListMeta { revision: listed.revision, continue_token: listed.continue_token, remaining: listed.remaining };
    let mut json = shape.list_head(kind, &meta);
    json.extend_from_slice(b"]}");
    let parsed = |json: &[u8]| -> gantry_api::Value { serde_json::from_slice(json).unwrap_or_default() };
    let Some(mut list) = encode::List::new(parsed(&json)) else {
        return answer::status(&negotiate::refused(), style.in_format(Format::Json));
    };
    for row in listed.items.chunks(ITEMS_IN_A_ROW) {
        for object in row {
            json.clear();
            shape.item(kind, object.encoded(), object.rv(), &mut json);
            list.push(&parsed(&json));
        }
        tokio::task::yield_now().await;
    }
    answer::protobuf(list.finish(), style.gzip, || counting(sizing()))
}

/// The options of a write, from the query; `kind` is what upstream calls them, `errors` what is wrong already.
///
/// # Errors
/// 422 for values that are not known.
fn write_options(query: &Query, kind: &str, mut errors: Vec<field::Error>) -> Result<WriteOptions, Status> {
    let (manager, fields) = (query.get("fieldManager"), query.get("fieldValidation"));
    errors.extend(manager_errors(manager));
    let dry_run = options::dry_run(query.all("dryRun")).unwrap_or_else(|error| {
        errors.push(error);
        false
    });
    let field_validation = FieldValidation::parse(fields, FieldValidation::Warn).unwrap_or_else(|error| {
        errors.push(error);
        FieldValidation::Warn
    });
    if !errors.is_empty() {
        return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
    }
    Ok(WriteOptions { dry_run, field_manager: manager.to_owned(), field_validation, applies: false, patches: false })
}

fn call<'a>(app: &'a Arc<App>, request: &'a Incoming) -> Call<'a> {
    Call { app, caller: &request.caller }
}

async fn payload(content_type: &str, body: &mut Unread) -> Result<Payload, Status> {
    let format = negotiate::format(content_type)?;
    Ok(Payload { bytes: read_body(body).await?, format })
}

fn written(target: &Target, (shape, style): (Shape, Style), written: Written, request: &Incoming) -> Response {
    let code = written.code;
    // As upstream, which writes first and then sees that it cannot show it.
    let shown = |show: &dyn Fn() -> Bytes| match check_metadata(request, shape, target, false) {
        Ok(()) => answer::json(code.as_u16(), show(), style),
        Err(refused) => answer::status(&refused, style),
    };
    let mut response = match written.outcome {
        // A dry run of a create has stored nothing: its revision is 0, and no version is shown.
        Outcome::Object { encoded, revision } => shown(&|| shape.one(&target.kind, &encoded, revision)),
        Outcome::Plain(bytes) => shown(&|| shape.plain(bytes.clone())),
        Outcome::Status(status) => answer::status(&status, style),
    };
    answer::warn(&mut response, &written.warnings);
    response
}

async fn create(app: &Arc<App>, request: &Incoming, body: &mut Unread, target: &Target) -> Result<Response, Status> {
    let permitted = call(app, request).permit::<Create>(target).await?;
    let (shape, options) = (shape(app, request, target)?, write_options(&request.query, "CreateOptions", Vec::new())?);
    let entered = permitted.enter().await?;
    let payload = payload(request.header(header::CONTENT_TYPE), body).await?;
    Ok(written(target, shape, entered.create(&payload, &options).await?, request))
}

async fn update(app: &Arc<App>, request: &Incoming, body: &mut Unread, target: &Target) -> Result<Response, Status> {
    let permitted = call(app, request).permit::<Update>(target).await?;
    let (shape, options) = (shape(app, request, target)?, write_options(&request.query, "UpdateOptions", Vec::new())?);
    let entered = permitted.enter().await?;
    let payload = payload(request.header(header::CONTENT_TYPE), body).await?;
    Ok(written(target, shape, entered.update(&payload, &options).await?, request))
}

async fn patch(app: &Arc<App>, request: &Incoming, body: &mut Unread, target: &Target) -> Result<Response, Status> {
    let permitted = call(app, request).permit::<Patch>(target).await?;
    let shape = shape(app, request, target)?;
    let accepted = PatchType::accepted(&target.kind);
    let kind = match PatchType::parse(request.header(header::CONTENT_TYPE)) {
        Ok(PatchType::Strategic) if target.kind.custom.is_some() => Err(Status::unsupported_media_type(accepted)),
        other => other,
    };
    let kind = match kind {
        Ok(kind) => kind,
        Err(status) if status.code == 415 => {
            let mut response = answer::status(&status, request.style);
            response.headers_mut().insert("accept-patch", HeaderValue::from_static(accepted));
            return Ok(response);
        }
        Err(status) => return Err(status),
    };
    let force = request.query.has("force").then(|| request.query.flag("force"));
    let (kind, errors) = kind.checked(force, request.query.get("fieldManager"));
    let options = write_options(&request.query, "PatchOptions", errors)?;
    let entered = permitted.enter().await?;
    let body = read_body(body).await?;
    Ok(written(target, shape, entered.patch(kind, &body, &options).await?, request))
}

/// DeleteOptions of the body, or where there is none, of the query: as upstream, which reads one of the two.
fn delete_options(query: &Query, body: &Bytes, content_type: &str) -> Result<DeleteOptions, Status> {
    if !body.is_empty() {
        let payload = Payload { bytes: body.clone(), format: negotiate::format(content_type)? };
        return DeleteOptions::from_value(&options::decode(&payload)?);
    }
    let mut said = serde_json::json!({"dryRun": query.all("dryRun")});
    if let Some(seconds) = query.number("gracePeriodSeconds")? {
        said["gracePeriodSeconds"] = seconds.into();
    }
    if query.has("orphanDependents") {
        said["orphanDependents"] = query.flag("orphanDependents").into();
    }
    if !query.get("propagationPolicy").is_empty() {
        said["propagationPolicy"] = query.get("propagationPolicy").into();
    }
    DeleteOptions::from_value(&said)
}

async fn delete(app: &Arc<App>, request: &Incoming, body: &mut Unread, target: &Target) -> Result<Response, Status> {
    let permitted = call(app, request).permit::<Delete>(target).await?;
    let shape = shape(app, request, target)?;
    let entered = permitted.enter().await?;
    let options = delete_options(&request.query, &read_body(body).await?, request.header(header::CONTENT_TYPE))?;
    Ok(written(target, shape, entered.delete(&options).await?, request))
}

async fn delete_collection(
    app: &Arc<App>,
    request: &Incoming,
    body: &mut Unread,
    target: &Target,
) -> Result<Response, Status> {
    let narrowed = Narrowed::of_deletion(request.query.get("labelSelector"), request.query.get("fieldSelector"));
    let permitted = call(app, request).permit_selection::<DeleteCollection>(target, narrowed).await?;
    let form = shape(app, request, target)?;
    let entered = permitted.enter().await?;
    let options = delete_options(&request.query, &read_body(body).await?, request.header(header::CONTENT_TYPE))?;
    let query = list_query(&request.query, target)?;
    let listed = entered.delete_collection(&query, &options).await?;
    check_metadata(request, form.0, target, true)?;
    // It is what went, and nothing goes on from there.
    let gone = Listed { continue_token: String::new(), remaining: None, ..listed };
    Ok(listed_answer(target, form, gone, || None).await)
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;

    use super::*;

    #[test]
    fn types_are_named_as_in_go() {
        let check = |group: &str, version: &str, resource: &str, subresource: &'static str, one: &str, list: &str| {
            let kind = kinds::by_resource(group, version, resource).expect("served");
            let target = Target { subresource, ..Target::new(kind, "n", "x") };
            assert_eq!((go_type(&target, false).as_str(), go_type(&target, true).as_str()), (one, list));
        };
        check("", "v1", "services", "", "*core.Service", "*core.ServiceList");
        check("events.k8s.io", "v1", "events", "", "*core.Event", "*core.EventList");
        check("rbac.authorization.k8s.io", "v1", "roles", "", "*rbac.Role", "*rbac.RoleList");
        check("apps", "v1", "deployments", "status", "*apps.Deployment", "*apps.DeploymentList");
        check("apps", "v1", "deployments", "scale", "*autoscaling.Scale", "*autoscaling.Scale");
    }
}
