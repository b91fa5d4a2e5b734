//! Figures of lists and watches by resource, with upstream's names, and of group versions that cannot be had.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::kinds::KindInfo;
use gantry_common::metrics::{Histogram, Page, Snapshot, float};
use parking_lot::Mutex;

use super::Number;
use super::series::{Table, bounded};

/// Upper bounds of upstream's buckets of events, in bytes.
static BYTES: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 32_768.0, 65_536.0, 131_072.0];

/// How objects of a list were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    ByKey,
    ByNode,
}

/// Upstream's names of the indexes.
const INDEXES: [&str; 2] = ["", "f:spec.nodeName"];

/// Figures of one resource in one version.
#[derive(Debug)]
pub(crate) struct Resource {
    lists: [Number; 2],
    fetched: [Number; 2],
    returned: Number,
    /// Objects that watches were told of at their start.
    initial: Number,
    /// Watches whose clients were too slow.
    terminated: Number,
    /// Of events that were sent.
    sizes: Histogram,
}

impl Resource {
    fn new() -> Self {
        Self {
            lists: Default::default(),
            fetched: Default::default(),
            returned: Number::default(),
            initial: Number::default(),
            terminated: Number::default(),
            sizes: Histogram::units(&BYTES),
        }
    }

    /// A list was served: so many objects were looked at, so many are in it.
    pub(crate) fn listed(&self, found: Found, fetched: usize, returned: usize) {
        self.lists[found as usize].add(1);
        self.fetched[found as usize].add(fetched as u64);
        self.returned.add(returned as u64);
    }

    /// A watch begins with so many objects.
    pub(crate) fn begins(&self, objects: usize) {
        self.initial.add(objects as u64);
    }

    /// A watch was ended because its client was too slow.
    pub(crate) fn terminated(&self) {
        self.terminated.add(1);
    }

    /// An event of so many bytes was sent to so many.
    pub(crate) fn told(&self, bytes: usize, watchers: usize) {
        self.sizes.observe_units_times(bytes as u64, watchers as u64);
    }
}

/// Group, resource, version.
type Names = [&'static str; 3];

/// Figures of all resources.
#[derive(Debug, Default)]
pub(crate) struct Resources(Table<Names, Resource>);

impl Resources {
    /// The figures of a kind.
    pub(crate) fn of(&self, kind: &KindInfo) -> Arc<Resource> {
        let known = self.0.get_or_make([kind.group, kind.resource, kind.version], Resource::new);
        known.unwrap_or_else(|| Arc::new(Resource::new()))
    }

    /// Forgets a resource that is not served any more.
    pub(super) fn forget(&self, group: &str, resource: &str) {
        self.0.retain(|names| (names[0], names[1]) != (group, resource));
    }

    pub(super) fn render(&self, page: &mut Page) {
        let all = self.0.all();
        lists(page, &all);
        let sizes: Vec<(Names, Snapshot)> = all
            .iter()
            .map(|(names, resource)| (*names, resource.sizes.snapshot()))
            .filter(|(_, sizes)| sizes.total() > 0)
            .collect();
        let mut events =
            page.family("apiserver_watch_events_total", "counter", "[ALPHA] Events that were sent to watches.");
        for ([group, resource, version], sizes) in &sizes {
            events.sample(&[("group", group), ("resource", resource), ("version", version)], float(sizes.total()));
        }
        drop(events);
        let mut bytes =
            page.family("apiserver_watch_events_sizes", "histogram", "[ALPHA] Bytes of events that were sent.");
        for ([group, resource, version], sizes) in &sizes {
            bytes.histogram(&[("group", group), ("resource", resource), ("version", version)], sizes);
        }
    }
}

/// What does not tell versions apart.
fn lists(page: &mut Page, all: &[(Names, Arc<Resource>)]) {
    type Read = fn(&Resource) -> u64;
    type ByIndex = fn(&Resource) -> &[Number; 2];
    let rows: [(&str, &str, ByIndex); 2] = [
        ("total", "Lists that were served from the cache.", |r| &r.lists),
        ("fetched_objects_total", "Objects that were looked at in the cache for lists.", |r| &r.fetched),
    ];
    for (name, help, numbers) in rows {
        let mut sums: BTreeMap<[&str; 3], u64> = BTreeMap::new();
        for ([group, resource, _], figures) in all {
            for (index, number) in INDEXES.iter().zip(numbers(figures)).filter(|(_, number)| number.get() > 0) {
                *sums.entry([group, resource, index]).or_default() += number.get();
            }
        }
        let mut family = page.family(&format!("apiserver_cache_list_{name}"), "counter", &format!("[ALPHA] {help}"));
        for ([group, resource, index], sum) in sums {
            family.sample(&[("group", group), ("index", index), ("resource", resource)], float(sum));
        }
    }
    let rows: [(&str, &str, Read); 3] = [
        ("cache_list_returned_objects_total", "Objects in lists from the cache.", |r| r.returned.get()),
        ("init_events_total", "Objects that watches were told of at their start.", |r| r.initial.get()),
        ("terminated_watchers_total", "Watches that were ended because they were too slow.", |r| r.terminated.get()),
    ];
    for (name, help, read) in rows {
        let mut sums: BTreeMap<[&str; 2], u64> = BTreeMap::new();
        for ([group, resource, _], figures) in all.iter().filter(|(_, figures)| read(figures) > 0) {
            *sums.entry([group, resource]).or_default() += read(figures);
        }
        let mut family = page.family(&format!("apiserver_{name}"), "counter", &format!("[ALPHA] {help}"));
        for ([group, resource], sum) in sums {
            family.sample(&[("group", group), ("resource", resource)], float(sum));
        }
    }
}

/// How often group versions became such that they cannot be had, by the name of the APIService and why.
#[derive(Debug, Default)]
pub(crate) struct Unavailable(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Unavailable {
    /// One cannot be had any more.
    pub(crate) fn count(&self, name: &str, reason: &'static str) {
        if let Some(count) = bounded(&mut self.0.lock(), (name.to_owned(), reason), || 0) {
            *count += 1;
        }
    }

    pub(super) fn render(&self, page: &mut Page) {
        let help = "[ALPHA] How often APIServices became unavailable, by name and why.";
        let mut family = page.family("aggregator_unavailable_apiservice_total", "counter", help);
        for ((name, reason), count) in self.0.lock().iter() {
            family.sample(&[("name", name), ("reason", reason)], float(*count));
        }
    }
}
