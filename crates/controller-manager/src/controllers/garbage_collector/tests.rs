use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_api::kinds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proptest::prelude::*;

use super::{
    decide::{Decision, Owner, decide},
    graph::{FOREGROUND, Graph, ORPHAN, Work},
};
use crate::catalog::Meta;

fn refer(uid: &str, block: bool) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: uid.to_owned(),
        uid: uid.to_owned(),
        controller: None,
        block_owner_deletion: Some(block),
    }
}

/// The config map `uid` of `namespace`, which is named like its uid.
fn object_in(namespace: &str, uid: &str, owners: &[OwnerReference]) -> Meta {
    let meta = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(uid.to_owned()),
        uid: Some(uid.to_owned()),
        owner_references: Some(owners.to_vec()),
        ..ObjectMeta::default()
    };
    Meta::new(kinds::by_kind("", "v1", "ConfigMap").expect("served"), meta)
}

fn object(uid: &str, owners: &[&str]) -> Meta {
    let owners: Vec<_> = owners.iter().map(|o| refer(o, true)).collect();
    object_in("ns", uid, &owners)
}

fn leaving(mut meta: Meta, finalizer: &str) -> Meta {
    meta.deleting = true;
    meta.finalizers = vec![finalizer.to_owned()];
    meta
}

/// Feeds one state and shows the work as `delete a`.
fn feed(graph: &mut Graph, meta: &Meta) -> Vec<String> {
    show(graph.update(&meta.id(), Some(Arc::new(meta.clone()))))
}

fn lose(graph: &mut Graph, meta: &Meta) -> Vec<String> {
    show(graph.update(&meta.id(), None))
}

fn show(work: BTreeSet<Work>) -> Vec<String> {
    let one = |w: Work| match w {
        Work::Delete(uid) => format!("delete {uid}"),
        Work::Orphan(uid) => format!("orphan {uid}"),
        Work::Complain(uid) => format!("complain {uid}"),
    };
    work.into_iter().map(one).collect()
}

#[test]
fn dependents_are_looked_at_when_their_owner_goes() {
    let mut graph = Graph::default();
    let (owner, child) = (object("o", &[]), object("c", &["o"]));
    assert!(feed(&mut graph, &owner).is_empty());
    assert!(feed(&mut graph, &child).is_empty());
    assert_eq!(lose(&mut graph, &owner), ["delete c"]);
    assert!(lose(&mut graph, &child).is_empty());
}

#[test]
fn an_unknown_owner_is_virtual_until_it_appears_or_is_found_absent() {
    let mut graph = Graph::default();
    assert_eq!(feed(&mut graph, &object("c", &["o"])), ["delete o"]);
    assert!(graph.get_virtual("o").is_some());
    assert!(feed(&mut graph, &object("o", &[])).is_empty());
    assert!(graph.get_virtual("o").is_none());
    assert_eq!(feed(&mut graph, &object("d", &["gone"])), ["delete gone"]);
    assert_eq!(show(graph.absent("gone")), ["delete d"]);
    assert!(show(graph.absent("o")).is_empty(), "it is real");
}

#[test]
fn a_namesake_with_another_uid_does_not_own() {
    let mut graph = Graph::default();
    let old = object("o", &[]);
    feed(&mut graph, &old);
    feed(&mut graph, &object("c", &["o"]));
    let mut namesake = old.clone();
    namesake.uid = "o2".to_owned();
    assert_eq!(show(graph.update(&old.id(), Some(Arc::new(namesake)))), ["delete c"]);
}

#[test]
fn an_owner_in_another_namespace_is_complained_about() {
    let mut graph = Graph::default();
    feed(&mut graph, &object_in("other", "o", &[]));
    assert_eq!(feed(&mut graph, &object("c", &["o"])), ["delete c", "complain c"]);
}

#[test]
fn a_virtual_owner_that_turns_out_to_be_called_otherwise_owns_nothing() {
    let mut graph = Graph::default();
    feed(&mut graph, &object("c", &["o"]));
    assert_eq!(feed(&mut graph, &object_in("other", "o", &[])), ["delete c"]);
}

