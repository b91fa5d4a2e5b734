//! How well containers may be kept from the kernel's out-of-memory killer on this machine.

use std::fs;

/// `CAP_SYS_RESOURCE`, which lowering a score needs (linux/capability.h).
const SYS_RESOURCE: u64 = 1 << 24;
/// The lowest score there is.
const LOWEST: i64 = -1000;

/// The lowest score that a container can be given. Where the machine's own root lacks the capability (as in some virtual
/// machines and containers), a lower one than the present would keep every container from starting.
pub(super) fn lowest() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let present = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    from(&status, &present)
}

fn from(status: &str, present: &str) -> i64 {
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or_default();
    let capable = u64::from_str_radix(effective.trim(), 16).is_ok_and(|caps| caps & SYS_RESOURCE != 0);
    if capable { LOWEST } else { present.trim().parse().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_with_the_capability_a_score_can_be_lowered() {
        assert_eq!(from("Name:\tx\nCapEff:\t000001ffffffffff\n", "0\n"), LOWEST);
        assert_eq!(from("Name:\tx\nCapEff:\t000001fffeffffff\n", "0\n"), 0);
        assert_eq!(from("CapEff:\t0\n", "-500\n"), -500);
    }
}
