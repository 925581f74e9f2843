//! The headers that speak of the allowance, `Retry-After` among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exporter::remote::http::fuzz::rate_headers(data));