#[test]
fn orphaning_and_foreground_deletion_are_noticed_once() {
    let mut graph = Graph::default();
    feed(&mut graph, &object("o", &[]));
    feed(&mut graph, &object("c", &["o"]));
    assert_eq!(feed(&mut graph, &leaving(object("o", &[]), ORPHAN)), ["orphan o"]);
    assert!(feed(&mut graph, &leaving(object("o", &[]), ORPHAN)).is_empty());
    feed(&mut graph, &object("p", &[]));
    feed(&mut graph, &object("q", &["p"]));
    let waiting = leaving(object("p", &[]), FOREGROUND);
    assert_eq!(feed(&mut graph, &waiting), ["delete p", "delete q"]);
    assert_eq!(feed(&mut graph, &object("r", &["p"])), ["delete r"], "a dependent that comes late goes too");
    assert_eq!(lose(&mut graph, &object("q", &["p"])), ["delete p"], "one fewer to wait for");
    assert_eq!(feed(&mut graph, &object("r", &[])), ["delete p"], "it no longer holds its owner");
}

#[test]
fn decisions() {
    let check = |item: Meta, owners: &[Owner], dependents: &[Meta], expected: Decision| {
        let owners: Vec<_> = owners.iter().enumerate().map(|(i, o)| (refer(&format!("o{i}"), true), *o)).collect();
        let dependents: Vec<_> = dependents.iter().cloned().map(Arc::new).collect();
        assert_eq!(decide(&item, &owners, &dependents, false), expected, "{item:?} {owners:?}");
    };
    use Owner::{Absent, Solid, Waiting};
    let item = || object("i", &["o0", "o1"]);
    let delete = |policy, unblock| Decision::Delete { policy, unblock };
    check(item(), &[], &[], Decision::Keep);
    check(item(), &[Solid], &[], Decision::Keep);
    check(item(), &[Solid, Absent], &[], Decision::Strike(vec!["o1".to_owned()]));
    check(item(), &[Solid, Waiting], &[], Decision::Strike(vec!["o1".to_owned()]));
    check(item(), &[Absent, Absent], &[], delete("Background", false));
    check(item(), &[Absent, Waiting], &[], delete("Background", false));
    check(item(), &[Waiting], &[object("d", &["i"])], delete("Foreground", false));
    check(item(), &[Waiting], &[leaving(object("d", &["i"]), FOREGROUND)], delete("Foreground", true));
    let finalizing = |finalizer: &str| Meta { finalizers: vec![finalizer.to_owned()], ..item() };
    check(finalizing(ORPHAN), &[Absent], &[], delete("Orphan", false));
    check(finalizing(FOREGROUND), &[Absent], &[], delete("Foreground", false));
    check(leaving(item(), "example.com/mine"), &[Absent], &[], Decision::Keep);
    let waiting = || leaving(item(), FOREGROUND);
    check(waiting(), &[], &[], Decision::Release);
    check(waiting(), &[], &[object_in("ns", "d", &[refer("i", false)])], Decision::Release);
    check(waiting(), &[], &[object("d", &["i"])], Decision::Wait(vec!["d".to_owned()]));
    check(waiting(), &[], &[leaving(object("d", &["i"]), FOREGROUND)], Decision::Wait(Vec::new()));
}

#[test]
fn a_circle_of_waiting_objects_is_broken() {
    let mut graph = Graph::default();
    let (a, b) = (leaving(object("a", &["b"]), FOREGROUND), leaving(object("b", &["a"]), FOREGROUND));
    feed(&mut graph, &a);
    assert!(!graph.waits_for_itself("a"));
    feed(&mut graph, &b);
    assert!(graph.waits_for_itself("a") && graph.waits_for_itself("b"));
    assert_eq!(decide(&a, &[], &[Arc::new(b)], true), Decision::Unblock);
}

/// A toy API server: objects by uid, deletion with finalizers.
#[derive(Default)]
struct Toy {
    objects: BTreeMap<String, Meta>,
    graph: Graph,
    queue: BTreeSet<Work>,
}

impl Toy {
    fn tell(&mut self, meta: &Meta) {
        let now = self.objects.get(&meta.uid).cloned().map(Arc::new);
        let work = self.graph.update(&meta.id(), now);
        self.queue.extend(work);
    }

    fn put(&mut self, meta: Meta) {
        let gone = meta.deleting && meta.finalizers.is_empty();
        if gone {
            self.objects.remove(&meta.uid);
        } else {
            self.objects.insert(meta.uid.clone(), meta.clone());
        }
        self.tell(&meta);
    }

    fn delete(&mut self, uid: &str, policy: &str) {
        let Some(mut meta) = self.objects.get(uid).cloned() else { return };
        meta.deleting = true;
        match policy {
            "Foreground" if !meta.has_finalizer(FOREGROUND) => meta.finalizers.push(FOREGROUND.to_owned()),
            "Orphan" if !meta.has_finalizer(ORPHAN) => meta.finalizers.push(ORPHAN.to_owned()),
            _ => {}
        }
        self.put(meta);
    }

