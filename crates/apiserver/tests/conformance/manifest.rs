//! Manifests with every field of a kind set, made from the type table.
//!
//! What validation asks beyond the types stands in `corrections.tsv`: alternatives for single fields. Fields that exclude each
//! other take turns, so a kind has as many manifests as its longest list of alternatives; together they set every field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use gantry_api::kinds::KindInfo;
use gantry_api::table::{Field, FieldType, Type, TypeTable};
use serde_json::{Value, json};

const CORRECTIONS: &str = include_str!("corrections.tsv");
const NEEDED: &str = include_str!("needed.tsv");

/// In place of a value: the field is left out.
const ABSENT: &str = "<absent>";
/// In place of a value: what the type says.
const FULL: &str = "<full>";

/// What to set a field to.
enum How {
    /// One of these, by turn.
    Turns(Vec<Value>),
    /// One of these, by the item of the list around it.
    Picks(Vec<Value>),
    /// What the type says, in one turn out of some.
    Turn(usize, usize),
    /// What the type says, in this item of the list around it.
    Pick(usize),
    /// A list of so many items.
    Each(usize),
    Unset,
}

/// What `corrections.tsv` says of one field in one place.
struct Correction {
    /// A type, or a type and a field, that must be on the way to the field; empty: anywhere.
    within: &'static str,
    how: How,
    /// Whether the server says what is stored.
    changed: bool,
    /// Whether nobody looks for the fields within.
    whole: bool,
}

impl Correction {
    /// Reads the second half of a line.
    fn parse(within: &'static str, how: &'static str) -> Option<Self> {
        let (changed, how) = how.strip_prefix("changed ").map_or((false, how), |how| (true, how));
        let (whole, how) = how.strip_prefix("whole ").map_or((false, how), |how| (true, how));
        let values = |text: &str| serde_json::from_str::<Vec<Value>>(text).ok();
        let how = match how.split_once(' ').unwrap_or((how, "")) {
            ("unset", _) => How::Unset,
            ("picks", rest) => How::Picks(values(rest)?),
            ("pick", rest) => How::Pick(rest.parse().ok()?),
            ("each", rest) => How::Each(rest.parse().ok()?),
            ("turn", rest) => {
                let (one, of) = rest.split_once('/')?;
                How::Turn(one.parse().ok()?, of.parse().ok()?)
            }
            _ => How::Turns(values(how)?),
        };
        Some(Self { within, how, changed, whole })
    }

    /// How many manifests it takes to see all of it.
    fn turns(&self) -> usize {
        match &self.how {
            How::Turns(all) => all.len(),
            How::Turn(_, of) => *of,
            _ => 1,
        }
    }

    fn unset(&self) -> bool {
        matches!(self.how, How::Unset)
    }

    /// Whether the types within the field are of no concern.
    fn ends(&self) -> bool {
        self.unset() || self.whole
    }
}

/// Corrections by type and field.
type Table = BTreeMap<(&'static str, &'static str), Vec<Correction>>;

fn corrections() -> &'static Table {
    static ALL: OnceLock<Table> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Table::new();
        for line in CORRECTIONS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let cells: Vec<&'static str> = line.split('\t').collect();
            let [within, ty, field, how] = cells[..] else { panic!("four cells: {line}") };
            let one = Correction::parse(within, how).unwrap_or_else(|| panic!("not understood: {line}"));
            all.entry((ty, field)).or_default().push(one);
        }
        all
    })
}

/// The way from an object's type to a field: types and fields.
pub(crate) type Way = Vec<(&'static str, &'static str)>;

/// The correction for a field: the one that asks for the most on the way, and one for the field before one for all.
fn correction(way: &Way, ty: &'static str, field: &'static str) -> Option<&'static Correction> {
    let found = |field: &'static str| {
        let all = corrections().get(&(ty, field))?;
        all.iter().filter(|c| leads(way, c.within)).max_by_key(|c| (!c.within.is_empty(), c.within.contains('#')))
    };
    match (found(field), found("*")) {
        (Some(one), Some(all)) if one.within.is_empty() && !all.within.is_empty() => Some(all),
        (one, all) => one.or(all),
    }
}

