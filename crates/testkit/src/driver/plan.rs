//! From a seed to a sequence of actions. A small model of the cluster keeps them sensible.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cluster::Role;

/// A deployment, and the service of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct App {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How a deployment rolls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// maxSurge.
    pub surge: u32,
    /// maxUnavailable.
    pub unavailable: u32,
}

/// Something that a user does, or that befalls the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Action {
    Create {
        app: App,
        replicas: u32,
        strategy: Strategy,
    },
    Scale {
        app: App,
        replicas: u32,
    },
    Roll {
        app: App,
        version: u32,
    },
    Pause {
        app: App,
        paused: bool,
    },
    Undo {
        app: App,
    },
    Delete {
        app: App,
        propagation: &'static str,
    },
    Expose {
        app: App,
        node_port: bool,
    },
    Unexpose {
        app: App,
    },
    LooseAPod {
        app: App,
    },
    DeleteAPod {
        app: App,
    },
    DeleteNamespace {
        namespace: String,
    },
    CrashContainer {
        node: usize,
    },
    SlowNode {
        node: usize,
        stop_millis: u64,
    },
    SilenceNode {
        node: usize,
    },
    RestartApi,
    CrashLeader(Role),
    PauseLeader(Role),
    DropWatches,
    FailWrites {
        calls: u32,
    },
    LoseReplies {
        writes: u32,
    },
    DelayStore {
        millis: u64,
    },
    SilenceWatches,
    /// All faults end; the cluster comes to rest and is looked at.
    Heal,
}

#[derive(Default)]
struct Model {
    apps: BTreeMap<App, bool>,
    versions: u32,
    apps_made: u32,
    faults: u32,
}

/// `count` actions, the last of which heals.
#[must_use]
pub fn plan(seed: u64, count: usize, nodes: usize) -> Vec<Action> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    let mut actions: Vec<_> = (1..count).map(|_| next(&mut rng, &mut model, nodes)).collect();
    actions.push(Action::Heal);
    actions
}

/// Two of three are things that users do; the rest are faults, of which only some may pile up.
fn next(rng: &mut StdRng, model: &mut Model, nodes: usize) -> Action {
    if model.faults >= 5 {
        model.faults = 0;
        return Action::Heal;
    }
    if model.apps.len() < 2 || (model.apps.len() < 4 && rng.random_ratio(1, 6)) {
        return create(rng, model);
    }
    if rng.random_ratio(2, 3) {
        return user(rng, model);
    }
    model.faults += 1;
    fault(rng, nodes)
}

fn create(rng: &mut StdRng, model: &mut Model) -> Action {
    model.apps_made += 1;
    let app = App { namespace: format!("ns{}", rng.random_range(0..3)), name: format!("app{}", model.apps_made) };
    model.apps.insert(app.clone(), false);
    let surge = rng.random_range(0..3);
    let unavailable = if surge == 0 { rng.random_range(1..3) } else { rng.random_range(0..3) };
    Action::Create { app, replicas: rng.random_range(1..6), strategy: Strategy { surge, unavailable } }
}

fn user(rng: &mut StdRng, model: &mut Model) -> Action {
    let at = rng.random_range(0..model.apps.len());
    let (app, exposed) = model.apps.iter_mut().nth(at).expect("chosen among them");
    let (name, is_exposed) = (app.clone(), *exposed);
    match rng.random_range(0..100) {
        0..20 => Action::Scale { app: name, replicas: rng.random_range(0..7) },
        20..45 => {
            model.versions += 1;
            Action::Roll { app: name, version: model.versions }
        }
        45..53 => Action::Pause { app: name, paused: rng.random_ratio(1, 2) },
        53..60 => Action::Undo { app: name },
        60..67 => {
            model.apps.remove(&name);
            let policies = ["Background", "Foreground", "Orphan"];
            Action::Delete { app: name, propagation: policies[rng.random_range(0..3)] }
        }
        67..82 if is_exposed => {
            *exposed = false;
            Action::Unexpose { app: name }
        }
        67..82 => {
            *exposed = true;
            Action::Expose { app: name, node_port: rng.random_ratio(1, 2) }
        }
        82..88 => Action::LooseAPod { app: name },
        88..96 => Action::DeleteAPod { app: name },
        _ => {
            model.apps.retain(|app, _| app.namespace != name.namespace);
            Action::DeleteNamespace { namespace: name.namespace }
        }
    }
}

fn fault(rng: &mut StdRng, nodes: usize) -> Action {
    let node = rng.random_range(0..nodes.max(1));
    let role = Role::ALL[rng.random_range(0..Role::ALL.len())];
    match rng.random_range(0..100) {
        0..15 => Action::CrashContainer { node },
        15..27 => Action::SlowNode { node, stop_millis: rng.random_range(0..800) },
        27..37 => Action::SilenceNode { node },
        37..47 => Action::RestartApi,
        47..57 => Action::CrashLeader(role),
        57..67 => Action::PauseLeader(role),
        67..77 => Action::DropWatches,
        77..87 => Action::FailWrites { calls: rng.random_range(1..10) },
        87..93 => Action::LoseReplies { writes: rng.random_range(1..4) },
        93..96 => Action::SilenceWatches,
        _ => Action::DelayStore { millis: rng.random_range(1..30) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_another_one_differs() {
        assert_eq!(plan(7, 50, 3), plan(7, 50, 3));
        assert_ne!(plan(7, 50, 3), plan(8, 50, 3));
        assert_eq!(plan(7, 50, 3).last(), Some(&Action::Heal));
    }

    #[test]
    fn every_action_occurs() {
        let name = |action: &Action| format!("{action:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
        let seen: std::collections::BTreeSet<_> = plan(1, 3000, 3).iter().map(name).collect();
        assert_eq!(seen.len(), 23, "{seen:?}");
    }
}
