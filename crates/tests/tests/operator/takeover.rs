//! Two instances: one leads, the other takes over, and no object is worked on by both.

use gantry_testkit::component::Component;

use crate::site::Site;
use crate::world::World;

const SITES: [&str; 4] = ["a", "b", "c", "d"];

/// One instance leads, the other waits.
async fn pair(world: &World) -> (Component, Component) {
    let first = world.instance("first").await;
    world.leader(|holder| holder == "first").await;
    let second = world.instance("second").await;
    for name in SITES {
        world.create(&Site::new(name, "hello")).await;
    }
    for name in SITES {
        world.available(name).await;
    }
    assert!(SITES.iter().all(|name| world.journal.instances(name) == ["first"]), "who does not lead does not work");
    (first, second)
}

/// New work is done by the second instance, and the old sites are looked at again.
async fn check_second(world: &World, name: &str) {
    assert_eq!(world.leader(|holder| holder == "second").await, ("second".to_owned(), 1));
    world.create(&Site::new(name, "hello")).await;
    world.available(name).await;
    assert_eq!(world.journal.instances(name), ["second"]);
    for name in SITES {
        let both = async || (world.journal.instances(name) == ["first", "second"]).then_some(());
        world.found("the new leader knows what was there", both).await;
    }
}

#[tokio::test]
async fn a_leader_that_stops_gives_its_work_to_the_next() {
    let world = World::start().await;
    let (first, _second) = pair(&world).await;
    // Changed at the last moment: whatever the first leaves undone is for the second.
    world.create(&Site::new("late", "hello")).await;
    first.stop();
    world.available("late").await;
    check_second(&world, "new").await;
    assert_eq!(world.journal.conflicts(), Vec::<String>::new());
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced() {
    let world = World::start().await;
    let (first, _second) = pair(&world).await;
    world.create(&Site::new("late", "hello")).await;
    first.crash();
    check_second(&world, "new").await;
    world.available("late").await;
    assert_eq!(world.journal.conflicts(), Vec::<String>::new());
}

/// What it was at when it froze is open all the while; it begins nothing new.
#[tokio::test]
async fn a_leader_that_was_frozen_finds_another_one() {
    let world = World::start().await;
    let (mut first, _second) = pair(&world).await;
    first.pause();
    check_second(&world, "new").await;
    first.resume();
    world.create(&Site::new("last", "hello")).await;
    world.available("last").await;
    assert_eq!(world.journal.instances("last"), ["second"]);
}

#[tokio::test]
async fn instances_go_on_after_a_restart_of_the_api_server() {
    let mut world = World::start().await;
    let _both = pair(&world).await;
    world.cluster.restart_api().await.expect("it starts again");
    world.create(&Site::new("new", "hello")).await;
    world.available("new").await;
    assert_eq!(world.journal.conflicts(), Vec::<String>::new());
}
