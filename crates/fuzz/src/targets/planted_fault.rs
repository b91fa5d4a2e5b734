//! A fault that was planted: a run has to find it, which shows that the fuzzer sees which way comparisons go.

pub(crate) fn run(data: &[u8]) {
    let faults = data.starts_with(b"Ga") && data.get(2) == Some(&b'n') && data.get(3..7) == Some(b"try!");
    assert!(!faults, "the planted fault");
}