/// Sees every field that a kind's types can hold.
fn visit(ty: &'static Type, way: &mut Way, see: &mut impl FnMut(&Way, &'static Type, &'static Field)) {
    for field in ty.fields.values() {
        see(way, ty, field);
        if correction(way, ty.name, field.name).is_some_and(Correction::ends) || way.len() > 24 {
            continue;
        }
        if let Some(inner) = inner(&field.ty) {
            way.push((ty.name, field.name));
            visit(inner, way, see);
            way.pop();
        }
    }
}

/// The type of the objects that a field holds.
fn inner(ty: &'static FieldType) -> Option<&'static Type> {
    match ty {
        FieldType::Struct(id) => Some(TypeTable::builtin().get(id)),
        FieldType::List(item) | FieldType::Map(item) => inner(item),
        _ => None,
    }
}

/// The type of a kind's objects.
pub(crate) fn whole(kind: &KindInfo) -> &'static Type {
    TypeTable::builtin().ty(&kind.type_name).expect("a type for every kind")
}

/// How many manifests it takes to set every field of a kind.
pub(crate) fn count(kind: &KindInfo) -> usize {
    let mut most = 1;
    visit(whole(kind), &mut Vec::new(), &mut |way, ty, field| {
        most = most.max(correction(way, ty.name, field.name).map_or(1, Correction::turns));
    });
    most
}

/// The fields of a kind that manifests set, as `core/v1.Pod.spec`.
pub(crate) fn fields(kind: &KindInfo) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    visit(whole(kind), &mut Vec::new(), &mut |way, ty, field| {
        if !correction(way, ty.name, field.name).is_some_and(Correction::unset) {
            all.insert(format!("{}.{}", ty.name, field.name));
        }
    });
    all
}

/// One of a kind's manifests.
pub(crate) fn manifest(kind: &KindInfo, turn: usize) -> Value {
    made(kind, Maker { turn, pick: 0, least: false, way: Vec::new() })
}

/// The manifest with the fewest fields: those that the types require, and those of `needed.tsv`.
pub(crate) fn minimal(kind: &KindInfo) -> Value {
    let mut object = made(kind, Maker { turn: 0, pick: 0, least: true, way: Vec::new() });
    object.as_object_mut().map(|object| object.remove("status"));
    object
}

fn made(kind: &KindInfo, mut maker: Maker) -> Value {
    let mut object = maker.full(whole(kind));
    object["apiVersion"] = kind.api_version.as_str().into();
    object["kind"] = kind.kind.into();
    object
}

/// Whether a way leads through a type, or a type and field; any does through nothing.
fn leads(way: &Way, within: &str) -> bool {
    let is = |(t, f): &(&str, &str)| within == *t || within.split_once('#') == Some((*t, *f));
    within.is_empty() || way.iter().any(is)
}

/// Whether validation asks for a field that its type does not require.
fn is_needed(way: &Way, ty: &str, field: &str) -> bool {
    static ALL: OnceLock<BTreeMap<(&str, &str), Vec<&str>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all = BTreeMap::<_, Vec<&str>>::new();
        for line in NEEDED.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let [within, ty, field] = cells[..] else { panic!("three cells: {line}") };
            all.entry((ty, field)).or_default().push(within);
        }
        all
    });
    all.get(&(ty, field)).is_some_and(|places| places.iter().any(|within| leads(way, within)))
}

/// Makes one manifest.
struct Maker {
    turn: usize,
    pick: usize,
    /// Whether only what must be set is set.
    least: bool,
    way: Way,
}

impl Maker {
    fn full(&mut self, ty: &'static Type) -> Value {
        let mut object = json!({});
        for field in ty.fields.values() {
            if self.least && !field.required && !is_needed(&self.way, ty.name, field.name) {
                continue;
            }
            let correction = correction(&self.way, ty.name, field.name);
            self.way.push((ty.name, field.name));
            let value = match correction.map(|c| &c.how) {
                None => Some(self.some(&field.ty, field.name)),
                Some(How::Each(count)) => Some(self.each(&field.ty, field.name, if self.least { 1 } else { *count })),
                Some(how) => self.chosen(how, field),
            };
            self.way.pop();
            if let Some(value) = value {
                object[field.name] = value;
            }
        }
        object
    }

