//! What holds for the configurations of every kind, which are made from the type table.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::super::rule::Rule;
use super::super::set::OF_METADATA;
use super::*;
use crate::kinds::KindInfo;
use crate::table::{Field, FieldType, ListType, TypeRef, TypeTable};
use crate::{canon, managed};

/// How often each law is tried with each kind.
const SEEDS: u64 = 6;
/// Below this nothing is set.
const DEPTH: usize = 8;

/// One kind and what is random about one try.
struct Try {
    kind: &'static KindInfo,
    ty: &'static Type,
    random: StdRng,
    depth: usize,
}

/// Tries a law with every kind that is stored as it is spoken.
fn every_kind(law: impl Fn(&mut Try)) {
    for kind in kinds::all().iter().filter(|kind| kind.stored() && !kind.is_converted()) {
        let ty = TypeTable::builtin().ty(&kind.type_name).expect("a type");
        for seed in 0..SEEDS {
            let mut one = Try { kind, ty, random: StdRng::seed_from_u64(seed), depth: 0 };
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| law(&mut one)));
            assert!(held.is_ok(), "{} with seed {seed}, see above", kind.type_name);
        }
    }
}

impl Try {
    fn text(&mut self) -> Value {
        ["a", "b", "c"][self.random.random_range(0..3)].into()
    }

    /// A value in which nothing is null, zero or empty: such values are owned without being there.
    fn value(&mut self, ty: &'static FieldType) -> Option<Value> {
        Some(match ty {
            FieldType::String => self.text(),
            FieldType::Bytes => ["AQI=", "AQM="][self.random.random_range(0..2)].into(),
            FieldType::Bool => true.into(),
            FieldType::Int32 | FieldType::Int64 => self.random.random_range(1..4).into(),
            FieldType::Double => 1.5.into(),
            FieldType::Time => format!("2026-01-02T03:04:0{}Z", self.random.random_range(1..4)).into(),
            FieldType::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
            FieldType::Quantity => ["1", "2Gi", "3m"][self.random.random_range(0..3)].into(),
            FieldType::IntOrString => [json!(5), json!("5%")][self.random.random_range(0..2)].clone(),
            FieldType::Raw | FieldType::Any | FieldType::Open => json!({"a": self.text()}),
            FieldType::Merged(field) => return self.field(field),
            FieldType::Struct(id) => {
                return self.object(TypeTable::builtin().get(id), &[]).filter(|object| !is_hollow(object));
            }
            FieldType::List(item) => {
                let items: Vec<Value> = (0..2).filter_map(|_| self.value(item)).collect();
                return (!items.is_empty()).then(|| items.into());
            }
            FieldType::Map(item) => {
                let mut map = Object::new();
                for name in ["a", "b/c", "d"] {
                    if self.random.random_bool(0.5)
                        && let Some(value) = self.value(item)
                    {
                        map.insert(name.to_owned(), value);
                    }
                }
                return (!map.is_empty()).then(|| map.into());
            }
        })
    }

    fn object(&mut self, ty: &'static Type, keys: &[&str]) -> Option<Value> {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let mut object = Object::new();
        for (name, field) in &ty.fields {
            let is_the_servers = ty.short_name() == "ObjectMeta" && OF_METADATA.contains(&format!("f:{name}").as_str());
            let of_ten = if self.depth < 4 { 5 } else { 2 };
            let is_key = keys.contains(name) && field.default.is_none();
            if (is_key || self.random.random_ratio(of_ten, 10))
                && !is_the_servers
                && let Some(value) = self.field(field)
            {
                object.insert((*name).to_owned(), value);
            }
        }
        self.depth -= 1;
        Some(object.into())
    }

    fn field(&mut self, field: &'static Field) -> Option<Value> {
        let FieldType::List(item) = &field.ty else { return self.value(&field.ty) };
        if field.list_type == ListType::Atomic {
            return self.value(&field.ty);
        }
        let mut items: Vec<(String, Value)> = Vec::new();
        for _ in 0..3 {
            let item = match TypeTable::builtin().fields_of(item) {
                Some(ty) => self.object(ty, &field.map_keys),
                None => self.value(item),
            };
            let Some(item) = item else { continue };
            if let Ok(element) = Rule::of(field).element(&item)
                && items.iter().all(|(other, _)| *other != element)
            {
                items.push((element, item));
            }
        }
        (!items.is_empty()).then(|| items.into_iter().map(|(_, item)| item).collect())
    }

