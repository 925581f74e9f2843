//! A long line on loopback: a relay that holds every byte for a fixed time each way, lets a connection have only a
//! window of bytes under way, and limits the rate of all connections together. Most kernels that
//! tests run on have no network emulation of their own, so it is done here.
//!
//! A connection waits a round trip before its first byte, as a TCP handshake would. Slow start and loss are left out: a
//! connection is as fast from its first byte as it ever gets, which is a window each round trip.

mod pipe;
mod rate;
mod traffic;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::pipe::pipe;
use self::rate::SharedRate;
pub use self::traffic::Traffic;

/// What a line is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineShape {
    /// There and back; each way takes half of it.
    pub round_trip: Duration,
    /// Bytes of one connection that may be under way in one direction.
    pub window: usize,
    /// Bytes a second of all connections together, each way.
    pub bytes_per_second: u64,
}

impl LineShape {
    /// The size of a body that one connection needs this long to bring.
    pub fn body_of(&self, time: Duration) -> usize {
        let windows = time.as_secs_f64() / self.round_trip.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let bytes = (windows * self.window as f64) as usize;
        bytes
    }
}

/// One line, which any number of servers may stand behind.
#[derive(Debug)]
pub struct Line {
    shape: LineShape,
    up: SharedRate,
    down: SharedRate,
}

impl Line {
    pub fn new(shape: LineShape) -> Arc<Self> {
        let rate = || SharedRate::new(shape.bytes_per_second);
        Arc::new(Self { shape, up: rate(), down: rate() })
    }

    /// Puts the line in front of the server at `to`, until `stop`. Clients connect to `listener`.
    pub fn relay(
        self: &Arc<Self>,
        listener: TcpListener,
        to: SocketAddr,
        stop: CancellationToken,
    ) -> Arc<Traffic> {
        let (line, traffic) = (Arc::clone(self), Arc::<Traffic>::default());
        let seen = Arc::clone(&traffic);
        tokio::spawn(async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                let Ok((client, _)) = accepted else { continue };
                let connection = Arc::clone(&line).connection(client, to, Arc::clone(&seen));
                tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
            }
        });
        traffic
    }

    /// Ends when both directions have ended.
    async fn connection(self: Arc<Self>, client: TcpStream, to: SocketAddr, traffic: Arc<Traffic>) {
        let counted = traffic.opened();
        let joined = async {
            tokio::time::sleep(self.shape.round_trip).await;
            let server = TcpStream::connect(to).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            io::Result::Ok(server)
        };
        // a server that is not there: the client sees its connection close
        let Ok(server) = joined.await else { return };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let moved = || counted.moved();
        tokio::join!(
            pipe(from_client, to_server, self.shape, &self.up, &moved),
            pipe(from_server, to_client, self.shape, &self.down, &moved),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHAPE: LineShape =
        LineShape { round_trip: Duration::from_millis(40), window: 1000, bytes_per_second: 1 << 30 };

    #[tokio::test]
    async fn a_connection_pays_for_its_handshake_and_for_each_round_trip() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let front = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let (to, address) = (server.local_addr().expect("bound"), front.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.expect("a client");
            let mut byte = [0];
            while socket.read_exact(&mut byte).await.is_ok() {
                socket.write_all(&byte).await.expect("the client reads");
            }
        });
        let stop = CancellationToken::new();
        let traffic = Line::new(SHAPE).relay(front, to, stop.clone());
        let mut client = TcpStream::connect(address).await.expect("connected");
        for (byte, round_trips) in [(7, 2), (8, 1)] {
            let start = Instant::now();
            client.write_all(&[byte]).await.expect("sent");
            let mut echo = [0];
            client.read_exact(&mut echo).await.expect("answered");
            assert_eq!(echo, [byte]);
            assert!(start.elapsed() >= SHAPE.round_trip * round_trips, "{:?}", start.elapsed());
        }
        assert_eq!((traffic.connections(), traffic.busy(Duration::from_mins(1))), (1, 1));
        client.shutdown().await.expect("closed");
        assert_eq!(client.read(&mut [0]).await.expect("closed in order"), 0);
        stop.cancel();
    }

    #[test]
    fn a_body_has_a_window_for_each_round_trip() {
        assert_eq!(SHAPE.body_of(Duration::from_secs(2)), 50_000);
    }
}
