//! A fault that was planted: a run has to find it, which shows that the fuzzer sees how far inputs get. Chance would take
//! 2^56 tries.

use std::hint::black_box;

pub(crate) fn run(data: &[u8]) {
    // One after the other and not to be merged, so that each byte that is right leads to new code.
    let is = |at: usize, byte: u8| black_box(data.get(at).copied()) == Some(byte);
    if is(0, b'G') && is(1, b'a') && is(2, b'n') && is(3, b't') && is(4, b'r') && is(5, b'y') && is(6, b'!') {
        panic!("the planted fault");
    }
}
