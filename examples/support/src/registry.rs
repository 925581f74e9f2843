//! Which images exist, and under which S3 key each lies. Rows come one by one (`insert`) or by rule
//! ([`Bulk`]), where a hundred thousand of them cost no memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::bulk::Bulk;
use crate::presign::hex;

/// A row of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    pub org: String,
    pub note: String,
    pub image: String,
}

impl ImageRef {
    pub fn new(org: impl Into<String>, note: impl Into<String>, image: impl Into<String>) -> Self {
        Self { org: org.into(), note: note.into(), image: image.into() }
    }
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<ImageRef, String>,
    by_key: HashMap<String, ImageRef>,
    order: Vec<ImageRef>,
}

/// All images of the sandbox.
#[derive(Debug, Default)]
pub struct Registry {
    known: Mutex<Known>,
    pub bulk: OnceLock<Arc<Bulk>>,
}

impl Registry {
    /// From now on the API answers for `image` with a URL of `key`, whether or not an object is there.
    pub fn insert(&self, image: ImageRef, key: &str) {
        let mut known = self.locked();
        known.by_key.entry(key.to_owned()).or_insert_with(|| image.clone());
        if known.keys.insert(image.clone(), key.to_owned()).is_none() {
            known.order.push(image);
        }
    }

    /// The API answers 404 for it again.
    pub fn remove(&self, image: &ImageRef) {
        let mut known = self.locked();
        known.keys.remove(image);
        known.order.retain(|other| other != image);
    }

    pub fn key_of(&self, image: &ImageRef) -> Option<String> {
        let key = self.locked().keys.get(image).cloned();
        key.or_else(|| self.bulk.get()?.key_of(image))
    }

    /// The key of the first image with this id, of whatever organization and note.
    pub fn key_of_id(&self, image: &str) -> Option<String> {
        let known = self.locked();
        let image = known.order.iter().find(|row| row.image == image)?;
        known.keys.get(image).cloned()
    }

    pub fn image_of(&self, key: &str) -> Option<ImageRef> {
        let image = self.locked().by_key.get(key).cloned();
        image.or_else(|| self.bulk.get()?.image_of(key))
    }

    /// The images that were inserted, in that order.
    pub fn rows(&self) -> Vec<ImageRef> {
        self.locked().order.clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }
}

/// `<org>/<patient>/<file>` as the vendor's example has it. Ids that cannot be file names give way to
/// their hash, since the S3 behind it keeps objects in a folder.
pub fn default_key(image: &ImageRef, content_type: &str) -> String {
    let extension = match content_type {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        _ => "bin",
    };
    let patient = &hex(&Sha256::digest(image.note.as_bytes()))[..8];
    format!("{}/patient-{patient}/{}.{extension}", segment(&image.org), segment(&image.image))
}

fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !id.is_empty() && id.len() <= 100 && id.bytes().all(plain) {
        id.to_owned()
    } else {
        format!("h-{}", &hex(&Sha256::digest(id.as_bytes()))[..16])
    }
}