    fn config(&mut self) -> Value {
        let mut config = self.object(self.ty, &[]).expect("not deep");
        if !config["metadata"].is_object() {
            config["metadata"] = json!({});
        }
        config["metadata"]["name"] = "x".into();
        config["apiVersion"] = self.kind.api_version.as_str().into();
        config["kind"] = self.kind.kind.into();
        let whole = self.canonical(config.clone());
        settle(&mut config, &whole, Rule::Struct(self.ty));
        config
    }

    /// A configuration that says nothing.
    fn nothing(&self) -> Value {
        json!({"apiVersion": self.kind.api_version, "kind": self.kind.kind, "metadata": {"name": "x"}})
    }

    fn write<'a>(&'a self, manager: &'a str) -> Write<'a> {
        Write {
            manager,
            api_version: &self.kind.api_version,
            ty: TypeRef::Type(self.ty),
            subresource: "",
            reset: &[],
            settable: &[],
            now: Timestamp::from_second(1_767_323_045).expect("in range"),
        }
    }

    fn canonical(&self, mut object: Value) -> Value {
        canon::canonical(&mut object, &*self.kind.type_name).expect("of the type");
        object
    }

    fn try_apply(&self, live: Option<&Value>, config: &Value, write: &Write<'_>, force: bool) -> Result<Value, Status> {
        apply(live, config, write, force).map(|new| self.canonical(new))
    }

    fn force(&self, live: &Value, config: &Value, manager: &str) -> Value {
        self.try_apply(Some(live), config, &self.write(manager), true).expect("forced")
    }

    fn create(&self, config: &Value, manager: &str) -> Value {
        self.try_apply(None, config, &self.write(manager), false).expect("created")
    }

    /// A plain write.
    fn update(&self, live: Option<&Value>, new: &Value, manager: &str) -> Value {
        let mut new = self.canonical(new.clone());
        managed::stamp(live, &mut new, &self.write(manager));
        new
    }

    /// What a configuration says, without what nobody owns.
    fn said(&self, config: &Value) -> Set {
        let mut said = fields::of(config, self.ty);
        said.remove_system_fields();
        said
    }
}

/// Brings what is set as a whole to its canonical form. As upstream, an apply compares it as it is written: a struct in it that leaves
/// out what Go cannot leave out differs from what is stored.
fn settle(config: &mut Value, whole: &Value, rule: Rule<'_>) {
    match (rule, config) {
        (Rule::Leaf, config) => config.clone_from(whole),
        (Rule::Struct(_) | Rule::Map(_), Value::Object(map)) => {
            map.iter_mut().for_each(|(name, value)| settle(value, &whole[name.as_str()], rule.entry(name)));
        }
        (Rule::Keyed(..), Value::Array(list)) => {
            list.iter_mut().enumerate().for_each(|(at, item)| settle(item, &whole[at], rule.item()));
        }
        _ => {}
    }
}

/// Whether nothing but hollow structs is in it.
fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(is_hollow))
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    value::remove(&mut object, "metadata.managedFields");
    object
}

fn owned(object: &Value, manager: &str) -> Set {
    let owners = owners::entries_of(object).iter().map(Owner::of);
    owners.filter(|o| o.entry["manager"] == manager).map(|o| o.paths).next().unwrap_or_default()
}

/// The object with its lists in some order of their own.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(sorted).collect();
            list.sort_by_key(Value::to_string);
            list.into()
        }
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Object>().into(),
        scalar => scalar.clone(),
    }
}

#[test]
fn applying_twice_is_applying_once() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.create(&a, "a");
        for (config, manager) in [(&b, "b"), (&b, "a")] {
            let once = one.force(&live, config, manager);
            let later = Write { now: Timestamp::from_second(1_800_000_000).expect("in range"), ..one.write(manager) };
            let twice = one.try_apply(Some(&once), config, &later, false).expect("own fields do not conflict");
            assert_eq!(twice, once);
        }
    });
}

