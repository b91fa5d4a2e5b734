//! The process that owns a pod's namespaces.
//!
//! It is the first process of the pod's pause container: it sleeps until SIGTERM or SIGINT asks it to leave, and it
//! reaps orphans where the pod shares its process namespace. It is built without the standard library and without a
//! C runtime, so that the image is about a kilobyte and the process takes a few pages. The kubelet's build script
//! compiles this file with `rustc` directly and embeds the result; it is not a Cargo package.
#![no_std]
#![no_main]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the pause process speaks the system call interface of Linux on x86-64");

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

const SYS_RT_SIGPROCMASK: usize = 14;
const SYS_WAIT4: usize = 61;
const SYS_RT_SIGTIMEDWAIT: usize = 128;
const SYS_EXIT_GROUP: usize = 231;

const SIG_BLOCK: usize = 0;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const WNOHANG: usize = 1;
/// The size in bytes of the kernel's signal set.
const SIGSET_BYTES: usize = 8;

// The kernel enters here with a stack that is not a function's frame: align it and call.
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym main);

extern "C" fn main() -> ! {
    let signals: u64 = bit(SIGINT) | bit(SIGTERM) | bit(SIGCHLD);
    // As process 1 of its namespace this process gets no default actions: the three signals are blocked and then
    // taken one by one, so that no handler and no signal trampoline is needed.
    system_call(SYS_RT_SIGPROCMASK, SIG_BLOCK, &raw const signals as usize, 0, SIGSET_BYTES);
    loop {
        match system_call(SYS_RT_SIGTIMEDWAIT, &raw const signals as usize, 0, 0, SIGSET_BYTES) {
            SIGINT | SIGTERM => exit(0),
            SIGCHLD => reap(),
            // EINTR and stops: wait again.
            _ => {}
        }
    }
}

const fn bit(signal: isize) -> u64 {
    1 << (signal - 1)
}

/// Collects every child that has ended; one SIGCHLD may stand for several.
fn reap() {
    while system_call(SYS_WAIT4, usize::MAX, 0, WNOHANG, 0) > 0 {}
}

fn exit(code: usize) -> ! {
    loop {
        system_call(SYS_EXIT_GROUP, code, 0, 0, 0);
    }
}

fn system_call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the calls made here only read the signal set that lives in `main`, and change no other memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
