//! Views that come and go.

use super::*;

const CUSTOM: &str = "/registry/example.com/things/";

async fn put_custom(world: &World, name: &str) -> u64 {
    let value = format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}");
    commit(&world.store, Txn::new().put(format!("{CUSTOM}{name}"), Bytes::from(value))).await
}

fn names(view: &View) -> Vec<String> {
    view.snapshot().list(None, None).map(|object| object.key()[CUSTOM.len()..].to_owned()).collect()
}

#[tokio::test]
async fn a_view_that_is_added_has_what_was_there_and_what_comes() {
    let world = World::new().await;
    put_custom(&world, "a").await;
    assert!(world.cache.view(CUSTOM).is_none());
    // Writes go on while it is filled.
    let writes = async {
        for number in 0..50 {
            put_custom(&world, &format!("w{number:02}")).await;
        }
    };
    let (added, ()) = tokio::join!(world.cache.add_view(ViewSpec::new(CUSTOM)), writes);
    added.expect("added");
    world.cache.consistent().await.expect("reached");
    let view = world.cache.view(CUSTOM).expect("it was added");
    assert_eq!(names(&view).len(), 51);
    let mut watch = view.watch(world.cache.revision(), Scope::All).await.expect("a watch");
    put_custom(&world, "z").await;
    assert_eq!(watch.next().await.expect("an event").object.key(), format!("{CUSTOM}z"));
}

#[tokio::test]
async fn a_view_that_is_replaced_or_removed_ends_its_watches() {
    let world = World::new().await;
    world.cache.add_view(ViewSpec::new(CUSTOM)).await.expect("added");
    put_custom(&world, "a").await;
    let watch = || async {
        let revision = world.cache.consistent().await.expect("reached");
        world.cache.view(CUSTOM).expect("there").watch(revision, Scope::All).await.expect("a watch")
    };
    let mut first = watch().await;
    world.cache.add_view(ViewSpec::new(CUSTOM)).await.expect("added again");
    assert!(matches!(first.next().await, Err(WatchError::Closed)));
    assert_eq!(names(&world.cache.view(CUSTOM).expect("there")), ["a"]);
    let mut second = watch().await;
    world.cache.remove_view(CUSTOM);
    assert!(matches!(second.next().await, Err(WatchError::Closed)));
    assert!(world.cache.view(CUSTOM).is_none());
    let overlapping = world.cache.add_view(ViewSpec::new("/registry/pods/x/")).await;
    assert!(matches!(overlapping, Err(Error::Overlaps { .. })));
}
