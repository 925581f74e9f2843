//! Parts of the allowance: what the runs of a machine may send together while other machines use the rest.

use super::*;
use crate::options::RateShare;

fn quarter(limiter: Limiter, shard: u32) -> Limiter {
    limiter.with_share(RateShare { part: 1, of: 4 }, Shard::new(shard, 4))
}

#[tokio::test(start_paused = true)]
async fn shards_on_one_machine_add_up_their_parts() {
    let machine = Machine::new();
    let shards: Vec<_> = (1..=4).map(|shard| quarter(machine.run(RATE), shard)).collect();
    let start = Instant::now();
    let sent = futures::future::join_all(shards.iter().map(|shard| send(shard, 100))).await;
    let sent: Vec<_> = sent.into_iter().flatten().collect();
    // four windows of the whole allowance; a part that was applied twice would take sixteen
    assert!(start.elapsed() < 5 * WINDOW, "{:?}", start.elapsed());
    assert!(most_in_a_window(sent) <= 100);
}

#[tokio::test(start_paused = true)]
async fn two_shards_of_four_leave_half_of_the_allowance_to_other_machines() {
    let machine = Machine::new();
    let shards = [1, 2].map(|shard| quarter(machine.run(RATE), shard));
    let sent = futures::future::join_all(shards.iter().map(|shard| send(shard, 100))).await;
    let sent: Vec<_> = sent.into_iter().flatten().collect();
    assert!(most_in_a_window(sent) <= 50);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_started_again_has_one_part() {
    let machine = Machine::new();
    let mut sent = send(&quarter(machine.run(RATE), 1), 10).await;
    sent.extend(send(&quarter(machine.run(RATE), 1), 90).await);
    assert!(most_in_a_window(sent) <= 25);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_share_and_a_guest_change_nothing_for_each_other() {
    let machine = Machine::new();
    let guest = machine.run(RATE).as_guest();
    send(&guest, 2).await;
    let sent = send(&quarter(machine.run(RATE), 1), 60).await;
    assert!(most_in_a_window(sent) <= 25, "the guest brings no part");
    let whole = machine.run(RATE);
    let start = Instant::now();
    send(&whole, 150).await;
    assert!(start.elapsed() < 3 * WINDOW, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_answers_say_what_is_left_a_shard_uses_what_other_machines_leave() {
    let rule = ServerRate {
        limit: 100,
        window: WINDOW,
        algorithm: Algorithm::Counter,
        headers: SendHeaders::Always,
    };
    let world = Mutex::new((Server::new(rule, Instant::now().into_std()), Vec::new(), 0_usize));
    let limiter = quarter(Machine::new().run(RATE), 1);
    let start = Instant::now();
    for left in (1..=350).rev() {
        assert!(!ask(&limiter, &world, SendHeaders::Always, left, 1).await, "a 429");
    }
    // 350 are three windows and a half; its own part alone would take thirteen
    assert!(start.elapsed() < WINDOW.mul_f64(4.5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_shared_count_a_run_keeps_to_its_part() {
    let limiter = quarter(Limiter::new(RATE), 2);
    let sent = send(&limiter, 90).await;
    assert!(most_in_a_window(sent) <= 25);
}
