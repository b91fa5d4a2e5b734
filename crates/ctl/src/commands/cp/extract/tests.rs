//! Archives as a compromised container would send them, and honest ones.

use std::{
    ffi::OsStr,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use tar::Header;

use super::*;
use crate::commands::cp::pack;

/// An archive made by hand: nothing is checked.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn entry(mut self, kind: EntryType, name: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        let gnu = header.as_gnu_mut().expect("it is one");
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", 0o755, b"")
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, name, "", 0o644, data.as_bytes())
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, 0o777, b"")
    }

    fn hard(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, to, 0o644, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A folder for the copy, with a secret beside it that must stay as it is.
struct Machine {
    folder: tempfile::TempDir,
    tally: Tally,
}

const SECRET: &str = "untouched";

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("secret"), SECRET).expect("it is written");
        fs::create_dir(folder.path().join("copy")).expect("it is made");
        Self { folder, tally: Tally::new(true) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Unpacks `pod:/src` to `to`.
    fn unpack_to(&mut self, archive: &[u8], to: &str) -> Result<()> {
        let wanted = Wanted { name: "src".to_owned(), destination: self.path(to), is_folder: to.ends_with('/') };
        let result = run(archive, &wanted, &mut self.tally);
        assert_eq!(self.read("secret"), SECRET, "nothing outside the copy is written");
        result
    }

    /// As `cp pod:/src copy`.
    fn unpack(&mut self, archive: Raw) -> Result<()> {
        let result = self.unpack_to(&archive.end(), "copy");
        let outside: Vec<String> = fs::read_dir(self.folder.path())
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|n| n != "copy" && n != "secret")
            .collect();
        assert!(outside.is_empty(), "{outside:?} came to be outside the copy");
        result
    }

    fn refused(&self) -> (u64, u64) {
        (self.tally.failed, self.tally.skipped)
    }
}

fn src() -> Raw {
    Raw::default().folder("./src")
}

#[test]
fn cve_2018_1002100_names_with_dots_lead_nowhere() {
    let mut m = Machine::new();
    let archive = src()
        .file("./src/../secret", "x")
        .file("./src/../../secret", "x")
        .file("../secret", "x")
        .file("./src/a/../../secret", "x")
        .file("./src/good", "good");
    m.unpack(archive).expect("the rest is copied");
    assert_eq!(m.refused(), (4, 0));
    assert_eq!(m.read("copy/good"), "good");
}

#[test]
fn absolute_names_lead_nowhere() {
    let mut m = Machine::new();
    let absolute = m.path("secret").display().to_string();
    m.unpack(src().file(&absolute, "x").folder("/src/evil")).expect("they are left out");
    assert_eq!(m.refused(), (2, 0));
}

#[test]
fn names_that_were_not_asked_for_are_left_out() {
    let mut m = Machine::new();
    m.unpack(src().file("./other/file", "x").file("./srcx", "x").file(".bashrc", "x")).expect("they are left out");
    assert_eq!(m.refused(), (3, 0));
    assert_eq!(fs::read_dir(m.path("copy")).expect("a folder").count(), 0);
}

#[test]
fn cve_2019_1002101_nothing_is_written_through_a_symbolic_link_of_the_archive() {
    let mut m = Machine::new();
    // The link stays inside and is made; what comes through it is refused all the same.
    let archive = src()
        .folder("./src/real")
        .link("./src/link", "real")
        .file("./src/link/file", "x")
        .folder("./src/link/sub")
        .link("./src/file", "real/target")
        .file("./src/file", "in its own place");
    m.unpack(archive).expect("the rest is copied");
    assert_eq!(m.refused(), (2, 0));
    assert_eq!(fs::read_dir(m.path("copy/real")).expect("a folder").count(), 0);
    assert_eq!(m.read("copy/file"), "in its own place");
    assert!(!m.path("copy/file").is_symlink());
}

