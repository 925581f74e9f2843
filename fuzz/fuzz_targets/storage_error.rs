//! An error of the storage: two bytes of status, then the body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exporter::remote::http::fuzz::storage_error(data));
