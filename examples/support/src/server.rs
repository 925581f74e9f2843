//! One HTTP server on loopback, used by both servers: HTTP/1.1, and HTTP/2 if a client of its TLS asks for that. It owns
//! what a handler cannot reach: the socket, so that an answer over HTTP/1.1 may end in a reset instead of an orderly
//! close.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::log::Ticket;

pub type AnyError = Box<dyn std::error::Error + Send + Sync>;
/// Its error is a plain one, since hyper's bounds and boxed errors do not agree in a spawned task.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An error closes the connection without an answer.
pub type Answer = Result<Response<Body>, AnyError>;

/// How long a broken body waits before it breaks, so that what came before it has left the process.
const FLUSH: Duration = Duration::from_millis(20);

/// The connection under a request.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<AtomicBool>);

impl Line {
    /// If this answer breaks off, the connection ends with RST, not FIN.
    pub fn reset_when_broken(&self) {
        self.0.store(true, Relaxed);
    }
}

/// What answers requests.
pub trait Handler:
    Fn(Request<Incoming>, Line) -> BoxFuture<'static, io::Result<Response<Body>>> + Clone + Send + Sync + 'static
{
}

impl<F> Handler for F where
    F: Fn(Request<Incoming>, Line) -> BoxFuture<'static, io::Result<Response<Body>>>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Accepts connections until `stop`; connections end with it, too.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
    handler: impl Handler,
) {
    let tls = tls.map(TlsAcceptor::from);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) => {
                let work = connection(socket, tls.clone(), handler.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(work));
            }
            // Out of file descriptors, most likely: give the open connections time to close.
            Err(_) => tokio::time::sleep(FLUSH).await,
        }
    }
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, handler: impl Handler) {
    // Small answers must not wait for one another.
    let _ = socket.set_nodelay(true);
    let Some(tls) = tls else {
        if let Some(socket) = answer_http1(socket, handler).await {
            let _ = socket.set_zero_linger();
        }
        return;
    };
    // a client that does not trust the certificate hangs up
    let Ok(stream) = tls.accept(socket).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let service = service_fn(|request| handler(request, Line::default()));
        let _ =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    } else if let Some(stream) = answer_http1(stream, handler).await {
        let _ = stream.get_ref().0.set_zero_linger();
    }
}

/// Returns the stream if it is to end in a reset.
async fn answer_http1<S>(stream: S, handler: impl Handler) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let line = Line::default();
    let service = service_fn(|request| handler(request, line.clone()));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    (ended.is_err() && line.0.load(Relaxed)).then(|| connection.into_parts().io.into_inner())
}

/// A body that is whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What a body does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Send(Bytes),
    Wait(Duration),
    /// The connection ends here, whatever was promised.
    Break,
}

/// A body that follows a plan.
pub fn stepped<I>(steps: I) -> Body
where
    I: IntoIterator<Item = Step>,
    I::IntoIter: Send + 'static,
{
    let frames = stream::unfold(steps.into_iter(), |mut steps| async move {
        loop {
            match steps.next()? {
                Step::Send(bytes) => return Some((Ok(Frame::data(bytes)), steps)),
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Break => {
                    tokio::time::sleep(FLUSH).await;
                    return Some((Err(io::Error::other("the script breaks off here")), steps));
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Keeps a request in flight until its answer is sent or dropped.
pub fn held(answer: Response<Body>, mut ticket: Ticket) -> Response<Body> {
    ticket.answered(answer.status().as_u16());
    answer.map(|body| Held { body, _ticket: ticket }.boxed_unsync())
}

struct Held {
    body: Body,
    _ticket: Ticket,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