#[test]
fn cve_2019_11246_links_that_lead_out_are_left_out() {
    let mut m = Machine::new();
    let archive = src()
        .link("./src/a", "/etc/passwd")
        .link("./src/b", "..")
        .link("./src/c", "../secret")
        .folder("./src/d")
        .link("./src/d/root", "..")
        .link("./src/d/up", "root/..")
        .link("./src/d/up2", "root/../secret")
        .file("./src/c", "x")
        .file("./src/b/secret", "x");
    m.unpack(archive).expect("the rest is copied");
    // "b" was left out as a link, so it may come to be a folder of the copy.
    assert_eq!(m.refused(), (0, 5));
    assert_eq!(m.read("copy/c"), "x");
    assert!(m.path("copy/d/root").is_symlink(), "it stays inside");
}

#[test]
fn cve_2019_11251_links_that_lay_there_before_are_not_followed() {
    let mut m = Machine::new();
    symlink(m.path("secret"), m.path("copy/file")).expect("a link");
    symlink(m.folder.path(), m.path("copy/folder")).expect("a link");
    fs::hard_link(m.path("secret"), m.path("copy/second-name")).expect("a link");
    let archive = src()
        .file("./src/file", "new")
        .file("./src/folder/secret", "x")
        .folder("./src/folder")
        .file("./src/second-name", "new");
    m.unpack(archive).expect("the rest is copied");
    assert_eq!(m.refused(), (2, 0));
    assert_eq!((m.read("copy/file"), m.read("copy/second-name")), ("new".to_owned(), "new".to_owned()));
    assert!(!m.path("copy/file").is_symlink());
}

#[test]
fn hard_links_reach_files_of_the_copy_only() {
    let mut m = Machine::new();
    let archive = src()
        .file("./src/one", "text")
        .hard("./src/two", "./src/one")
        .hard("./src/three", "../secret")
        .hard("./src/four", "/etc/passwd")
        .link("./src/link", "one")
        .hard("./src/five", "./src/link")
        .hard("./src/six", "./src/missing")
        .file("./src/two", "changed");
    m.unpack(archive).expect("the rest is copied");
    assert_eq!(m.refused(), (4, 0));
    assert_eq!((m.read("copy/one"), m.read("copy/two")), ("text".to_owned(), "changed".to_owned()));
}

#[test]
fn devices_and_special_rights_do_not_come_along() {
    let mut m = Machine::new();
    let archive = src()
        .entry(EntryType::Block, "./src/disk", "", 0o666, b"")
        .entry(EntryType::Char, "./src/zero", "", 0o666, b"")
        .entry(EntryType::Fifo, "./src/pipe", "", 0o666, b"")
        .entry(EntryType::Regular, "./src/tool", "", 0o6755, b"#!/bin/sh\n")
        .entry(EntryType::Directory, "./src/closed", "", 0o1000, b"");
    m.unpack(archive).expect("the rest is copied");
    assert_eq!(m.refused(), (0, 3));
    let mode = |name| fs::metadata(m.path(name)).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode("copy/tool") & 0o7700, 0o700, "executable, without set-user-ID");
    assert_eq!(mode("copy/closed"), 0o700);
}

#[test]
fn endless_names_are_cut_off() {
    let mut m = Machine::new();
    let long = vec![b'a'; usize::try_from(HEADER_BYTES_MAX).expect("small") + 1];
    let archive = src().entry(EntryType::GNULongName, "././@LongLink", "", 0o644, &long).file("./src/x", "x");
    let error = m.unpack(archive).expect_err("it is too much");
    assert!(format!("{error:#}").contains("bytes of names"), "{error:#}");
    // A name that fits the bound but no path is left out alone.
    let long = vec![b'a'; 10_000];
    let archive = src().entry(EntryType::GNULongName, "././@LongLink", "", 0o644, &long).file("./src/x", "x");
    Machine::new().unpack(archive.file("./src/y", "y")).expect("the rest is copied");
}

#[test]
fn zeros_that_cost_nothing_to_send_are_not_written() {
    let mut m = Machine::new();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().expect("it is one");
    gnu.name[..10].copy_from_slice(b"./src/huge");
    gnu.set_real_size(1 << 50);
    gnu.sparse[0].set_offset(1 << 50);
    gnu.sparse[0].set_length(0);
    header.set_cksum();
    let mut archive = src();
    archive.0.extend_from_slice(header.as_bytes());
    let error = m.unpack(archive).expect_err("it is refused");
    assert!(format!("{error:#}").contains("./src/huge is a sparse file"), "{error:#}");
    assert!(!m.path("copy/huge").exists());
}

