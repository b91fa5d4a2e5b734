//! Puts random.c in the place of the C library's function: its object is named to the linker, which would not look for a weak
//! symbol in an archive.

fn main() {
    println!("cargo::rerun-if-changed=src/random.c");
    for object in cc::Build::new().file("src/random.c").warnings_into_errors(true).compile_intermediates() {
        println!("cargo::rustc-link-arg={}", object.display());
    }
}
