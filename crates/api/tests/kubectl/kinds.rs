//! Strategic merge of every kind that kubectl knows, with random objects and directives made from the type table: the oracle has
//! the same merge keys and strategies for every field, or the results differ.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantry_api::kinds::{self, KindInfo};
use gantry_api::table::{Field, FieldType, PatchStrategy, Type, TypeTable};
use gantry_api::{Value, patch};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::present;
use crate::strategic::{conformed, kubectl};

/// How many patches each kind gets, and by how many documents: kubectl takes one patch at a time, but any number of documents.
const SEEDS: u64 = 4;
const DOCUMENTS: usize = 8;
/// How many patches a kind gets at most until each directive that its own types ask for was in one.
const SEEDS_MAX: u64 = 60;
/// Below this nothing is set.
const DEPTH: usize = 9;
/// Versions in which an older kubectl may have a kind that it does not have as it is served now.
const OLDER: &[&str] = &["v1beta2", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"];

/// Kinds that kubectl 1.32 has in no version, and why. Whatever is not listed here it must know; newer ones may know more.
const UNKNOWN: &[(&str, &str)] = &[
    ("apiextensions/v1.CustomResourceDefinition", "kubectl has the types of client-go, which has no definitions"),
    ("apiregistration/v1.APIService", "kubectl has the types of client-go, which has no services of servers"),
];

/// Fields with a strategy that came after kubectl 1.32.
const UNKNOWN_FIELDS: &[(&str, &str)] = &[];

/// What was said in patches: the type, its field, and the directive about it.
type Said = BTreeSet<(&'static str, &'static str, &'static str)>;

/// Makes random objects and patches.
struct Random<'a> {
    random: StdRng,
    seed: u64,
    depth: usize,
    /// Fields, by the names of Go's struct and of their own, that kubectl does not know.
    unknown: &'a BTreeSet<(String, String)>,
    said: Said,
}

/// What upstream's Go types do not tell how to merge, so that it refuses to: `every_refusal_agrees_with_kubectl` has them.
fn is_opaque(field: &Field) -> bool {
    match &field.ty {
        FieldType::Map(item) => matches!(**item, FieldType::List(_) | FieldType::Map(_) | FieldType::Struct(_)),
        _ => false,
    }
}

impl Random<'_> {
    fn new(seed: u64, unknown: &BTreeSet<(String, String)>) -> Random<'_> {
        Random { random: StdRng::seed_from_u64(seed), seed, depth: 0, unknown, said: Said::new() }
    }

    fn chance(&mut self, of_ten: u32) -> bool {
        self.random.random_ratio(of_ten, 10)
    }

    /// What is said about lists takes turns with the seeds.
    fn turn(&mut self, of_three: u64) -> bool {
        let of_ten = if self.seed % 3 == of_three { 8 } else { 1 };
        self.chance(of_ten)
    }

    fn text(&mut self) -> Value {
        ["a", "b", "c", "d"][self.random.random_range(0..4)].into()
    }

    /// Whether a field takes part. Nobody sends managed fields.
    fn has(&self, ty: &Type, name: &str, field: &Field) -> bool {
        name != "managedFields"
            && !is_opaque(field)
            && !self.unknown.contains(&(ty.short_name().to_owned(), name.to_owned()))
    }

    fn object(&mut self, ty: &Type, key: Option<&str>) -> Value {
        let mut object = json!({});
        if self.depth == DEPTH {
            return object;
        }
        self.depth += 1;
        for (name, field) in &ty.fields {
            let of_ten = match field.patch_strategy {
                strategy if strategy != PatchStrategy::default() => 8,
                _ if self.depth < 4 => 6,
                _ => 3,
            };
            if key == Some(*name) || (self.has(ty, name, field) && self.chance(of_ten)) {
                object[*name] = self.field(field);
            }
        }
        self.depth -= 1;
        object
    }

    fn field(&mut self, field: &Field) -> Value {
        match (&field.ty, field.patch_merge_key) {
            (FieldType::List(item), Some(key)) => {
                let mut items: Vec<Value> = Vec::new();
                for _ in 0..self.random.random_range(1..4) {
                    let item = TypeTable::builtin().fields_of(item).map(|ty| self.object(ty, Some(key)));
                    // Items of such lists are told apart by their key.
                    items.extend(
                        item.filter(|item| item.get(key).is_some() && items.iter().all(|i| i[key] != item[key])),
                    );
                }
                Value::Array(items)
            }
            (ty, _) => self.value(ty),
        }
    }

    fn value(&mut self, ty: &FieldType) -> Value {
        match ty {
            FieldType::String => self.text(),
            FieldType::Bytes => "AQI=".into(),
            FieldType::Bool => true.into(),
            FieldType::Int32 | FieldType::Int64 => self.random.random_range(1..5).into(),
            FieldType::Double => 1.5.into(),
            FieldType::Time => "2026-01-02T03:04:05Z".into(),
            FieldType::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
            FieldType::Quantity => ["1", "2Gi", "3m"][self.random.random_range(0..3)].into(),
            FieldType::IntOrString if self.chance(5) => 5.into(),
            FieldType::IntOrString => "5%".into(),
            FieldType::Raw | FieldType::Any | FieldType::Open => json!({"a": self.text()}),
            FieldType::Struct(id) => self.object(TypeTable::builtin().get(id), None),
            FieldType::Merged(field) => self.field(field),
            // Each once: where duplicates of a set go depends on how much room Go has left in the list.
            FieldType::List(item) if matches!(**item, FieldType::String) => {
                let texts: BTreeSet<String> =
                    (0..self.random.random_range(1..4)).map(|_| self.text().to_string()).collect();
                let mut texts: Vec<Value> = texts.into_iter().map(|text| text.trim_matches('"').into()).collect();
                texts.shuffle(&mut self.random);
                texts.into()
            }
            FieldType::List(item) => (0..self.random.random_range(1..4)).map(|_| self.value(item)).collect(),
            FieldType::Map(item) => {
                let mut map = json!({});
                for _ in 0..2 {
                    let key = self.text();
                    map[key.as_str().unwrap_or_default()] = self.value(item);
                }
                map
            }
        }
    }

    /// An object of a kind, as a client would write it.
    fn whole(&mut self, kind: &KindInfo, name: &str) -> Value {
        let mut object = self.object(TypeTable::builtin().ty(&kind.type_name).expect("known"), None);
        object["apiVersion"] = kind.api_version.as_str().into();
        object["kind"] = kind.kind.into();
        object["metadata"]["name"] = name.into();
        object
    }

    /// A patch with directives of all kinds on all levels.
    fn patch(&mut self, kind: &KindInfo) -> Value {
        let mut patch = self.whole(kind, "");
        patch["metadata"].as_object_mut().map(|m| m.remove("name"));
        let ty = TypeTable::builtin().ty(&kind.type_name).expect("known");
        self.directives(ty, &mut patch);
        patch
    }

    fn directives(&mut self, ty: &'static Type, patch: &mut Value) {
        for (name, field) in &ty.fields {
            if patch.get(*name).is_none() || matches!(*name, "apiVersion" | "kind") {
                continue;
            }
            self.depth += 1;
            if self.depth > 1 && self.chance(1) {
                patch[*name] = Value::Null;
            } else {
                match &field.ty {
                    FieldType::List(item) => self.list(ty, field, item, patch),
                    FieldType::Struct(id) => {
                        self.directives(TypeTable::builtin().get(id), &mut patch[*name]);
                        self.map(ty, field, &mut patch[*name]);
                    }
                    FieldType::Map(_) => self.map(ty, field, &mut patch[*name]),
                    _ => {}
                }
            }
            self.depth -= 1;
        }
    }

    /// `$patch` and `$retainKeys` in a map or struct.
    fn map(&mut self, ty: &'static Type, field: &'static Field, map: &mut Value) {
        let (retains, entries) = (field.patch_strategy.retain_keys, map.as_object().map_or(0, |m| m.len()));
        if self.chance(if retains { 5 } else { 1 }) {
            let mut keys: Vec<Value> = map.as_object().into_iter().flatten().map(|(k, _)| k.as_str().into()).collect();
            keys.retain(|k| !k.as_str().is_some_and(|k| k.starts_with('$')));
            keys.push(self.text());
            map["$retainKeys"] = keys.into();
            self.said.insert((ty.name, field.name, "$retainKeys"));
        } else if self.chance(1) && (self.depth > 1 || entries > 1) {
            let directive = if self.chance(5) { "replace" } else { "delete" };
            map["$patch"] = directive.into();
            self.said.insert((ty.name, field.name, directive));
        }
    }

    fn list(&mut self, ty: &'static Type, field: &'static Field, item: &'static FieldType, patch: &mut Value) {
        let name = field.name;
        let Some(items) = patch[name].as_array().cloned().filter(|items| !items.is_empty()) else { return };
        let Some(item) = TypeTable::builtin().fields_of(item) else {
            if matches!(item, FieldType::String) {
                self.scalars(ty, field, &items, patch);
            }
            return;
        };
        let Some(key) = field.patch_merge_key else { return };
        let mut changed = Vec::new();
        for mut item_of_patch in items {
            if self.chance(3) {
                changed.push(json!({key: item_of_patch[key], "$patch": "delete"}));
                self.said.insert((ty.name, name, "delete"));
                continue;
            }
            let own = item_of_patch[key].clone();
            self.directives(item, &mut item_of_patch);
            // Whoever names an item names it by its key.
            item_of_patch[key] = own;
            if field.patch_strategy.retain_keys {
                self.map(ty, field, &mut item_of_patch);
                item_of_patch.as_object_mut().map(|item| item.remove("$patch"));
            }
            changed.push(item_of_patch);
        }
        if self.turn(0) {
            let named = changed.iter().filter(|i| i.get("$patch").is_none());
            let mut order: Vec<Value> = named.map(|i| json!({key: i[key]})).collect();
            for extra in
                ["d", "a"].iter().filter(|_| matches!(item.fields.get(key), Some(Field { ty: FieldType::String, .. })))
            {
                if order.iter().all(|o| o[key] != *extra) {
                    order.insert(self.random.random_range(0..=order.len()), json!({key: extra}));
                }
            }
            patch[format!("$setElementOrder/{name}")] = order.into();
            self.said.insert((ty.name, name, "$setElementOrder"));
        } else if self.turn(1) {
            changed.insert(0, json!({"$patch": "replace"}));
            self.said.insert((ty.name, name, "replace"));
        }
        patch[name] = changed.into();
    }

    /// Lists of texts: what is deleted is not set as well, for Go would do the two in any order.
    fn scalars(&mut self, ty: &'static Type, field: &'static Field, items: &[Value], patch: &mut Value) {
        let name = field.name;
        let merges = field.patch_strategy.merge;
        if merges && self.turn(0) {
            let mut order = items.to_vec();
            order.insert(self.random.random_range(0..=order.len()), "e".into());
            patch[format!("$setElementOrder/{name}")] = order.into();
            self.said.insert((ty.name, name, "$setElementOrder"));
        }
        let deletes = if merges { self.turn(1) } else { self.chance(2) };
        if deletes {
            let mut gone: Vec<Value> = ["a", "b", "c", "d"].iter().map(|text| Value::from(*text)).collect();
            if merges {
                gone.retain(|text| !items.contains(text));
            } else {
                gone.truncate(2);
                patch.as_object_mut().map(|patch| patch.remove(name));
            }
            patch[format!("$deleteFromPrimitiveList/{name}")] = gone.into();
            self.said.insert((ty.name, name, "$deleteFromPrimitiveList"));
        }
    }
}

