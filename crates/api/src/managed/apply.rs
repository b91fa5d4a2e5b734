//! Server-side apply: a configuration merged into an object, and who owns what afterwards.
//!
//! The rules are upstream's (structured-merge-diff): what the configuration says is set and owned; what its manager applied
//! before, says no longer and nobody else owns goes; what others own may only be changed by force.

use super::conflict::Conflicts;
use super::owners::{self, Operation, Owner};
use super::set::Set;
use super::{Write, check, compare, fields, forms, merge};
use crate::decode::conform;
use crate::status::Status;
use crate::table::Type;
use crate::{Object, Value, kinds, value};

/// The annotation in which clients that apply by themselves keep their configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that takes over from that annotation.
const KUBECTL: &str = "kubectl";
/// Who owns what was there before anybody was recorded.
const BEFORE: &str = "before-first-apply";
/// Upstream's bound on all annotations of an object.
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// Applies `config` over `live` (`None`: the object does not exist); the result carries the new `managedFields`.
///
/// `live` and the result are in the form in which the kind is stored, `config` in the one that the write speaks.
///
/// It is canonical but for nulls, zeros and empty values of the configuration, which the writer's canonical form takes out.
///
/// # Errors
/// 400 for a configuration of another kind, 500 for one with fields that the type does not have, 409 with a cause per path for
/// conflicts, all in upstream's words.
pub fn apply(live: Option<&Value>, config: &Value, write: &Write<'_>, force: bool) -> Result<Value, Status> {
    let ty = write.ty.resolve()?;
    check_type(config, write, ty)?;
    if value::get(config, "metadata.managedFields").is_some_and(Value::is_array) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    check::typed(config, ty).map_err(|why| {
        // No reason and 500: upstream's error is no Status there.
        Status::failure(500, "", format!("failed to create typed patch object ({}): {why}", shown(config)))
    })?;
    let given = config;
    let mut config = config.clone();
    conform::scalars(&mut config, ty)?;
    let live = live.map(|live| forms::shown(live, write));
    let state = State::new(live.as_deref(), &config, write, ty);
    let mut new = match state.attempt(force) {
        Err(mut conflicts) => {
            conflicts.excuse(&state.taken_over());
            if !conflicts.is_empty() {
                return Err(conflicts.status());
            }
            state.attempt(true).map_err(Conflicts::status)?
        }
        Ok(new) => new,
    };
    if write.manager == KUBECTL {
        update_last_applied(&mut new, given);
    }
    forms::store(&mut new, write);
    Ok(new)
}

/// `namespace/name; group/version, Kind=Kind`.
fn shown(config: &Value) -> String {
    let text = |path| value::str_at(config, path).unwrap_or_default();
    format!("{}/{}; {}", text("metadata.namespace"), text("metadata.name"), type_of(config))
}

/// `apps/v1, Kind=Deployment`, as Go prints it.
fn type_of(config: &Value) -> String {
    let text = |path| value::str_at(config, path).unwrap_or_default();
    let (group, version) = kinds::split_api_version(text("apiVersion"));
    format!("{group}/{version}, Kind={}", text("kind"))
}

fn check_type(config: &Value, write: &Write<'_>, ty: &Type) -> Result<(), Status> {
    let is = |path, expected: &str| value::str_at(config, path) == Some(expected);
    if is("apiVersion", write.api_version) && is("kind", ty.short_name()) {
        return Ok(());
    }
    Err(Status::bad_request(format!("invalid object type: {}", type_of(config))))
}

/// What an apply starts from.
struct State<'a> {
    live: Value,
    config: &'a Value,
    owners: Vec<Owner>,
    write: &'a Write<'a>,
    ty: &'a Type,
}

impl<'a> State<'a> {
    fn new(live: Option<&Value>, config: &'a Value, write: &'a Write<'a>, ty: &'a Type) -> Self {
        let mut entries = live.map(owners::entries_of).and_then(owners::parse).unwrap_or_default();
        owners::retain_meaningful(&mut entries, write);
        let mut owners: Vec<Owner> = entries.iter().map(Owner::of).collect();
        for owner in &mut owners {
            owner.paths = fields::settled(&owner.paths, ty);
        }
        let mut bare = live.cloned().unwrap_or_else(|| Value::Object(Object::new()));
        value::remove(&mut bare, "metadata.managedFields");
        if owners.is_empty() && live.is_some() {
            owners.extend(before(&bare, write, ty));
        }
        Self { live: bare, config, owners, write, ty }
    }

