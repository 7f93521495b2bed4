//! The `coracle` binary: it hands its arguments to `node`, nothing else.

#[global_allocator]
static ALLOCATOR: profile::Sampled<mimalloc::MiMalloc> = profile::Sampled(mimalloc::MiMalloc);

fn main() -> std::process::ExitCode {
    node::main()
}
