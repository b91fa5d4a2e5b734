//! `cp`, with this machine's `tar` in the container.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::{World, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_there_and_back() {
    let world = World::start().await;
    let here = world.folder.path().join("here");
    fs::create_dir_all(here.join("sub/empty")).expect("made");
    fs::write(here.join("sub/-odd\nname"), "odd").expect("written");
    let big: Vec<u8> = (0..2_000_003_u32).map(|i| i.to_le_bytes()[0]).collect();
    fs::write(here.join("big"), &big).expect("written");
    fs::write(here.join("tool"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(here.join("tool"), fs::Permissions::from_mode(0o755)).expect("set");
    symlink("sub", here.join("link")).expect("a link");
    let path = here.display().to_string();
    let output = world.run(&["cp", &path, "web:there"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "3 files, 3 folders, 1 link copied, 2000016 bytes\n");
    let there = world.folder.path().join("container/there");
    assert_eq!(fs::read(there.join("big")).expect("there"), big);
    // Into a folder that is there, under its own name.
    world.ok(&["cp", "-q", &path, "default/web:there"]);
    assert_eq!(fs::read(there.join("here/sub/-odd\nname")).expect("there"), b"odd");

    let back = world.folder.path().join("back");
    let output = world.run(&["cp", "web:there/here/", &back.display().to_string()]);
    assert_eq!(text(&output.stderr), "3 files, 3 folders, 1 link copied, 2000016 bytes\n");
    assert_eq!(fs::read(back.join("big")).expect("back"), big);
    assert_eq!(fs::read(back.join("link/-odd\nname")).expect("back"), b"odd");
    assert_eq!(fs::metadata(back.join("tool")).expect("back").permissions().mode() & 0o700, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_files_are_renamed_or_put_into_folders() {
    let world = World::start().await;
    let local = |name: &str| world.folder.path().join(name).display().to_string();
    fs::write(local("a:b"), "colon").expect("written");
    world.ok(&["cp", "-q", &local("a:b"), "web:renamed"]);
    assert_eq!(fs::read_to_string(local("container/renamed")).expect("there"), "colon");
    fs::create_dir(local("into")).expect("made");
    world.ok(&["cp", "-q", "web:renamed", &local("into")]);
    world.ok(&["cp", "-q", "web:./renamed", &local("plain")]);
    assert_eq!(fs::read_to_string(local("into/renamed")).expect("back"), "colon");
    assert_eq!(fs::read_to_string(local("plain")).expect("back"), "colon");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_is_said() {
    let world = World::start().await;
    let local = |name: &str| world.folder.path().join(name).display().to_string();
    fs::write(local("file"), "x").expect("written");
    let check = |args: &[&str], part: &str| {
        let said = world.fails(1, args);
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    };
    check(&["cp", "web:missing", &local("out")], "No such file or directory");
    check(&["cp", &local("missing"), "web:x"], "doesn't exist in local filesystem");
    check(&["cp", &local("file"), "web:no/such/folder/"], "no/such/folder/ is no folder in pod web");
    check(&["cp", &local("file"), "web:no/such"], "ended with exit code 2");
    check(&["cp", &local("file"), &local("other")], "must be in a pod");
    check(&["cp", "web:a", "web:b"], "must be in a pod");
    check(&["cp", &local("file"), "nobody:x"], "pods \"nobody\" not found");
    check(&["cp", "web:", &local("x")], "names no path");
    assert!(!world.folder.path().join("out").exists());
}