    /// The new object, or the conflicts that forbid it.
    fn attempt(&self, force: bool) -> Result<Value, Conflicts> {
        let mut set = fields::of(self.config, self.ty);
        self.write.limit(&mut set);
        let mut own = Owner::new(self.write, Operation::Apply, set);
        let (mut last, mut others) = (None, Vec::new());
        for owner in &self.owners {
            if owners::same(&owner.entry, &own.entry) {
                last = Some(owner);
            } else {
                others.push(owner.clone());
            }
        }
        let mut new = merge::merge(&self.live, self.config, self.ty);
        if let Some(last) = last {
            self.prune(&mut new, &last.paths, others.iter().chain([&own]));
        }
        let mut changes = compare::changes(&self.live, &new, self.ty);
        changes.limit(self.write);
        let mut conflicts = Conflicts::default();
        let mut elsewhere = forms::Elsewhere::new(&self.live, &new, self.write);
        for other in &mut others {
            let changes = elsewhere.changes(&other.entry).unwrap_or(&changes);
            conflicts.find(other, &changes.set);
            other.paths.subtract(&changes.set);
            other.paths.subtract(&changes.removed);
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        own.paths.remove_system_fields();
        self.date(&mut own, last, new != self.live);
        others.push(own);
        let entries = others.into_iter().filter(|o| !o.paths.is_empty()).map(Owner::into_entry);
        owners::put(&mut new, entries.collect());
        Ok(new)
    }

    /// The time of an apply that changes nothing is that of the last one.
    fn date(&self, own: &mut Owner, last: Option<&Owner>, changed: bool) {
        match last.filter(|last| !changed && last.paths == own.paths) {
            Some(last) => {
                if let Some(at) = value::get(&last.entry, "time") {
                    value::set(&mut own.entry, "time", at.clone());
                }
            }
            None => owners::touch(&mut own.entry, self.write.now),
        }
    }

    /// Takes out what the manager applied before and nobody owns now.
    fn prune<'o>(&self, merged: &mut Value, last: &Set, owners: impl Iterator<Item = &'o Owner>) {
        let of = |object: &Value| fields::named(&fields::of(object, self.ty), self.ty);
        let all = of(merged);
        let last = fields::named(last, self.ty);
        // An object never loses its metadata as a whole.
        let mut owned = Set::path("metadata");
        for owner in owners {
            owned.unite(&owner.paths);
        }
        let owned = fields::named(&owned, self.ty);
        // What the configuration says is null is that, when all in it has gone.
        let mut kept = owned.clone();
        kept.subtract(&fields::nulls(self.config, self.ty));

        let mut without_last = merged.clone();
        merge::remove(&mut without_last, &last, &kept, self.ty);
        let mut unowned = all.clone();
        unowned.subtract(&of(&without_last));
        unowned.subtract(&owned);

        let mut only_owned = merged.clone();
        merge::remove(&mut only_owned, &unowned, &kept, self.ty);
        let mut gone = all;
        gone.subtract(&of(&only_owned));
        merge::remove(merged, &gone.common(&last), &kept, self.ty);
    }

    /// The paths that kubectl may take over, because the client's own apply set them and they still are as it set them.
    fn taken_over(&self) -> Set {
        if self.write.manager != KUBECTL {
            return Set::default();
        }
        self.last_applied().unwrap_or_default()
    }

    fn last_applied(&self) -> Option<Set> {
        let text = value::map_at(&self.live, "metadata.annotations")?.get(LAST_APPLIED)?.as_str()?;
        let mut config: Value = serde_json::from_str(text).ok()?;
        if value::str_at(&config, "apiVersion") != Some(self.write.api_version) {
            return None;
        }
        check::typed(&config, self.ty).ok()?;
        conform::scalars(&mut config, self.ty).ok()?;
        let mut set = fields::of(&config, self.ty);
        let changes = compare::changes(&config, &self.live, self.ty);
        set.subtract(&changes.set);
        set.subtract(&changes.removed);
        Some(set)
    }
}

/// The owner of what an object without entries holds.
fn before(live: &Value, write: &Write<'_>, ty: &Type) -> Option<Owner> {
    let changes = compare::changes(&Value::Object(Object::new()), live, ty);
    let mut paths = changes.set;
    write.limit(&mut paths);
    paths.remove_system_fields();
    let mut owner = Owner::new(&Write { manager: BEFORE, ..*write }, Operation::Update, paths);
    owners::touch(&mut owner.entry, write.now);
    (!owner.paths.is_empty()).then_some(owner)
}

/// Writes the configuration into the annotation of clients that apply by themselves, where there is one, so that they agree.
fn update_last_applied(object: &mut Value, config: &Value) {
    let annotations = value::get_mut(object, "metadata.annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(own) = value::get_mut(&mut config, "metadata.annotations").and_then(Value::as_object_mut) {
        own.remove(LAST_APPLIED);
    }
    // As Go's encoder writes it, so that both kinds of clients find the same bytes.
    let text = config.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n";
    annotations.insert(LAST_APPLIED.to_owned(), Value::from(text));
    let bytes: usize = annotations.iter().map(|(name, text)| name.len() + text.as_str().map_or(0, str::len)).sum();
    if bytes > MAX_ANNOTATIONS_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