/// What came of a kind.
#[derive(Default)]
struct Outcome {
    known: bool,
    said: Said,
    unknown: BTreeSet<(String, String)>,
}

/// Asks kubectl, in the first version of the kind that it knows; `Err` for a field that it does not.
fn theirs(kind: &KindInfo, documents: &[Value], patch: &Value) -> Result<Option<Vec<Value>>, (String, String)> {
    let group = kind.api_version.split_once('/').map(|(group, _)| group);
    let older = OLDER.iter().filter_map(|version| Some(format!("{}/{version}", group?)));
    for api_version in std::iter::once(kind.api_version.clone()).chain(older) {
        let spoken = |value: &Value, api_version: &str| {
            let mut value = value.clone();
            value["apiVersion"] = api_version.into();
            value
        };
        let documents: Vec<Value> = documents.iter().map(|document| spoken(document, &api_version)).collect();
        match kubectl(&documents, &spoken(patch, &api_version)) {
            Ok(theirs) => return Ok(Some(theirs.iter().map(|value| spoken(value, &kind.api_version)).collect())),
            Err(why) if why.contains("no kind") || why.contains("is not supported") => {}
            Err(why) => {
                let named = |before: &str, end: char| {
                    why.split(before).nth(1).and_then(|rest| rest.split(end).next()).map(str::to_owned)
                };
                let field = named("api field in struct ", ' ').zip(named("for the json field \"", '"'));
                return Err(field.unwrap_or_else(|| panic!("kubectl refuses {patch}: {why}")));
            }
        }
    }
    Ok(None)
}

