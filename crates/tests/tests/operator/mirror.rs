//! A copy of all sites in a version that is not stored, kept by a reflector of kube-rs.

use std::pin::pin;

use futures::StreamExt;
use gantry_common::task;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::site::{Site, old_version};
use crate::world::World;

/// What the mirror's watch did: `list`, `+name`, `-name`.
type Heard = Arc<Mutex<Vec<String>>>;

fn mirror(world: &World, config: watcher::Config) -> (reflector::Store<DynamicObject>, Heard) {
    let writer = reflector::store::Writer::new(old_version());
    let (store, heard) = (writer.as_reader(), Heard::default());
    let sites: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), "default", &old_version());
    let log = Arc::clone(&heard);
    drop(task::spawn("mirror", async move {
        let stream = watch(sites, config).default_backoff().reflect(writer);
        let mut stream = pin!(stream);
        while let Some(event) = stream.next().await {
            let Ok(event) = event else { continue };
            let line = match event {
                Event::Init => "list".to_owned(),
                Event::Apply(site) => format!("+{}", site.name_any()),
                Event::Delete(site) => format!("-{}", site.name_any()),
                Event::InitApply(_) | Event::InitDone => continue,
            };
            log.lock().push(line);
        }
    }));
    (store, heard)
}

async fn check(config: watcher::Config) {
    let mut world = World::start().await;
    for name in ["a", "b"] {
        world.create(&Site::new(name, "hello")).await;
    }
    let (store, heard) = mirror(&world, config);
    store.wait_until_ready().await.expect("it is filled");
    let reference = |name: &str| ObjectRef::new_with(name, old_version()).within("default");
    let text = |name: &str| Some(store.get(&reference(name))?.data["spec"]["text"].as_str()?.to_owned());
    assert_eq!((store.len(), text("a").as_deref()), (2, Some("hello")), "it is converted");
    world.cluster.restart_api().await.expect("it starts again");
    world.sites().delete("a", &DeleteParams::default()).await.expect("it is deleted");
    world.create(&Site::new("c", "new")).await;
    world.found("the new site in the mirror", async || text("c")).await;
    assert_eq!((store.len(), text("a")), (2, None));
    assert_eq!(*heard.lock(), ["list", "-a", "+c"], "it goes on where it was");
}

#[tokio::test]
async fn a_reflector_goes_on_after_a_restart_without_listing_again() {
    check(watcher::Config::default()).await;
}

#[tokio::test]
async fn a_streaming_list_does_too() {
    check(watcher::Config::default().streaming_lists()).await;
}