#[test]
fn who_applies_alone_has_what_it_says_and_nothing_else() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.create(&a, "a");
        let changed = one.try_apply(Some(&live), &b, &one.write("a"), false).expect("own fields do not conflict");
        assert_eq!(bare(&changed), one.canonical(b));
    });
}

#[test]
fn ownership_is_of_what_is_there() {
    every_kind(|one| {
        let (a, b, c) = (one.config(), one.config(), one.config());
        let mut live = one.create(&a, "a");
        for (config, manager) in [(&b, "b"), (&c, "c"), (&b, "a")] {
            live = one.force(&live, config, manager);
            let there = fields::named(&fields::of(&bare(&live), one.ty), one.ty);
            for entry in owners::entries_of(&live) {
                let paths = Owner::of(entry).paths;
                assert_eq!(fields::settled(&paths, one.ty), paths, "nothing is owned below what is atomic");
                let mut elsewhere = paths;
                elsewhere.subtract(&there);
                assert!(elsewhere.is_empty(), "{elsewhere:?} of {}", entry["manager"]);
            }
            assert_eq!(owned(&live, manager), one.said(config), "the applier owns what it said");
        }
    });
}

#[test]
fn conflicts_are_mutual() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let conflicts = |first: &Value, second: &Value| {
            let live = one.create(first, "first");
            one.try_apply(Some(&live), second, &one.write("second"), false).is_err()
        };
        assert_eq!(conflicts(&a, &b), conflicts(&b, &a));
    });
}

#[test]
fn force_takes_what_differs_and_shares_the_rest() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.create(&a, "a");
        let forced = one.force(&live, &b, "b");
        let changed = compare::changes(&bare(&live), &bare(&forced), one.ty);
        assert!(owned(&forced, "a").common(&changed.set).is_empty());
        let mut kept = one.said(&a);
        kept.subtract(&changed.set);
        kept.subtract(&changed.removed);
        assert_eq!(owned(&forced, "a"), kept);
        assert_eq!(bare(&one.force(&forced, &b, "b")), bare(&forced));
    });
}

#[test]
fn what_one_owns_alone_goes_and_what_is_shared_stays() {
    every_kind(|one| {
        let (a, b, nothing) = (one.config(), one.config(), one.nothing());
        let both = one.force(&one.create(&a, "a"), &b, "b");
        let left = one.try_apply(Some(&both), &nothing, &one.write("a"), false).expect("nothing conflicts");
        assert_eq!(bare(&left), one.canonical(b.clone()), "{a}");
        assert_eq!(owned(&left, "b"), one.said(&b));
        let none = one.try_apply(Some(&left), &nothing, &one.write("b"), false).expect("nothing conflicts");
        assert_eq!(none, one.canonical(nothing));
    });
}

#[test]
fn applying_what_is_there_only_shares_it() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.force(&one.create(&a, "a"), &b, "b");
        let shared = one.try_apply(Some(&live), &bare(&live), &one.write("c"), false).expect("equals do not conflict");
        assert_eq!(bare(&shared), bare(&live));
        for manager in ["a", "b"] {
            assert_eq!(owned(&shared, manager), owned(&live, manager));
        }
    });
}

#[test]
fn what_does_not_conflict_commutes() {
    every_kind(|one| {
        let whole = one.config();
        // Two parts of one object agree wherever both say something.
        let mut parts = [whole.clone(), whole];
        for part in &mut parts {
            thin(part, &mut one.random, one.ty);
        }
        let apply = |first: usize, second: usize| {
            let live = one.create(&parts[first], ["a", "b"][first]);
            let write = one.write(["a", "b"][second]);
            one.try_apply(Some(&live), &parts[second], &write, false).expect("they agree")
        };
        let (ab, ba) = (apply(0, 1), apply(1, 0));
        assert_eq!(sorted(&bare(&ab)), sorted(&bare(&ba)));
        for manager in ["a", "b"] {
            assert_eq!(owned(&ab, manager), owned(&ba, manager));
        }
    });
}