fn check(kind: &KindInfo) -> Outcome {
    let mut outcome = Outcome::default();
    let mut own = Said::new();
    wanted(TypeTable::builtin().ty(&kind.type_name).expect("known"), &mut BTreeSet::new(), &mut own);
    let package = |ty: &str| ty.rsplit_once('.').map(|(package, _)| package.to_owned());
    own.retain(|(ty, ..)| package(ty) == package(&kind.type_name));
    let mut seed = 0;
    while seed < SEEDS || (seed < SEEDS_MAX && !own.is_subset(&outcome.said)) {
        let mut random = Random::new(seed, &outcome.unknown);
        let documents: Vec<Value> = (0..DOCUMENTS).map(|n| random.whole(kind, &format!("n{n}"))).collect();
        let patch = random.patch(kind);
        let said = random.said;
        let theirs = match theirs(kind, &documents, &patch) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return outcome,
            Err(field) => {
                assert!(outcome.unknown.insert(field.clone()), "{}: {field:?} is still there", kind.type_name);
                continue;
            }
        };
        outcome.known = true;
        outcome.said.extend(said);
        seed += 1;
        assert_eq!(documents.len(), theirs.len());
        for (document, theirs) in documents.iter().zip(theirs) {
            let ours = patch::strategic(document, &patch, &kind.type_name).unwrap_or_else(|e| panic!("{patch}: {e}"));
            let (ours, theirs) = (conformed(ours, &kind.type_name), conformed(theirs, &kind.type_name));
            assert_eq!(ours, theirs, "\n{}\ndocument {document}\npatch {patch}", kind.type_name);
        }
    }
    outcome
}