    fn chosen(&mut self, how: &How, field: &'static Field) -> Option<Value> {
        let full = |chosen: bool| chosen.then(|| FULL.into());
        let value: Option<Value> = match how {
            How::Turns(all) => Some(all[self.turn % all.len()].clone()),
            How::Picks(all) => Some(all[self.pick % all.len()].clone()),
            How::Turn(one, of) => full(self.turn % of == *one),
            How::Pick(one) => full(self.pick == *one),
            How::Each(_) | How::Unset => None,
        };
        match value? {
            value if value == ABSENT => None,
            value if value == FULL => Some(self.some(&field.ty, field.name)),
            value => Some(self.numbered(value)),
        }
    }

    /// The items of a list, each of which picks its own.
    fn each(&mut self, ty: &'static FieldType, name: &str, count: usize) -> Value {
        let FieldType::List(item) = ty else { panic!("{name} is no list") };
        let outer = self.pick;
        let mut items = Vec::new();
        for pick in 0..count {
            self.pick = pick;
            items.push(self.some(item, name));
        }
        self.pick = outer;
        Value::Array(items)
    }

    /// Puts numbers into text, so that names differ.
    fn numbered(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                text.replace("{turn}", &self.turn.to_string()).replace("{pick}", &self.pick.to_string()).into()
            }
            Value::Array(items) => items.into_iter().map(|item| self.numbered(item)).collect(),
            other => other,
        }
    }

    /// A value that is not its type's zero, in its canonical form.
    fn some(&mut self, ty: &'static FieldType, name: &str) -> Value {
        match ty {
            FieldType::String => name.to_lowercase().into(),
            FieldType::Bytes => "AQI=".into(),
            FieldType::Bool => true.into(),
            FieldType::Int32 | FieldType::Int64 => 7.into(),
            FieldType::Double => 1.5.into(),
            FieldType::Time => "2026-01-02T03:04:05Z".into(),
            FieldType::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
            FieldType::Quantity => "5Gi".into(),
            FieldType::IntOrString => "50%".into(),
            FieldType::Raw | FieldType::Any | FieldType::Open => json!({"a": [1]}),
            FieldType::Struct(id) => self.full(TypeTable::builtin().get(id)),
            FieldType::List(item) => json!([self.some(item, name)]),
            FieldType::Map(item) => json!({"key": self.some(item, name)}),
            FieldType::Merged(field) => self.some(&field.ty, name),
        }
    }
}

/// Every list that a kind can hold, once per field of a type, as the fields on the way to it.
pub(crate) fn lists(kind: &KindInfo) -> Vec<Way> {
    let mut all: BTreeMap<(&str, &str), Way> = BTreeMap::new();
    visit(whole(kind), &mut Vec::new(), &mut |way, ty, field| {
        if matches!(field.ty, FieldType::List(_))
            && !correction(way, ty.name, field.name).is_some_and(Correction::unset)
        {
            let whole = way.iter().copied().chain([(ty.name, field.name)]).collect();
            all.entry((ty.name, field.name)).or_insert(whole);
        }
    });
    all.into_values().collect()
}

/// A manifest in which a list is as long as `bytes` allow, each item with a name of its own; `None` where no manifest has it.
pub(crate) fn flooded(kind: &KindInfo, way: &Way, bytes: usize) -> Option<Value> {
    let mut object = (0..count(kind)).map(|turn| manifest(kind, turn)).find(|m| pointer(m, way).is_some())?;
    let (ty, name) = way.last()?;
    let field = &TypeTable::builtin().ty(ty)?.fields[name];
    let list = at(&mut object, way)?.as_array_mut()?;
    let mut item = list.first()?.clone();
    let key = inner(&field.ty).and_then(|ty| trim(&mut item, ty, field));
    let size = item.to_string().len() + 8;
    *list = (0..bytes / size).map(|n| numbered(&item, key, n)).collect();
    Some(object)
}

/// What stands at the end of a way.
fn at<'a>(object: &'a mut Value, way: &Way) -> Option<&'a mut Value> {
    object.pointer_mut(&pointer(object, way)?)
}

