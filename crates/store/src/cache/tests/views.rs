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

#[tokio::test]
async fn a_view_that_another_took_the_place_of_does_not_speak_for_what_came_after() {
    let world = World::new().await;
    world.cache.add_view(ViewSpec::new(CUSTOM)).await.expect("added");
    let before = put_custom(&world, "a").await;
    world.cache.consistent().await.expect("reached");
    let old = world.cache.view(CUSTOM).expect("there");
    let subscription = old.watch(before, Scope::All).await.expect("a watch");
    // A reader that waits for what is written only when the view is not fed any more.
    let late = old.page_at(before + 1, None, None, 0);
    let write = async {
        world.cache.add_view(ViewSpec::new(CUSTOM)).await.expect("added again");
        put_custom(&world, "b").await
    };
    let (late, after) = tokio::join!(late, write);
    world.cache.wait_for(after).await.expect("reached");
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert_eq!((names(&old), old.snapshot().revision()), (vec!["a".to_owned()], before));
    assert_eq!(old.get_at_present("", "b").1, before);
    assert_eq!(subscription.progress(), None, "no bookmark for what it was not told");
    let new = world.cache.view(CUSTOM).expect("there");
    assert_eq!((names(&new).len(), new.snapshot().revision()), (2, after));
    world.cache.remove_view(CUSTOM);
    let last = put_custom(&world, "c").await;
    world.cache.wait_for(last).await.expect("reached");
    assert_eq!(new.snapshot().revision(), after);
}
