//! `Content-Range` and `ETag` of a download that goes on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exporter::remote::http::fuzz::content_range(data));