    fn strike(&mut self, uid: &str, owners: &[String]) {
        let Some(mut meta) = self.objects.get(uid).cloned() else { return };
        meta.owners.retain(|o| !owners.contains(&o.uid));
        self.put(meta);
    }

    fn unblock(&mut self, item: &Meta) {
        let mut meta = item.clone();
        meta.owners.iter_mut().for_each(|o| o.block_owner_deletion = Some(false));
        self.put(meta);
    }

    fn drop_finalizer(&mut self, uid: &str, finalizer: &str) {
        let Some(mut meta) = self.objects.get(uid).cloned() else { return };
        meta.finalizers.retain(|f| f != finalizer);
        self.put(meta);
    }

    fn work(&mut self, work: &Work) {
        match work {
            Work::Complain(_) => {}
            Work::Orphan(uid) => {
                for dependent in self.graph.dependents(uid) {
                    self.strike(&dependent.uid, std::slice::from_ref(uid));
                }
                self.drop_finalizer(uid, ORPHAN);
            }
            Work::Delete(uid) => self.consider(uid),
        }
    }

    fn consider(&mut self, uid: &str) {
        if self.graph.get_virtual(uid).is_some() {
            if !self.objects.contains_key(uid) {
                let work = self.graph.absent(uid);
                self.queue.extend(work);
            }
            return;
        }
        let Some(item) = self.objects.get(uid).cloned() else { return };
        let state = |o: &OwnerReference| match self.objects.get(&o.uid) {
            None => Owner::Absent,
            Some(owner) if super::is_foreground(owner) => Owner::Waiting,
            Some(_) => Owner::Solid,
        };
        let owners: Vec<_> = item.owners.iter().map(|o| (o.clone(), state(o))).collect();
        match decide(&item, &owners, &self.graph.dependents(uid), self.graph.waits_for_itself(uid)) {
            Decision::Keep => {}
            Decision::Strike(uids) => self.strike(uid, &uids),
            Decision::Delete { policy, unblock } => {
                if unblock {
                    self.unblock(&item);
                }
                self.delete(uid, policy);
            }
            Decision::Unblock => self.unblock(&item),
            Decision::Release => self.drop_finalizer(uid, FOREGROUND),
            Decision::Wait(uids) => self.queue.extend(uids.into_iter().map(Work::Delete)),
        }
    }

    /// Works in an order that `choices` picks until nothing is left to do.
    fn settle(&mut self, choices: &[u8]) -> bool {
        for step in 0..20_000 {
            let index = usize::from(choices.get(step % choices.len().max(1)).copied().unwrap_or(0));
            let Some(work) = self.queue.iter().nth(index % self.queue.len().max(1)).cloned() else { return true };
            self.queue.remove(&work);
            self.work(&work);
        }
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// Objects own others in any way, circles too; some are deleted with some policy. In the end no object is left whose
    /// owners are all gone, nothing that has a living owner is deleted, and nothing hangs.
    #[test]
    fn what_has_no_owner_goes_and_nothing_else(
        edges in prop::collection::btree_set((0..5u8, 0..5u8, any::<bool>()), 0..16),
        order in Just((0..5u8).collect::<Vec<_>>()).prop_shuffle(),
        deletions in prop::collection::btree_map(0..5u8, 0..3u8, 1..4),
        choices in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut toy = Toy::default();
        for i in order {
            // Owners come before their dependents by number, so the starting world is consistent; circles come from back edges.
            let owners: BTreeMap<u8, bool> = edges.iter().filter(|(c, o, _)| *c == i && *o != i).map(|(_, o, b)| (*o, *b)).collect();
            let owners: Vec<_> = owners.iter().map(|(o, b)| refer(&format!("n{o}"), *b)).collect();
            toy.objects.insert(format!("n{i}"), object_in("ns", &format!("n{i}"), &owners));
        }
        for meta in toy.objects.clone().values() {
            toy.tell(meta);
        }
        prop_assert!(toy.settle(&choices));
        prop_assert_eq!(toy.objects.len(), 5, "all owners exist, nothing may go");
        for (i, policy) in &deletions {
            toy.delete(&format!("n{i}"), ["Background", "Foreground", "Orphan"][usize::from(*policy)]);
        }
        prop_assert!(toy.settle(&choices), "the collector never comes to rest");
        for i in deletions.keys() {
            prop_assert!(!toy.objects.contains_key(&format!("n{i}")), "n{i} still stands");
        }
        for meta in toy.objects.values() {
            let alive = meta.owners.iter().filter(|o| toy.objects.contains_key(&o.uid)).count();
            prop_assert!(meta.owners.is_empty() || alive > 0, "{} has no living owner", meta.uid);
        }
    }
}
