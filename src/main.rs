//! The `forebay` program: hands the command line to `cli` and exits with its code.

use std::process::ExitCode;

/// Pingora allocates a buffer and a future for each request; measured, glibc's allocator takes a sixth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    forebay::cli::main()
}
