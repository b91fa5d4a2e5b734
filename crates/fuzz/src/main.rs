//! Fuzz targets, all in one program that libFuzzer drives; `cargo xtask fuzz` builds and runs it.
//!
//! A target is a function over bytes that panics when something that must hold does not. The environment variable
//! `GANTRY_FUZZ` picks it, `list` prints the names. docs/testing.md says how to add one and how to replay what was found.
#![no_main]

mod body;
mod sessions;
mod stream;
mod targets;

use std::sync::OnceLock;

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    let run = CHOSEN.get().expect("libFuzzer initialises first");
    run(data);
});

fn choose() {
    let name = std::env::var("GANTRY_FUZZ").unwrap_or_default();
    if name == "list" {
        targets::ALL.iter().for_each(|(name, _)| println!("{name}"));
        std::process::exit(0);
    }
    match targets::ALL.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => drop(CHOSEN.set(*run)),
        None => {
            eprintln!("GANTRY_FUZZ={name:?} names no target; GANTRY_FUZZ=list shows them");
            std::process::exit(2);
        }
    }
}
