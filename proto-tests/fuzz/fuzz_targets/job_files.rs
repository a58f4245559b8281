//! libFuzzer's way into the target `job_files`.

#![no_main]

#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, forebay_fuzz::MEMORY_BYTES_MAX);

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::job_files(data));
