//! Only the relay, in front of any server.

use std::net::SocketAddr;

use sandbox::line::{Line, LineShape};
use sandbox::server::AnyError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Relays until standard input ends.
pub fn serve(from: SocketAddr, to: SocketAddr, shape: LineShape) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _inside = runtime.enter();
    let listener = runtime.block_on(TcpListener::bind(from))?;
    Line::new(shape).relay(listener, to, CancellationToken::new());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