#[test]
fn a_merge_holds_the_configuration() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let merged = merge::merge(&a, &b, one.ty);
        assert_eq!(merge::merge(&merged, &b, one.ty), merged);
    });
}

/// Takes fields of structs out, and items of lists that merge by their keys.
fn thin(value: &mut Value, random: &mut StdRng, ty: &'static Type) {
    for (name, field) in &ty.fields {
        if matches!(*name, "apiVersion" | "kind" | "name") {
            continue;
        }
        let Some(held) = value.get_mut(*name) else { continue };
        if *name != "metadata" && random.random_bool(0.3) {
            value.as_object_mut().expect("an object").remove(*name);
            continue;
        }
        match (Rule::of(field), held) {
            (Rule::Struct(ty), held) => thin(held, random, ty),
            (Rule::Set | Rule::Keyed(..), Value::Array(list)) if list.len() > 1 => drop(list.remove(0)),
            _ => {}
        }
        if value.get(*name).is_some_and(is_hollow) && *name != "metadata" {
            value.as_object_mut().expect("an object").remove(*name);
        }
    }
}

#[test]
fn the_order_of_keyed_lists_and_sets_is_nobodys() {
    every_kind(|one| {
        let a = one.config();
        let mut other = a.clone();
        shuffle(&mut other, &mut one.random, one.ty);
        let live = one.create(&a, "a");
        let both = one.try_apply(Some(&live), &other, &one.write("b"), false).expect("equals do not conflict");
        assert_eq!(owned(&both, "a"), owned(&both, "b"));
        assert_eq!(bare(&both), one.canonical(other), "it is the last applier's");
    });
}

fn shuffle(value: &mut Value, random: &mut StdRng, ty: &'static Type) {
    for (name, field) in &ty.fields {
        match (Rule::of(field), value.get_mut(*name)) {
            (Rule::Struct(ty), Some(held)) => shuffle(held, random, ty),
            (Rule::Set, Some(Value::Array(list))) => list.shuffle(random),
            (Rule::Keyed(_, ty), Some(Value::Array(list))) => {
                list.shuffle(random);
                list.iter_mut().for_each(|item| shuffle(item, random, ty));
            }
            _ => {}
        }
    }
}

#[test]
fn updates_take_what_they_change_and_applies_take_it_back() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.create(&a, "a");
        if owners::entries_of(&live).is_empty() {
            return; // Of objects without owners nobody becomes one by a plain write.
        }
        let updated = one.update(Some(&live), &b, "u");
        let changed = compare::changes(&bare(&live), &bare(&updated), one.ty);
        assert!(owned(&updated, "a").common(&changed.set).is_empty());
        assert!(owned(&updated, "a").common(&changed.removed).is_empty());
        let mut system_free = changed.set;
        system_free.remove_system_fields();
        assert_eq!(owned(&updated, "u"), system_free, "whoever writes owns what that changed");
        let back = one.force(&updated, &a, "a");
        assert_eq!(owned(&back, "a"), one.said(&a));
        let changed = compare::changes(&bare(&updated), &bare(&back), one.ty);
        assert!(owned(&back, "u").common(&changed.set).is_empty());
    });
}

#[test]
fn a_reset_forgets_all_owners_and_the_next_apply_finds_them_before_it() {
    every_kind(|one| {
        let (a, b) = (one.config(), one.config());
        let live = one.force(&one.create(&a, "a"), &b, "b");
        let mut reset = bare(&live);
        reset["metadata"]["managedFields"] = json!([{}]);
        managed::stamp(Some(&live), &mut reset, &one.write("u"));
        assert_eq!(owners::entries_of(&reset), &[] as &[Value]);
        let next = one.try_apply(Some(&reset), &bare(&live), &one.write("c"), false).expect("equals do not conflict");
        assert_eq!(bare(&next), bare(&live));
        let mut whole = compare::changes(&json!({}), &bare(&live), one.ty).set;
        whole.remove_system_fields();
        assert_eq!(owned(&next, BEFORE), whole);
    });
}

