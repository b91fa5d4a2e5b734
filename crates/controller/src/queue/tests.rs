use std::time::Duration;

use tokio::time::Instant;

use super::Queue;

/// Takes what is ready now.
async fn drain(queue: &Queue<&'static str>) -> Vec<&'static str> {
    let mut keys = Vec::new();
    while let Ok(Some(key)) = tokio::time::timeout(Duration::ZERO, queue.next()).await {
        keys.push(key);
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn a_key_added_twice_is_handed_out_once() {
    let queue = Queue::new();
    queue.add("a");
    queue.add("b");
    queue.add("a");
    assert_eq!(queue.len(), 2);
    assert_eq!(drain(&queue).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_in_work_is_handed_out_again_only_when_done() {
    let queue = Queue::new();
    queue.add("a");
    assert_eq!(queue.next().await, Some("a"));
    queue.add("a");
    assert!(drain(&queue).await.is_empty(), "two workers on one key");
    queue.done(&"a");
    assert_eq!(drain(&queue).await, ["a"]);
    queue.done(&"a");
    assert!(drain(&queue).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_several_delays_the_earliest_counts() {
    let queue = Queue::new();
    let start = Instant::now();
    queue.add_after("late", Duration::from_secs(9));
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("a", Duration::from_secs(2));
    queue.add_after("a", Duration::from_secs(7));
    assert_eq!(queue.next().await, Some("a"));
    assert_eq!(start.elapsed().as_secs(), 2);
    queue.done(&"a");
    assert_eq!(queue.next().await, Some("late"));
    assert_eq!(start.elapsed().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn adding_a_delayed_key_now_cancels_its_timer() {
    let queue = Queue::new();
    queue.add_after("a", Duration::from_secs(5));
    queue.add("a");
    assert_eq!(queue.next().await, Some("a"));
    queue.done(&"a");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(drain(&queue).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delay_set_during_work_survives_it() {
    let queue = Queue::new();
    queue.add("a");
    assert_eq!(queue.next().await, Some("a"));
    queue.add_after("a", Duration::from_secs(5));
    queue.done(&"a");
    assert_eq!(queue.next().await, Some("a"));
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_success_forgets() {
    let queue = Queue::new();
    let start = Instant::now();
    for _ in 0..3 {
        queue.add_rate_limited("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.done(&"a");
    }
    assert_eq!(start.elapsed().as_millis(), 5 + 10 + 20);
    assert_eq!(queue.failures(&"a"), 3);
    queue.forget(&"a");
    assert_eq!(queue.failures(&"a"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_addition_wakes_a_waiting_worker_before_a_timer() {
    let queue = Queue::new();
    queue.add_after("late", Duration::from_secs(60));
    let worker = tokio::time::timeout(Duration::from_secs(1), queue.next());
    let adder = async { queue.add("now") };
    let (taken, ()) = tokio::join!(worker, adder);
    assert_eq!(taken.expect("woken"), Some("now"));
}

#[tokio::test(start_paused = true)]
async fn several_waiting_workers_all_get_work() {
    let queue = Queue::new();
    let adder = async {
        queue.add("a");
        queue.add("b");
        queue.add("c");
    };
    let both = async { tokio::join!(queue.next(), queue.next(), queue.next()) };
    let ((a, b, c), ()) = tokio::join!(both, adder);
    let mut got = [a, b, c];
    got.sort_unstable();
    assert_eq!(got, [Some("a"), Some("b"), Some("c")]);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_worker() {
    let queue: Queue<&str> = Queue::new();
    let closer = async { queue.close() };
    let (a, b, ()) = tokio::join!(queue.next(), queue.next(), closer);
    assert_eq!((a, b), (None, None));
    queue.add("a");
    assert_eq!(queue.next().await, None);
}
