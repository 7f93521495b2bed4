//! The `coracle-inspect` binary: arguments, output, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_inspect::main()
}
