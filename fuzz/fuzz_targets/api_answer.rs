//! An answer of the API: two bytes of status, then the body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| exporter::remote::http::fuzz::api_answer(data));
