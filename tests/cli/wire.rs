//! Servers on loopback that speak bytes, for what no HTTP library would say; and the TLS in front of a good one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// No test waits longer for a byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that does the same with every connection, each on a thread of its own. It ends when it is dropped;
/// threads that still talk end with their connections.
pub struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    heads: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

/// A connection that was accepted. `heads` takes what was asked on it.
pub struct Line {
    pub socket: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    pub fn new(talk: impl Fn(Line) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", talk)
    }

    /// At an address of this machine that is not loopback's: in a network namespace of its own.
    pub fn at(address: &str, talk: impl Fn(Line) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().expect("bound");
        let (connections, heads, over) =
            (Arc::<AtomicU32>::default(), Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (counter, asked, ended, talk) =
            (Arc::clone(&connections), Arc::clone(&heads), Arc::clone(&over), Arc::new(talk));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { continue };
                if ended.load(Relaxed) {
                    return;
                }
                counter.fetch_add(1, Relaxed);
                let _ = socket.set_read_timeout(Some(PATIENCE));
                let _ = socket.set_write_timeout(Some(PATIENCE));
                let _ = socket.set_nodelay(true);
                let (talk, heads) = (Arc::clone(&talk), Arc::clone(&asked));
                // the program may hang up at any time
                std::thread::spawn(move || drop(talk(Line { socket, heads })));
            }
        });
        Self { address, connections, heads, over }
    }

    /// Reads a request, sends these bytes, and closes.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut line| {
            line.head()?;
            line.socket.write_all(&bytes)?;
            line.close()
        })
    }

    /// TLS with this configuration, in front of the server at `back` (`host:port`).
    pub fn tls(config: Arc<ServerConfig>, back: &str) -> Self {
        let back = back.to_owned();
        Self::new(move |line| {
            let heads = Arc::clone(&line.heads);
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, line.socket);
            let head = read_head(&mut stream)?;
            heads.lock().expect("no holder panics").push(head.clone());
            let mut socket = ask(&back, &head)?;
            io::copy(&mut socket, &mut stream)?;
            stream.conn.send_close_notify();
            stream.flush()
        })
    }

    /// At that address, in front of the server at `back`.
    pub fn plain(address: &str, back: &str) -> Self {
        let back = back.to_owned();
        Self::at(address, move |mut line| {
            let head = line.head()?;
            io::copy(&mut ask(&back, &head)?, &mut line.socket)?;
            line.close()
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// What was asked, heads as they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        // wakes the thread that accepts
        let _ = TcpStream::connect(self.address);
    }
}

impl Line {
    /// Reads a request's head.
    pub fn head(&mut self) -> io::Result<String> {
        let head = read_head(&mut self.socket)?;
        self.heads.lock().expect("no holder panics").push(head.clone());
        Ok(head)
    }

    /// Closes in order: what was sent arrives.
    pub fn close(mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)?;
        let mut rest = [0; 4096];
        while self.socket.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// Goes on as a tunnel to that server.
    pub fn join(self, to: &str) -> io::Result<()> {
        let other = TcpStream::connect(to)?;
        let (mut from, mut into) = (self.socket.try_clone()?, other.try_clone()?);
        let there = std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut into);
            let _ = into.shutdown(Shutdown::Write);
        });
        let (mut from, mut into) = (other, self.socket);
        let _ = io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
        let _ = there.join();
        Ok(())
    }
}

/// Asks another server the same, by its own name: that is what is signed.
fn ask(back: &str, head: &str) -> io::Result<TcpStream> {
    let lines = head.lines().filter(|line| !line.is_empty()).map(|line| {
        if line.to_ascii_lowercase().starts_with("host:") {
            format!("host: {back}\r\nconnection: close\r\n")
        } else {
            format!("{line}\r\n")
        }
    });
    let mut socket = TcpStream::connect(back)?;
    socket.write_all((lines.collect::<String>() + "\r\n").as_bytes())?;
    Ok(socket)
}

fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || head.len() > 64 * 1024 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
