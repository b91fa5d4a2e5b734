//! Random histories against a model: whatever the store and the network do, a watcher's events are exactly those that
//! happened in its scope, in order, none missing and none twice, until it is told to list again.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What the model knows of one write: state before and after, by node name.
#[derive(Clone, Debug)]
struct Written {
    revision: u64,
    key: String,
    before: Option<String>,
    after: Option<String>,
}

struct Model {
    seed: u64,
    random: SmallRng,
    pods: BTreeMap<String, String>,
    written: Vec<Written>,
}

/// One simulated client.
struct Client {
    watch: Subscription,
    scope: Scope,
    from: u64,
    seen: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self { seed, random: SmallRng::seed_from_u64(seed), pods: BTreeMap::new(), written: Vec::new() }
    }

    fn scope(&mut self) -> Scope {
        let number = self.random.random_range(0..3_u32);
        match self.random.random_range(0..4) {
            0 => Scope::All,
            1 => scope_of(&format!("ns{number}")),
            2 => Scope::Name { namespace: None, name: format!("p{number}").into() },
            _ => Scope::Index { index: BY_NODE, value: format!("n{number}").into() },
        }
    }

    async fn write(&mut self, world: &World) {
        let key = format!("ns{}/p{}", self.random.random_range(0..3), self.random.random_range(0..6));
        let before = self.pods.get(&key).cloned();
        let delete = before.is_some() && self.random.random_bool(0.3);
        let node = format!("n{}", self.random.random_range(0..3));
        let (revision, after) = match delete {
            true => (world.delete(&key).await, None),
            false => (world.put(&key, &node).await, Some(node)),
        };
        match &after {
            Some(node) => self.pods.insert(key.clone(), node.clone()),
            None => self.pods.remove(&key),
        };
        self.written.push(Written { revision, key, before, after });
    }

    /// The events that a watcher of `scope` must have seen from `from` up to `to`.
    fn expected(&self, scope: &Scope, from: u64, to: u64) -> Vec<String> {
        let events = self.written.iter().filter(|write| write.revision > from && write.revision <= to);
        events.filter_map(|write| write.told(scope)).collect()
    }
}

impl Written {
    fn told(&self, scope: &Scope) -> Option<String> {
        let (namespace, name) = self.key.split_once('/').unwrap();
        let inside = |node: &Option<String>| match (scope, node) {
            (_, None) => false,
            (Scope::All, _) => true,
            (Scope::Namespace(wanted), _) => **wanted == *namespace,
            (Scope::Name { name: wanted, .. }, _) => **wanted == *name,
            (Scope::Index { value, .. }, Some(node)) => **value == **node,
        };
        let sign = match (inside(&self.before), inside(&self.after)) {
            (false, false) => return None,
            (false, true) => '+',
            (true, true) => '~',
            (true, false) => '-',
        };
        Some(format!("{sign}{}@{}", self.key, self.revision))
    }
}

async fn fault(model: &mut Model, world: &World) {
    let faults = world.store.faults();
    match model.random.random_range(0..6) {
        0 => faults.drop_watches(),
        1 => faults.refuse_watches(model.random.random_range(0..3)),
        2 => {
            faults.delay(Duration::from_millis(model.random.random_range(0..5)));
            faults.delay_replies(Duration::from_millis(model.random.random_range(0..5)));
        }
        3 => {
            faults.drop_watches();
            faults.refuse_watches(1);
        }
        4 => {
            // Behind the cache, so that only clients that resume from far back can notice.
            let revision = world.cache.revision().saturating_sub(30);
            drop(world.store.compact(revision).await);
        }
        _ => tokio::task::yield_now().await,
    }
}

/// A client starts to watch: from the present, or from some revision in the past.
async fn join(model: &mut Model, world: &World, clients: &mut Vec<Client>) {
    let present = world.cache.revision();
    let from = if model.random.random_bool(0.5) { present } else { model.random.random_range(0..=present) };
    let scope = model.scope();
    begin(model, world, clients, from, scope).await;
}

async fn begin(model: &Model, world: &World, clients: &mut Vec<Client>, from: u64, scope: Scope) {
    match world.pods().watch(from, scope.clone()).await {
        Ok(watch) => clients.push(Client { watch, scope, from, seen: Vec::new() }),
        Err(WatchError::Expired { .. } | WatchError::Store { .. }) => {}
        Err(error) => panic!("seed {}: {error}", model.seed),
    }
}

/// Takes what a client has; returns whether it goes on.
fn read(model: &Model, client: &mut Client) -> bool {
    loop {
        match client.watch.try_next() {
            Ok(Some(event)) => client.seen.push(told(&event)),
            Ok(None) => {
                // What a bookmark would say now.
                if let Some(told) = client.watch.progress() {
                    let expected = model.expected(&client.scope, client.from, told);
                    assert!(client.seen.starts_with(&expected), "seed {}: a bookmark of {told}", model.seed);
                }
                return true;
            }
            // The client lists again: what it saw until then must be right, and without holes.
            Err(WatchError::Expired { .. } | WatchError::Overflow { .. } | WatchError::Store { .. }) => {
                let all = model.expected(&client.scope, client.from, u64::MAX);
                assert!(all.starts_with(&client.seen), "seed {}: {:?} saw {:?}", model.seed, client.scope, client.seen);
                return false;
            }
            Err(error) => panic!("seed {}: {error}", model.seed),
        }
    }
}

/// `crowd`: so many watch everything, and one namespace, from the beginning.
async fn run(seed: u64, steps: u32, crowd: usize) {
    let mut model = Model::new(seed);
    let config = Config { history_events: 20, queue_events: 16, ..Config::default() };
    let world = World::start(MemoryStore::new(), config).await;
    let mut clients = Vec::new();
    for _ in 0..crowd {
        begin(&model, &world, &mut clients, 0, Scope::All).await;
        begin(&model, &world, &mut clients, 0, scope_of("ns1")).await;
    }
    for _ in 0..steps {
        match model.random.random_range(0..20) {
            0 => fault(&mut model, &world).await,
            1 | 2 => join(&mut model, &world, &mut clients).await,
            3..=5 => clients.retain_mut(|client| read(&model, client)),
            6 => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => model.write(&world).await,
        }
    }
    finish(&model, &world, clients).await;
}

async fn finish(model: &Model, world: &World, mut clients: Vec<Client>) {
    world.store.faults().delay(Duration::ZERO);
    world.store.faults().delay_replies(Duration::ZERO);
    let revision = world.store.revision().await.unwrap();
    while world.cache.wait_for(revision).await.is_err() {}
    // Old history still comes in from the store: let it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..50 {
        clients.retain_mut(|client| read(model, client));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for client in &clients {
        let expected = model.expected(&client.scope, client.from, revision);
        assert_eq!(client.seen, expected, "seed {}: {:?} from {}", model.seed, client.scope, client.from);
    }
    let snapshot = world.pods().snapshot();
    let cached: BTreeMap<String, String> = snapshot
        .list(None, None)
        .map(|pod| (snapshot.relative_key(pod).to_owned(), pod.index_value(BY_NODE).unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(cached, model.pods, "seed {}", model.seed);
    assert_eq!(world.cache.counters().mismatches(), 0);
}

#[tokio::test(start_paused = true)]
async fn watchers_see_exactly_what_happened() {
    for seed in 0..60 {
        run(seed, 400, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crowds_see_exactly_what_happened() {
    for seed in 0..20 {
        run(seed, 400, 40).await;
    }
}
