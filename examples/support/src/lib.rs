//! The sandbox: the Max AI API and an S3 on loopback, in the caller's process. Signatures, expiry, ranges and rate limits
//! are real, and a script makes them fail. The exporter's examples, tests and benchmarks use it; it never uses the
//! exporter.
//!
//! An `async` caller uses [`Sandbox::start`], a synchronous one [`Sandbox::start_blocking`]. [`workspace`] adds what a test
//! of the program needs besides.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

pub mod api;
pub mod build;
pub mod bulk;
pub mod config;
pub mod faults;
pub mod images;
pub mod limiter;
pub mod line;
pub mod log;
pub mod manifest;
pub mod presign;
pub mod refusals;
pub mod registry;
pub mod replies;
pub mod script;
pub mod server;
pub mod shape;
pub mod state;
pub mod storage;
pub mod thread;
pub mod tls;
pub mod workspace;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::bulk::Bulk;
use self::config::Config;
use self::limiter::{Limiter, Rate};
use self::line::{Line, Traffic};
use self::log::{Counts, Entry, Log, Server};
use self::presign::Signer;
use self::registry::{ImageRef, Registry, default_key};
use self::script::Script;
use self::server::{AnyError, serve};
use self::state::State;
use self::storage::Storage;
use self::thread::SandboxThread;

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    state: Arc<State>,
    stop: CancellationToken,
    api_url: String,
    storage_traffic: Option<Arc<Traffic>>,
}

/// Where a server listens, and where clients find it: at the other end of the line, if there is one.
struct Place {
    listener: TcpListener,
    host: String,
    traffic: Option<Arc<Traffic>>,
}

impl Place {
    async fn open(port: u16, line: Option<&Arc<Line>>, stop: &CancellationToken) -> Result<Self, AnyError> {
        let front = TcpListener::bind(("127.0.0.1", port)).await?;
        let host = front.local_addr()?.to_string();
        let Some(line) = line else { return Ok(Self { listener: front, host, traffic: None }) };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let traffic = line.relay(front, listener.local_addr()?, stop.clone());
        Ok(Self { listener, host, traffic: Some(traffic) })
    }
}

