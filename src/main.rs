//! Parses the arguments and hands over.

use std::process::ExitCode;

/// Much is allocated for each message; the system's allocator took a quarter of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(rapport::cli::run()),
        Err(_) => ExitCode::FAILURE,
    }
}
