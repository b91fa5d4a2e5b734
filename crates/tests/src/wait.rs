//! Waiting for something to become, or stay, true.

use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Looks until `attempt` succeeds; panics with its last complaint when it does not within `limit`.
///
/// # Panics
/// When it takes too long: that is the test's failure.
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let looks = limit.as_millis() / LOOK.as_millis() + 1;
    let timer = jiff::Timestamp::now();
    let mut last = String::new();
    for _ in 0..looks {
        match attempt() {
            Ok(value) => return value,
            Err(why) => last = why,
        }
        if elapsed_since(timer) > limit {
            break;
        }
        std::thread::sleep(LOOK);
    }
    panic!("{what}: not within {} s; last: {last}", limit.as_secs())
}

/// Looks all through `span` and panics as soon as `check` complains.
///
/// # Panics
/// When it does not stay so.
pub fn stays(what: &str, span: Duration, mut check: impl FnMut() -> Result<(), String>) {
    let timer = jiff::Timestamp::now();
    while elapsed_since(timer) < span {
        if let Err(why) = check() {
            panic!("{what}: it did not stay so: {why}");
        }
        std::thread::sleep(LOOK);
    }
}

fn elapsed_since(start: jiff::Timestamp) -> Duration {
    jiff::Timestamp::now().duration_since(start).unsigned_abs()
}

/// Turns a condition into what [`eventually`] and [`stays`] ask for.
///
/// # Errors
/// When the condition does not hold.
pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_the_attempt_succeeds() {
        let mut n = 0;
        let found = eventually("counting", Duration::from_secs(10), || {
            n += 1;
            if n == 3 { Ok(n) } else { Err(format!("{n}")) }
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "never: not within 0 s; last: no")]
    fn it_says_what_it_saw_last() {
        eventually("never", Duration::ZERO, || Err::<(), _>("no".to_owned()));
    }
}
