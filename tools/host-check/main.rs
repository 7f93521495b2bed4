//! The `coracle-host-check` binary: arguments, output, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_host_check::main()
}