/// The JSON pointer of a list at the end of a way; lists and maps on it are entered at their first item.
pub(crate) fn pointer(object: &Value, way: &Way) -> Option<String> {
    let (mut value, mut text) = (object, String::new());
    for (_, field) in way {
        while let Value::Array(items) = value {
            (value, text) = (items.first()?, format!("{text}/0"));
        }
        if value.get("key").is_some_and(|entry| entry.get(field).is_some()) {
            (value, text) = (&value["key"], format!("{text}/key"));
        }
        (value, text) = (value.get(*field)?, format!("{text}/{field}"));
    }
    Some(text)
}

/// Leaves what an item must have; the field that tells items apart.
fn trim(item: &mut Value, ty: &'static Type, list: &Field) -> Option<&'static str> {
    let merged = list.patch_merge_key.or_else(|| list.map_keys.first().copied());
    let text = |name: &&str| ty.fields.get(name).is_some_and(|f| f.ty == FieldType::String);
    let first = ty.fields.values().find(|f| f.ty == FieldType::String).map(|f| f.name);
    let key = merged.or_else(|| ["name", "key"].into_iter().find(|n| text(n))).or(first)?;
    item.as_object_mut()?.retain(|name, _| name == key || ty.fields[name.as_str()].required);
    Some(key)
}

fn numbered(item: &Value, key: Option<&str>, n: usize) -> Value {
    let mut item = item.clone();
    let told = match key {
        Some(key) => &mut item[key],
        None => &mut item,
    };
    *told = match &mut *told {
        Value::String(text) => format!("{text}{n}").into(),
        Value::Null => format!("x{n}").into(),
        Value::Number(_) => (n % 65_535 + 1).into(),
        other => other.take(),
    };
    item
}

/// What became of a manifest: the fields that are there as `core/v1.Pod.spec`, and what was lost or changed on the way.
pub(crate) fn compare(kind: &KindInfo, sent: &Value, stored: &Value, seen: &mut BTreeSet<String>) -> Vec<String> {
    let mut lost = Vec::new();
    let mut walk = Compare { way: Vec::new(), seen, lost: &mut lost };
    walk.object(whole(kind), sent, stored, "");
    lost
}

struct Compare<'a> {
    way: Way,
    seen: &'a mut BTreeSet<String>,
    lost: &'a mut Vec<String>,
}

impl Compare<'_> {
    fn object(&mut self, ty: &'static Type, sent: &Value, stored: &Value, path: &str) {
        for (name, sent) in sent.as_object().into_iter().flatten() {
            let field = &ty.fields[name.as_str()];
            let path = format!("{path}.{name}");
            match stored.get(name) {
                Some(stored) => {
                    self.seen.insert(format!("{}.{name}", ty.name));
                    if correction(&self.way, ty.name, field.name).is_some_and(|c| c.changed) {
                        continue;
                    }
                    self.way.push((ty.name, field.name));
                    self.value(&field.ty, sent, stored, &path);
                    self.way.pop();
                }
                None if correction(&self.way, ty.name, field.name).is_some_and(|c| c.changed) => {
                    self.seen.insert(format!("{}.{name}", ty.name));
                }
                None => self.lost.push(format!("{path} = {sent} is lost")),
            }
        }
    }

    fn value(&mut self, ty: &'static FieldType, sent: &Value, stored: &Value, path: &str) {
        match (ty, sent, stored) {
            (FieldType::Struct(id), _, Value::Object(_)) => {
                self.object(TypeTable::builtin().get(id), sent, stored, path);
            }
            // Admission may add at the end.
            (FieldType::List(item), Value::Array(sent), Value::Array(stored)) if sent.len() <= stored.len() => {
                for (index, (sent, stored)) in sent.iter().zip(stored).enumerate() {
                    self.value(item, sent, stored, &format!("{path}[{index}]"));
                }
            }
            (FieldType::Map(item), Value::Object(sent), Value::Object(stored)) => {
                for (key, sent) in sent {
                    self.value(item, sent, stored.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"));
                }
            }
            _ if sent == stored => {}
            _ => self.lost.push(format!("{path} = {sent} became {stored}")),
        }
    }
}