#[test]
fn kubectl_goes_on_from_what_it_applied_by_itself() {
    every_kind(|one| {
        let (mut a, mut b) = (one.config(), one.config());
        for config in [&mut a, &mut b] {
            value::remove(config, "metadata.annotations");
            // Whoever writes a struct owns what Go cannot leave out of it as well.
            *config = one.canonical(config.take());
        }
        let mut first = a.clone();
        first["metadata"]["annotations"] = json!({LAST_APPLIED: a.to_string()});
        let live = one.update(None, &first, "kubectl-client-side-apply");
        let conflict = one.try_apply(Some(&live), &b, &one.write("other"), false).is_err();
        let taken = one.try_apply(Some(&live), &b, &one.write(KUBECTL), false).expect("kubectl takes over from itself");
        assert_eq!(owned(&taken, KUBECTL), one.said(&b));
        let lost = owned(&taken, "kubectl-client-side-apply") != owned(&live, "kubectl-client-side-apply");
        assert_eq!(lost, conflict, "what it changed is no longer of its former self");
        let kept: Value =
            serde_json::from_str(taken["metadata"]["annotations"][LAST_APPLIED].as_str().expect("text")).expect("JSON");
        assert_eq!(kept, b, "both ways go on from the same");
    });
}

#[test]
fn the_main_resource_and_its_status_have_owners_of_their_own() {
    every_kind(|one| {
        if !one.kind.has_status {
            return;
        }
        let (a, b) = (one.config(), one.config());
        let main = Write { reset: &["status"], ..one.write("m") };
        let status = Write { subresource: "status", reset: &["spec", "metadata"], ..one.write("m") };
        let live = one.try_apply(None, &a, &main, false).expect("created");
        let own = owners::entries_of(&live).first().cloned();
        let both = one.try_apply(Some(&live), &b, &status, true).expect("forced");
        let entries = owners::entries_of(&both);
        let main_now = entries.iter().find(|entry| entry.get("subresource").is_none());
        let changed = compare::changes(&bare(&live), &bare(&both), one.ty);
        let same = own.as_ref().is_none_or(|own| Owner::of(own).paths.common(&changed.set).is_empty());
        assert!(!same || main_now == own.as_ref(), "{main_now:?}");
        for entry in entries.iter().filter(|entry| entry.get("subresource").is_some()) {
            let mut paths = Owner::of(entry).paths;
            paths.cut(&Set::path("spec"));
            paths.cut(&Set::path("metadata"));
            assert_eq!(paths, Owner::of(entry).paths, "a status owns nothing of what it cannot set");
        }
        let mut of_main = Owner::of(main_now.unwrap_or(&Value::Null)).paths;
        of_main.cut(&Set::path("status"));
        assert_eq!(of_main, Owner::of(main_now.unwrap_or(&Value::Null)).paths);
    });
}

#[test]
fn scales_conserve_the_owners_of_replicas() {
    every_kind(|one| {
        if one.kind.subresource("scale").is_none() {
            return;
        }
        let (mut a, b) = (one.config(), one.config());
        value::set(&mut a, "spec.replicas", 2);
        let workload = one.force(&one.create(&a, "a"), &b, "b");
        let mut scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x"}});
        managed::to_scale(&workload, "spec.replicas", &mut scale);
        let replicas = Set::path("spec.replicas");
        let owners = owners::entries_of(&workload).iter().filter(|e| !Owner::of(e).paths.common(&replicas).is_empty());
        assert_eq!(owners::entries_of(&scale).len(), owners.count());
        let mut back = workload.clone();
        managed::to_workload(&scale, &mut back, &one.kind.api_version, "spec.replicas");
        assert_eq!(back, workload);
        // Whoever is no longer among the owners of the Scale does not own the replicas, and keeps all else.
        let mut nobodys = workload.clone();
        managed::to_workload(&json!({}), &mut nobodys, &one.kind.api_version, "spec.replicas");
        for manager in ["a", "b"] {
            let mut kept = owned(&workload, manager);
            kept.subtract(&replicas);
            assert_eq!(owned(&nobodys, manager), kept);
        }
    });
}
