//! One direction of a connection over the line. A byte arrives half a round trip after it has left; room in the window
//! comes back half a round trip after that, since the sender learns of an arrival no earlier.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::LineShape;
use super::rate::SharedRate;

/// Bytes that travel together: small enough to share the line fairly, large enough to cost little.
const PIECE_MAX: usize = 16 * 1024;

/// Copies until either end closes; `moved` is called for every piece.
pub async fn pipe(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shape: LineShape,
    rate: &SharedRate,
    moved: &impl Fn(),
) {
    let one_way = shape.round_trip / 2;
    let window = Semaphore::new(shape.window);
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let (receiver, mut received) = mpsc::unbounded_channel::<(Instant, usize)>();
    let send = async {
        let sender = sender;
        while let Some(piece) = next_piece(&mut from, &window).await {
            let leaves = rate.leaves_at(piece.len(), Instant::now());
            // an empty piece is the end, which takes as long as a byte
            let is_end = piece.is_empty();
            sleep_until(leaves).await;
            if sender.send((leaves + one_way, piece)).is_err() || is_end {
                return;
            }
        }
    };
    let deliver = async {
        let receiver = receiver;
        while let Some((at, piece)) = under_way.recv().await {
            sleep_until(at).await;
            moved();
            if to.write_all(&piece).await.is_err() {
                break;
            }
            let _ = receiver.send((Instant::now() + one_way, piece.len()));
        }
        let _ = to.shutdown().await;
        // ends the wait of a task that waits for room
        window.close();
    };
    let acknowledge = async {
        while let Some((at, bytes)) = received.recv().await {
            sleep_until(at).await;
            window.add_permits(bytes);
        }
    };
    tokio::join!(send, deliver, acknowledge);
}

/// The bytes that have arrived, at most as many as the window has room for; empty at the end. `None` if the receiver is
/// gone.
async fn next_piece(from: &mut (impl AsyncRead + Unpin), window: &Semaphore) -> Option<Bytes> {
    let room = window.acquire().await.ok()?;
    let more = window.available_permits().min(PIECE_MAX - 1);
    let room_for_more = window.try_acquire_many(u32::try_from(more).ok()?).ok()?;
    let mut buffer = vec![0; 1 + more];
    // a connection that breaks ends like one that closes
    let length = from.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(length);
    room.forget();
    room_for_more.forget();
    window.add_permits(1 + more - length);
    Some(buffer.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FAST: u64 = 1 << 40;

    /// How long these bytes take, first to last.
    async fn time(bytes: usize, shape: LineShape) -> (Duration, Duration) {
        let ((mut client, from), (to, mut server)) = (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
        let rate = SharedRate::new(shape.bytes_per_second);
        let start = Instant::now();
        let copy = async { pipe(from, to, shape, &rate, &|| ()).await };
        let send = async {
            client.write_all(&vec![7; bytes]).await.expect("sent");
            client.shutdown().await.expect("closed");
        };
        let receive = async {
            server.read_u8().await.expect("a byte");
            let first = start.elapsed();
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.expect("all of it");
            assert_eq!(rest, vec![7; bytes - 1]);
            first
        };
        let ((), (), first) = tokio::join!(copy, send, receive);
        (first, start.elapsed())
    }

    fn milliseconds(time: Duration) -> u128 {
        time.as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_takes_half_a_round_trip() {
        let shape =
            LineShape { round_trip: Duration::from_millis(150), window: 1000, bytes_per_second: FAST };
        let (first, _) = time(1, shape).await;
        assert!((75..=77).contains(&milliseconds(first)), "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_of_bytes_moves_each_round_trip() {
        let shape =
            LineShape { round_trip: Duration::from_millis(100), window: 1000, bytes_per_second: FAST };
        // ten windows: nine round trips behind the first one
        let (_, all) = time(10_000, shape).await;
        assert!((950..=1100).contains(&milliseconds(all)), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_however_large_the_window_is() {
        let shape =
            LineShape { round_trip: Duration::from_millis(100), window: 1 << 20, bytes_per_second: 100_000 };
        let (_, all) = time(200_000, shape).await;
        assert!((2050..=2200).contains(&milliseconds(all)), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_gone_ends_the_copy() {
        let shape = LineShape { round_trip: Duration::from_millis(10), window: 1000, bytes_per_second: FAST };
        let ((mut client, from), (to, server)) = (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
        drop(server);
        client.write_all(&[7; 5000]).await.expect("sent");
        let rate = SharedRate::new(FAST);
        let ended = tokio::time::timeout(Duration::from_secs(5), pipe(from, to, shape, &rate, &|| ())).await;
        assert!(ended.is_ok(), "it still waits");
    }
}