impl Sandbox {
    /// Starts both servers in the current tokio runtime.
    pub async fn start(config: Config) -> Result<Self, AnyError> {
        let stop = CancellationToken::new();
        let line = config.line.map(Line::new);
        let api = Place::open(config.api_port, line.as_ref(), &stop).await?;
        let storage = Place::open(config.storage_port, line.as_ref(), &stop).await?;
        let signer = Signer::new(&config.access_key, &config.secret_key, "us-east-1");
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            keys: Mutex::new(config.api_keys),
            refused: Mutex::new(config.refused_orgs.into_iter().collect()),
            limiter: Mutex::new(config.rate.map(|rate| Limiter::new(rate, Instant::now()))),
            url_lifetime: config.url_lifetime,
            api_latency: config.api_latency,
            storage_latency: config.storage_latency,
            storage_scheme: scheme,
            storage_host: storage.host,
            script: Script::default(),
            log: Arc::new(Log::new(config.log)),
            registry: Registry::default(),
            storage: Storage::new(&signer)?,
            signer,
        });
        let api_url = format!("{scheme}://{}/v2", api.host);
        let speaking = |protocols: &[&str]| config.tls.as_ref().map(|tls| tls::speaking(tls, protocols));
        let shared = Arc::clone(&state);
        tokio::spawn(serve(
            api.listener,
            speaking(&["h2", "http/1.1"]),
            stop.clone(),
            move |request, line| {
                let answer = api::answer(Arc::clone(&shared), request, line);
                Box::pin(async { answer.await.map_err(std::io::Error::other) })
            },
        ));
        let shared = Arc::clone(&state);
        // as S3 does
        tokio::spawn(serve(storage.listener, speaking(&["http/1.1"]), stop.clone(), move |request, line| {
            let answer = storage::answer(Arc::clone(&shared), request, line);
            Box::pin(async { answer.await.map_err(std::io::Error::other) })
        }));
        Ok(Self { state, stop, api_url, storage_traffic: storage.traffic })
    }

    /// Starts both servers in a runtime on a thread of their own.
    pub fn start_blocking(config: Config) -> Result<SandboxThread, AnyError> {
        SandboxThread::start(config)
    }

    /// What passes over the line to the storage, if there is a line.
    pub fn storage_traffic(&self) -> Option<&Traffic> {
        self.storage_traffic.as_deref()
    }

    /// The API's base address, `http://127.0.0.1:PORT/v2` (`https` with TLS).
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// The storage's host and port.
    pub fn storage_host(&self) -> &str {
        &self.state.storage_host
    }

    /// What is going to go wrong.
    pub fn script(&self) -> &Script {
        &self.state.script
    }

    /// Requests so far in order of arrival, those still without an answer not yet among them.
    pub fn requests(&self) -> Vec<Entry> {
        self.state.log.entries()
    }

    pub fn clear_requests(&self) {
        self.state.log.clear();
    }

    pub fn counts(&self, server: Server) -> Counts {
        self.state.log.counts(server)
    }

    /// Accepts these keys and no others from now on.
    pub fn set_api_keys(&self, keys: &[&str]) {
        *self.state.keys.lock().expect("no holder panics") = keys.iter().map(ToString::to_string).collect();
    }

    /// The app has lost its scope in this organization.
    pub fn refuse_org(&self, org: &str) {
        self.state.refused.lock().expect("no holder panics").insert(org.to_owned());
    }

    /// Replaces the rate limit; what was counted is forgotten.
    pub fn set_rate(&self, rate: Option<Rate>) {
        let limiter = rate.map(|rate| Limiter::new(rate, Instant::now()));
        *self.state.limiter.lock().expect("no holder panics") = limiter;
    }

    /// Stores an object and makes the API know it. Blocks while it writes.
    pub fn add_image(
        &self,
        org: &str,
        note: &str,
        image: &str,
        bytes: impl Into<Vec<u8>>,
        content_type: &str,
    ) {
        let image = ImageRef::new(org, note, image);
        let key = default_key(&image, content_type);
        self.add_image_at(image, &key, bytes, content_type);
    }

    /// The same under a key of the caller's choice (`<org>/<patient>/<file>`).
    pub fn add_image_at(&self, image: ImageRef, key: &str, bytes: impl Into<Vec<u8>>, content_type: &str) {
        self.put_all(vec![(image, key.to_owned(), bytes.into(), content_type.to_owned())]);
    }

    /// The API knows the image, the storage has nothing under its key (404 `NoSuchKey`).
    pub fn add_dangling(&self, org: &str, note: &str, image: &str) {
        let image = ImageRef::new(org, note, image);
        let key = default_key(&image, "image/jpeg");
        self.state.registry.insert(image, &key);
    }

    /// The API answers 404 for the image from now on; its object stays.
    pub fn forget_image(&self, image: &ImageRef) {
        self.state.registry.remove(image);
    }

    /// Takes the object away, the API goes on to sign URLs for it.
    pub fn remove_object(&self, image: &ImageRef) {
        let key = self.state.registry.key_of(image).expect("a known image");
        self.state.storage.remove(&key).expect("its object can be removed");
    }

    /// Where the bytes of an image that was added lie on disk.
    pub fn object_path(&self, image: &ImageRef) -> Option<PathBuf> {
        Some(self.state.storage.path_of(&self.state.registry.key_of(image)?))
    }

    /// A signed URL, as the API would hand it out.
    pub fn signed_url(&self, image: &ImageRef, lifetime: Duration) -> Option<String> {
        Some(self.state.url_of(&self.state.registry.key_of(image)?, lifetime))
    }

    /// The images that were added, in that order.
    pub fn rows(&self) -> Vec<ImageRef> {
        self.state.registry.rows()
    }

    /// Adds `rows` images of `size` bytes (at least 1,044) that are made in memory when asked for, and
    /// writes their manifest. Once in a sandbox's life.
    pub fn add_bulk(&self, rows: u64, size: usize, manifest: impl Write) -> std::io::Result<()> {
        let bulk = Arc::new(Bulk::new(rows, size));
        bulk.write_manifest(manifest)?;
        self.state.registry.bulk.set(bulk).map_err(|_| std::io::Error::other("bulk images are there already"))
    }

    /// Uploads on a thread with a small runtime, so that callers may or may not be inside one.
    fn put_all(&self, objects: Vec<(ImageRef, String, Vec<u8>, String)>) {
        let state = &self.state;
        let upload = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(async {
                for (image, key, bytes, content_type) in objects {
                    state.storage.put(&key, bytes.into(), &content_type).await?;
                    state.registry.insert(image, &key);
                }
                Ok::<_, AnyError>(())
            })
        };
        let done = std::thread::scope(|scope| scope.spawn(upload).join());
        done.expect("uploads do not panic").expect("the sandbox's folder can be written");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