#[test]
fn an_archive_that_is_cut_off_is_an_error() {
    let whole = src().file("./src/file", &"x".repeat(5000)).end();
    for length in [0, 100, 512, 600, 1024, 1500, 3000, 5600] {
        let mut m = Machine::new();
        let result = m.unpack_to(&whole[..length], "copy");
        // After a whole entry an archive may end: so does one whose padding was left out.
        assert_eq!(result.is_err(), length != 512, "{length}: {result:?}");
    }
    let mut damaged = whole;
    damaged[512] ^= 1;
    assert!(Machine::new().unpack_to(&damaged, "copy").is_err());
}

#[test]
fn a_single_file_goes_where_the_user_said() {
    let archive = Raw::default().file("./src", "text").end();
    let check = |to: &str, expected: &str| {
        let mut m = Machine::new();
        m.unpack_to(&archive, to).expect(to);
        assert_eq!(m.read(expected), "text", "{to}");
        assert_eq!((m.tally.files, m.tally.bytes), (1, 4));
    };
    check("copy/new-name", "copy/new-name");
    check("copy", "copy/src");
    check("copy/", "copy/src");
    check("made/", "made/src");
    check("made/too/file", "made/too/file");
    // Nothing more may come with it.
    let mut m = Machine::new();
    let more =
        Raw::default().file("./src", "text").file("./src/../secret", "x").file("./src", "x").folder("./src").end();
    m.unpack_to(&more, "copy/file").expect("the first is copied");
    assert_eq!((m.read("copy/file").as_str(), m.tally.failed), ("text", 3));
}

#[test]
fn a_link_is_not_what_was_asked_for() {
    let error = Machine::new().unpack(Raw::default().link("./src", "/etc")).expect_err("a link");
    assert!(format!("{error:#}").contains("./src is a symbolic link to /etc"), "{error:#}");
}

#[test]
fn what_is_packed_is_unpacked_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = folder.path().join("from");
    let long = "n".repeat(200);
    for name in ["a/b/c", "-rf", "new\nline", " space ", "\u{e4}\u{1f980}", &format!("{long}/{long}/{long}"), "empty"] {
        let path = from.join(name);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        fs::write(&path, if name == "empty" { "" } else { name }).expect("written");
    }
    fs::create_dir(from.join("no-files")).expect("made");
    fs::write(from.join(OsStr::from_bytes(b"not\xffutf8")), vec![7; 300_000]).expect("written");
    fs::set_permissions(from.join("a/b/c"), fs::Permissions::from_mode(0o751)).expect("set");
    symlink("a/b", from.join("link")).expect("a link");
    symlink("/dev/null", from.join("out")).expect("a link");
    let mut archive = Vec::new();
    let mut packed = Tally::new(true);
    pack::run(&mut archive, &from, OsStr::new("src"), &mut packed).expect("packed");
    let mut m = Machine::new();
    m.unpack_to(&archive, "copy").expect("unpacked");
    assert_eq!((packed.files, packed.bytes, packed.links), (m.tally.files, m.tally.bytes, 2));
    assert_eq!((m.tally.folders, m.tally.links, m.refused()), (packed.folders, 1, (0, 1)));
    for name in ["-rf", "new\nline", " space ", "\u{e4}\u{1f980}"] {
        assert_eq!(m.read(&format!("copy/{name}")), name);
    }
    assert_eq!(m.read(&format!("copy/{long}/{long}/{long}")).len(), 602);
    assert_eq!(fs::read(m.path("copy").join(OsStr::from_bytes(b"not\xffutf8"))).expect("there").len(), 300_000);
    assert_eq!(fs::metadata(m.path("copy/a/b/c")).expect("there").mode() & 0o700, 0o700);
    assert_eq!(fs::read_link(m.path("copy/link")).expect("a link"), Path::new("a/b"));
    // Again, over what is there.
    m.unpack_to(&archive, "copy").expect("unpacked again");
    assert_eq!(m.tally.failed, 0);
}