/// Every directive that the strategies of the types below `ty` ask for.
fn wanted(ty: &'static Type, seen: &mut BTreeSet<&'static str>, wanted: &mut Said) {
    if !seen.insert(ty.name) {
        return;
    }
    for (name, field) in ty.fields.iter().filter(|(name, field)| *name != &"managedFields" && !is_opaque(field)) {
        let strategy = field.patch_strategy;
        let mut want = |directives: &[&'static str]| wanted.extend(directives.iter().map(|d| (ty.name, *name, *d)));
        match (strategy.merge, field.patch_merge_key) {
            (true, Some(_)) => want(&["delete", "replace", "$setElementOrder"]),
            (true, None) => want(&["$deleteFromPrimitiveList", "$setElementOrder"]),
            (false, _) => {}
        }
        if strategy.retain_keys {
            want(&["$retainKeys"]);
        }
        let held = match &field.ty {
            // What is not merged is taken with whatever is in it.
            FieldType::List(item) if strategy.merge => item,
            own => own,
        };
        if let Some(ty) = TypeTable::builtin().fields_of(held) {
            self::wanted(ty, seen, wanted);
        }
    }
}

#[test]
fn random_patches_of_every_kind_agree_with_kubectl() {
    if !present() {
        return;
    }
    let kinds: Vec<&KindInfo> = kinds::all().iter().filter(|k| k.stored()).collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = check(kind);
            outcomes.lock().expect("nobody panics with it").push((kind.type_name.as_str(), outcome));
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let (mut said, mut all, mut seen) = (Said::new(), Said::new(), BTreeSet::new());
    let mut unknown = Vec::new();
    for (kind, outcome) in outcomes.into_inner().expect("nobody panics with it") {
        if !outcome.known {
            unknown.push(kind);
            continue;
        }
        wanted(TypeTable::builtin().ty(kind).expect("known"), &mut seen, &mut all);
        said.extend(outcome.said);
        for (go, field) in outcome.unknown {
            let merges = TypeTable::builtin().types().any(|ty| {
                ty.short_name() == go
                    && ty.fields.get(&field).is_some_and(|f| f.patch_strategy != PatchStrategy::default())
            });
            assert!(!merges || UNKNOWN_FIELDS.contains(&(&*go, &*field)), "kubectl does not know {go} {field}");
        }
    }
    unknown.sort_unstable();
    unknown.retain(|kind| UNKNOWN.iter().all(|(known, _)| known != kind));
    assert!(unknown.is_empty(), "kubectl does not know {unknown:?}, and nothing says why");
    let unsaid: Vec<_> = all.difference(&said).collect();
    assert!(unsaid.is_empty(), "no patch said {unsaid:?}");
}
